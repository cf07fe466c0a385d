"""Traces of a network's forward: symbolic, deciding branches on shapes by an example; or its modules as they run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, fx, nn

from problems.data.examples import Inputs, call, mapped

_OF_SHAPE = ("shape", "ndim", "dtype", "device", "is_cuda", "is_sparse", "requires_grad")
_ASKS_SHAPE = ("size", "dim", "ndimension", "numel", "nelement", "is_floating_point", "is_contiguous")


class BranchOnValuesError(Exception):
    """A forward takes one way or another by values of its inputs."""


class ShapeTracer(fx.Tracer):
    """A symbolic trace in which linear layers of any class are leaves, and branches on shapes are taken as by examples.

    `if x.ndim > 2` and `assert x.shape[1] == 12` are decided by what the examples have; a branch on values is refused
    as in any symbolic trace, for another batch may take another one.

    Args:
        network: That is traced.
        inputs: Of a few examples.
    """

    def __init__(self, network: nn.Module, inputs: Inputs) -> None:
        super().__init__()
        self._inputs = inputs
        self._known: dict[fx.Node, Any] = {}
        # while torch traces, modules give symbols: what they give for the examples is asked beforehand
        self._tensors: dict[str, Any] = dict((*network.named_parameters(), *network.named_buffers()))
        self._given_by = _outputs_of_modules(network, inputs)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        """Whether a module is one node of the graph: torch's own, and linear layers of classes derived from torch's."""
        return isinstance(m, nn.Linear) or super().is_leaf_module(m, module_qualified_name)

    def to_bool(self, obj: fx.Proxy) -> bool:
        """The truth of a value that follows from shapes alone."""
        if not _is_of_shape(obj.node):
            raise BranchOnValuesError(f"it branches on values, at {obj.node.name}")
        with torch.no_grad():
            return bool(self._value(obj.node))

    def _value(self, node: fx.Node) -> Any:
        if node not in self._known:
            self._known[node] = self._computed(node)
        return self._known[node]

    def _computed(self, node: fx.Node) -> Any:
        if node.op == "placeholder":
            return self._given(node)
        args = fx.node.map_arg(node.args, self._value)
        kwargs = fx.node.map_arg(node.kwargs, self._value)
        if node.op == "call_function":
            assert callable(node.target)
            return node.target(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        if node.op == "call_module":
            calls = [n for n in node.graph.nodes if n.op == node.op and n.target == node.target]
            return self._given_by[str(node.target)][calls.index(node)]
        return self._tensors[str(node.target)]

    def _given(self, node: fx.Node) -> Any:
        name, place = str(node.target), [n for n in node.graph.nodes if n.op == "placeholder"].index(node)
        if isinstance(self._inputs, dict):
            given: Any = self._inputs.get(name)
        else:
            several = self._inputs if isinstance(self._inputs, tuple) else (self._inputs,)
            given = several[place] if place < len(several) else None
        return given.clone() if isinstance(given, Tensor) else (node.args[0] if node.args else None)


def _is_of_shape(node: fx.Node) -> bool:
    """Whether a value follows from shapes and kinds of tensors alone."""
    if node.op == "call_method":
        return node.target in _ASKS_SHAPE
    if node.op != "call_function":
        return False
    if node.target is getattr:
        return node.args[1] in _OF_SHAPE
    if node.target is len:
        return True
    return getattr(node.target, "__module__", "") == "_operator" and all(map(_is_of_shape, node.all_input_nodes))


@torch.no_grad()
def _outputs_of_modules(network: nn.Module, inputs: Inputs) -> dict[str, list[Any]]:
    """What each module gives for examples, once for each time that it runs, by name."""
    given: dict[str, list[Any]] = {}

    def hook(name: str) -> Any:
        return lambda module, arguments, output: given.setdefault(name, []).append(output)

    handles = [module.register_forward_hook(hook(name)) for name, module in network.named_modules()]
    try:
        call(network, mapped(inputs, Tensor.clone))
    finally:
        for handle in handles:
            handle.remove()
    return given


def symbolic_trace(network: nn.Module, inputs: Inputs) -> fx.GraphModule:
    """The graph of a network's forward; the network is left as it is.

    Args:
        network: In evaluation mode.
        inputs: Of a few examples, which decide branches on shapes.

    Raises:
        Exception: Whatever a user's forward raises for what is no tensor.
    """
    light = light_copy(network)
    tracer = ShapeTracer(light, inputs)
    with _len_of_symbols(light, tracer):
        return fx.GraphModule(light, tracer.trace(light))


@contextmanager
def _len_of_symbols(network: nn.Module, tracer: fx.Tracer) -> Iterator[None]:
    """While open, `len` in the files of a network's classes takes symbols, too; Python's own insists on a number."""

    def symbolic_len(value: Any) -> Any:
        return tracer.create_proxy("call_function", len, (value,), {}) if isinstance(value, fx.Proxy) else len(value)

    forwards = (getattr(type(module).forward, "__globals__", {}) for module in network.modules())
    places = [names for names in forwards if not str(names.get("__name__", "torch")).startswith("torch")]
    places = [names for names in places if "len" not in names]
    try:
        for names in places:
            names["len"] = symbolic_len
        yield
    finally:
        for names in places:
            names.pop("len", None)


@torch.no_grad()
def trace_of_modules(network: nn.Module, inputs: Inputs) -> fx.GraphModule:
    """A graph of a network's innermost modules one behind the other, in the order in which they run on examples.

    It is right for a network that does nothing else but reshape; whoever takes it must try that.
    """
    order: list[str] = []

    def hook(name: str) -> Any:
        return lambda module, arguments: order.append(name)

    leaves = ((name, module) for name, module in network.named_modules() if not any(True for _ in module.children()))
    handles = [leaf.register_forward_pre_hook(hook(name)) for name, leaf in leaves]
    try:
        call(network, mapped(inputs, Tensor.clone))
    finally:
        for handle in handles:
            handle.remove()
    graph = fx.Graph()
    node = graph.placeholder("inputs")
    for name in order:
        node = graph.call_module(name, (node,))
    graph.output(node)
    return fx.GraphModule(light_copy(network), graph)


def light_copy(network: nn.Module) -> nn.Module:
    """A copy of a network that shares its tensors: a trace leaves its symbols in attributes that `forward` sets."""
    known: dict[int, Any] = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    return copy.deepcopy(network, known)
