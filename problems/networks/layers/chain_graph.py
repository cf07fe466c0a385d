"""Linear layers one behind the other in a traced network: which they are, and what stands between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from opt.console.errors import UsageError
from problems.data.examples import Inputs, call, len_of, mapped
from problems.networks.layers.compressible import compressible_layers, shared_parameters
from problems.networks.layers.prunable import hooked

Activation = Callable[[Tensor], Tensor]
"""(n, h) to (n, h), each neuron by itself: not zero at zero, too."""

RELU: Activation = torch.relu

_SAMPLE = 16


Norm = tuple[str, str, bool]
"""A batch norm beside a linear layer: its name, the layer's, and whether it stands behind the layer."""


@dataclass(frozen=True)
class Pieces:
    """What a graph ends in.

    Args:
        names: Of the linear layers, in their order; at least two.
        activations: What stands between them.
        answer: From the last layer's outputs to the network's; None where that is the same.
        norms: Batch norms beside layers, in the order in which they are to be folded into them.
        why_not_longer: Why the chain does not begin earlier.
    """

    names: tuple[str, ...]
    activations: tuple[Activation, ...]
    answer: Callable[[Tensor], Any] | None
    norms: tuple[Norm, ...]
    why_not_longer: str


class ChainGraph:
    """A traced network, read from its end as linear layers one behind the other.

    Args:
        network: In evaluation mode.
        graph: Its trace.
        inputs: Of some examples, to see what layers get.
    """

    def __init__(self, network: nn.Module, graph: fx.GraphModule, inputs: Inputs) -> None:
        self.network, self.graph = network, graph
        self.nodes = list(graph.graph.nodes)
        self._modules = dict(graph.named_modules())
        self._wrong = self._unfit(inputs)
        self._answering = _ancestors(self.nodes[-1])
        self._varying: set[fx.Node] = set()
        for node in self.nodes:
            if node.op == "placeholder" or self._varying & set(node.all_input_nodes):
                self._varying.add(node)

    def pieces(self) -> Pieces:
        """The longest chain that ends in the answers.

        Raises:
            UsageError: It has fewer than two layers.
        """
        end = self.nodes[-1]
        layers: list[fx.Node] = []
        between: list[list[fx.Node]] = []
        why = ""
        while True:
            found = self._before(end if not layers else layers[0])
            if isinstance(found, str):
                why = found
                break
            layer, nodes = found
            layers.insert(0, layer)
            between.insert(0, nodes)
        if len(layers) < 2:
            raise UsageError(why or "it has no linear layer before the last one")
        names = [str(node.target) for node in layers]
        activations = tuple(
            self._activation(*part) for part in zip(layers, between, map(_input_of, layers[1:]), strict=False)
        )
        nodes = between[-1]
        answer = self._function(layers[-1], nodes, end.args[0]) if nodes else None
        return Pieces(tuple(names), activations, answer, self._norms(layers, between), why)

    def _before(self, end: fx.Node) -> tuple[fx.Node, list[fx.Node]] | str:
        """The linear layer that alone makes what a node gets, and the nodes between; or why there is none."""
        needed = _ancestors(end)
        linear = [node for node in self.nodes if node in needed and self._is_linear(node)]
        if not linear:
            return "" if end.op != "output" else "no linear layer gives its answers"
        layer = linear[-1]
        behind = self._descendants(layer)
        nodes = [node for node in self.nodes if node in behind and node in needed]
        return self._why_not(layer, nodes, end, behind) or (layer, nodes)

    def _why_not(self, layer: fx.Node, nodes: Sequence[fx.Node], end: fx.Node, behind: set[fx.Node]) -> str:
        """Why a layer is not one that alone makes what a node gets, neuron by neuron; "" where it is."""
        name = str(layer.target)
        if other := self._other_source((*nodes, end), {layer, *behind}):
            what = "what it answers" if end.op == "output" else f"what layer {end.target!r} gets"
            return f"{what} does not come from layer {name!r} alone (also from {other})"
        if beside := [node for node in self._idle(behind) if self._has_parameters(node)]:
            return f"layer {name!r} also feeds {beside[0].target!r}, which does not answer"
        if name in self._wrong:
            return f"layer {name!r} {self._wrong[name]}"
        if end.op != "output" and not self._is_by_neuron(layer, nodes, _input_of(end)):
            return f"between layers {name!r} and {end.target!r} neurons are not changed each by itself"
        return ""

    def _idle(self, nodes: set[fx.Node]) -> list[fx.Node]:
        """Those nodes that do not matter for the answers, in their order."""
        return [node for node in self.nodes if node in nodes and node not in self._answering]

    def _descendants(self, start: fx.Node) -> set[fx.Node]:
        """Nodes whose values depend on that of a node."""
        behind = {start}
        for node in self.nodes:
            if behind & set(node.all_input_nodes):
                behind.add(node)
        return behind - {start}

    def _other_source(self, nodes: Sequence[fx.Node], known: set[fx.Node]) -> str:
        """What nodes get beside known ones and constants; "" for nothing."""
        sources = (source for node in nodes for source in node.all_input_nodes)
        return next((source.name for source in sources if source in self._varying and source not in known), "")

    def _is_linear(self, node: fx.Node) -> bool:
        is_layer = node.op == "call_module" and isinstance(self._modules[str(node.target)], nn.Linear)
        return is_layer and len(node.all_input_nodes) == 1

    def _has_parameters(self, node: fx.Node) -> bool:
        return node.op == "call_module" and any(True for _ in self._modules[str(node.target)].parameters())

    def _unfit(self, inputs: Inputs) -> dict[str, str]:
        """Why linear layers cannot be part of a chain, by name."""
        wrong = dict(compressible_layers(self.network, inputs).left_out)
        shared = shared_parameters(self.network)
        linear = {name: m for name, m in self.network.named_modules() if isinstance(m, nn.Linear)}
        seen: dict[str, list[Tensor]] = {name: [] for name in linear}
        with torch.no_grad(), hooked(linear, lambda name, x: seen[name].append(x)):
            call(self.network, mapped(inputs, Tensor.clone))
        used = {str(node.target).rpartition(".")[0] for node in self.nodes if node.op == "get_attr"}
        for name, layer in linear.items():
            shapes = [() if x.is_nested else tuple(x.shape) for x in seen[name]]
            bias_is_shared = layer.bias is not None and id(layer.bias) in shared
            if reason := _why_unfit(layer, shapes, len_of(inputs), used=name in used, bias_is_shared=bias_is_shared):
                wrong[name] = reason
        return {name: _with_verb(reason) for name, reason in wrong.items()}

    def _function(self, start: fx.Node, nodes: Sequence[fx.Node], result: Any) -> fx.GraphModule:
        """The part of the graph from a node's value to a result."""
        graph = fx.Graph()
        copies: dict[fx.Node, fx.Node] = {start: graph.placeholder("values")}
        wanted = set(nodes)
        constants = set().union(*(_ancestors(node) for node in nodes)) - self._varying if nodes else set()
        for node in self.nodes:
            if node in wanted or node in constants:
                copies[node] = graph.node_copy(node, lambda n: copies[n])
        graph.output(fx.node.map_arg(result, lambda n: copies[n]))
        return fx.GraphModule(self.graph, graph).eval()

    def _is_by_neuron(self, start: fx.Node, nodes: Sequence[fx.Node], result: Any) -> bool:
        """Whether what stands between two layers does the same to any choice of neurons; norms are folded later."""
        names = [str(n.target) for n in nodes if n.op == "call_module" and self._is_norm(n)]
        if names:
            inner = self._run_of_norms([n for n in nodes if n.all_input_nodes], start, result)
            if inner is None:
                return False
            start, nodes, result = inner
        if not nodes:
            return True
        layer = self._modules[str(start.target)] if self._is_linear(start) else None
        width = 12 if layer is None else layer.out_features
        generator = torch.Generator().manual_seed(0)
        x = 3 * torch.randn(_SAMPLE, width, generator=generator)
        ids = torch.randint(0, width, (max(2, width // 2),), generator=generator)
        try:
            function = self._function(start, nodes, result)
            with torch.no_grad():
                y, part = function(x.clone()), function(x[:, ids].clone())
        except Exception:  # parameters for each neuron, for example
            return False
        return (
            y.shape == x.shape
            and part.shape == (_SAMPLE, len(ids))
            and torch.allclose(y[:, ids], part, rtol=1e-5, equal_nan=True)
        )

    # -- batch norms --------------------------------------------------------------------------

    def _is_norm(self, node: fx.Node) -> bool:
        if node.op != "call_module":
            return False
        norm = self._modules[str(node.target)]
        times = sum(other.op == "call_module" and other.target == node.target for other in self.nodes)
        return isinstance(norm, _BatchNorm) and norm.running_mean is not None and not norm.training and times == 1

    def _run_of_norms(
        self, nodes: Sequence[fx.Node], start: fx.Node, result: Any
    ) -> tuple[fx.Node, list[fx.Node], Any] | None:
        """What is left without the norms next to both layers: (start, nodes, result)."""
        rest = list(nodes)
        while rest and rest[0].all_input_nodes == [start] and (self._is_norm(rest[0]) or self._is_plain(rest[0])):
            start = rest.pop(0)
        while rest and result is rest[-1] and (self._is_norm(rest[-1]) or self._is_plain(rest[-1])):
            result = rest.pop().all_input_nodes[0]
        return (start, rest, result) if not any(map(self._is_norm, rest)) else None

    def _is_plain(self, node: fx.Node) -> bool:
        """Whether a node changes no value in evaluation: dropout, identity, flattening."""
        if node.op == "call_module":
            plain = (nn.Identity, nn.Flatten, nn.modules.dropout._DropoutNd)
            return isinstance(self._modules[str(node.target)], plain)
        is_dropout = node.op == "call_function" and node.target is functional.dropout
        return is_dropout and node.kwargs.get("training", True) is False

    def _norms(self, layers: Sequence[fx.Node], between: Sequence[Sequence[fx.Node]]) -> tuple[Norm, ...]:
        norms: list[Norm] = []
        for k, (layer, nodes) in enumerate(zip(layers, between, strict=True)):
            behind = layer
            rest = list(nodes)
            while rest and rest[0].all_input_nodes == [behind] and (self._is_norm(rest[0]) or self._is_plain(rest[0])):
                behind = rest.pop(0)
                if self._is_norm(behind):
                    norms.append((str(behind.target), str(layer.target), True))
            if k + 1 < len(layers):
                trailing = []
                while rest and (self._is_norm(rest[-1]) or self._is_plain(rest[-1])):
                    if self._is_norm(node := rest.pop()):
                        trailing.append((str(node.target), str(layers[k + 1].target), False))
                # the norm next to the layer is folded first
                norms += trailing
        return tuple(norms)

    # -- activations --------------------------------------------------------------------------

    def _activation(self, start: fx.Node, nodes: Sequence[fx.Node], result: Any) -> Activation:
        left = [node for node in nodes if not self._is_plain(node)]
        if len(left) == 1 and self._is_relu(left[0]):
            return RELU
        return self._function(start, nodes, result) if nodes else _same

    def _is_relu(self, node: fx.Node) -> bool:
        if node.op == "call_module":
            return type(self._modules[str(node.target)]) is nn.ReLU
        if node.op == "call_method":
            return node.target in ("relu", "relu_")
        return node.op == "call_function" and node.target in (torch.relu, torch.relu_, functional.relu)


def _why_unfit(layer: nn.Linear, shapes: Sequence[tuple[int, ...]], n: int, *, used: bool, bias_is_shared: bool) -> str:
    """Why a layer cannot be part of a chain, given the shapes of what it gets for n examples; "" where it can."""
    kind = _kind(layer)
    reasons = {
        f"runs {len(shapes)} times": len(shapes) > 1,
        f"gets {shapes[0] if shapes else ''} and not a row for each example": any(
            len(shape) != 2 or shape[0] != n for shape in shapes
        ),
        "has hooks": bool(layer._forward_hooks or layer._forward_pre_hooks),
        "has weights that are used elsewhere": used,
        "has a bias that is shared": bias_is_shared,
        f"has weights of {kind}": kind not in (None, torch.float32, torch.float64),
    }
    return next((reason for reason, is_so in reasons.items() if is_so), "")


def _kind(layer: nn.Module) -> torch.dtype | None:
    """Of the numbers of a layer's weight; None where it has none."""
    weight = getattr(layer, "weight", None)
    return weight.dtype if isinstance(weight, Tensor) else None


def _with_verb(reason: str) -> str:
    reason = reason.replace("its weight", "has a weight that", 1)
    return f"is {reason}" if reason.startswith("a ") else reason


def _same(values: Tensor) -> Tensor:
    """No activation."""
    return values


def _input_of(node: fx.Node) -> Any:
    """What a layer gets, by place or by name; what a graph gives."""
    return node.args[0] if node.op == "output" else node.all_input_nodes[0]


def _ancestors(end: fx.Node) -> set[fx.Node]:
    known: set[fx.Node] = set()
    waiting = list(end.all_input_nodes)
    while waiting:
        node = waiting.pop()
        if node not in known:
            known.add(node)
            waiting += node.all_input_nodes
    return known
