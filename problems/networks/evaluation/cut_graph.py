"""Traces of a network's `forward`: cut before some of its layers, and which nodes change values in place."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx, nn

from problems.networks.layers.prunable import Prunable


def changes_values(node: fx.Node, traced: fx.GraphModule) -> bool:
    """Whether a node changes a tensor in place: `x.add_()`, `x += y`, `relu(x, inplace=True)` or such a module."""
    if node.op == "call_module":
        return bool(getattr(traced.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    if node.op == "call_function":
        name = getattr(node.target, "__name__", "")
        is_operator = getattr(node.target, "__module__", "") == "_operator"
        is_augmented = is_operator and name in ("iadd", "isub", "imul", "itruediv", "ipow", "setitem")
        return bool(node.kwargs.get("inplace")) or name.endswith("_") or is_augmented
    return False


def light_copy(model: nn.Module) -> nn.Module:
    """A copy of a network that shares its tensors: a trace leaves its symbols in attributes that `forward` sets."""
    known: dict[int, Any] = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, known)


class CutGraph:
    """A traced network, cut before its chosen layers.

    Attributes:
        stages: One list of nodes a chosen layer: the layer, then what follows up to the next.
        inputs: The node that each chosen layer takes its input from.
        targets: Modules of each stage.
        needed: What lies before a stage and is used in it or behind it; one more for the result.
    """

    def __init__(self, traced: fx.GraphModule, layers: Mapping[str, Prunable]) -> None:
        nodes = list(traced.graph.nodes)
        starts = [i for i, node in enumerate(nodes) if node.op == "call_module" and node.target in layers]
        if [nodes[i].target for i in starts] != list(layers):
            raise ValueError("chosen layers must each be called once, in the given order")
        if any(layer._forward_hooks or layer._forward_pre_hooks for layer in layers.values()):
            raise ValueError("chosen layers must have no hooks")
        if any(node.op == "get_attr" and str(node.target).rpartition(".")[0] in layers for node in nodes):
            raise ValueError("weights of chosen layers must not be used elsewhere")
        self.interpreter = fx.Interpreter(traced, garbage_collect_values=False)
        (self.image,) = [node for node in nodes if node.op == "placeholder"]
        self.prelude = [node for node in nodes[: starts[0]] if node is not self.image]
        self.stages = [nodes[a:b] for a, b in zip(starts, [*starts[1:], len(nodes)], strict=True)]
        self.inputs: list[fx.Node] = [stage[0].all_input_nodes[0] for stage in self.stages]
        self.targets = [[str(n.target) for n in stage if n.op == "call_module"] for stage in self.stages]
        self.result = nodes[-1]
        self.needed = [{used for node in nodes[start:] for used in node.all_input_nodes} for start in starts]
        self.needed.append({self.result})
        # what candidates share must not be changed by a later stage: it then works on copies
        self._is_inplace = any(changes_values(node, traced) for node in nodes)

    def own(self, env: dict[fx.Node, Any]) -> dict[fx.Node, Any]:
        """Values that a stage may change."""
        if not self._is_inplace:
            return env
        return {node: value.clone() if isinstance(value, Tensor) else value for node, value in env.items()}


def cut_graph(model: nn.Module, layers: Mapping[str, Prunable]) -> CutGraph | None:
    """The graph of a network's `forward`, cut before layers; None where it defies tracing or cutting."""
    try:
        return CutGraph(fx.symbolic_trace(light_copy(model)), layers)
    except Exception:  # a user's forward may defy tracing in any way: then it is run whole
        return None
