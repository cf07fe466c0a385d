"""Tracing of channels: a pass of examples in which every tensor carries the labels of its channels."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from problems.networks.channels.labels import Labels, Layers, aligned, combined, spanned
from problems.networks.channels.operations import Operations, Splitting
from problems.networks.layers.compressible import shared_parameters

ANSWERS = "its channels are the network's answers"
HEADS = "#heads"
WIDTH = "#width"
ATTRIBUTE = "#attribute:"
"""What stands behind a module's name where there is no tensor: heads of attention, the width of a norm without
parameters, a number among the module's attributes."""


OF_ATTENTION = list(inspect.signature(functional.multi_head_attention_forward).parameters)
"""Names of the arguments of torch's attention: query, key and value first."""


@dataclass
class Trace:
    """What a pass has shown.

    Attributes:
        labels: What goes together.
        axes: For each tensor, by its name in the network: (axis, first label, size) of each axis that has labels.
        running: Names of modules that own tensors or heads, in the order in which they first run.
        used: Names of tensors that took part.
        n_splits: Views that split an axis of channels.
        is_decided_by_values: Whether a number was read from a tensor, so that other examples may go another way.
    """

    labels: Labels
    axes: dict[str, list[tuple[int, int, int]]] = field(default_factory=dict)
    running: list[str] = field(default_factory=list)
    used: set[str] = field(default_factory=set)
    n_splits: int = 0
    is_decided_by_values: bool = False


def traced(network: nn.Module, run: Callable[[nn.Module], Any], splitting: Splitting) -> Trace:
    """Follow the channels of every parameter and buffer through a pass.

    Args:
        network: In evaluation mode; a copy, since a pass may change it.
        run: Runs the network on examples; gives what is judged of its outputs.
        splitting: Which axis keeps its channels at views that split one.
    """
    trace = Trace(Labels())
    follower = _Follower(network, trace, splitting)
    with torch.no_grad(), step_by_step(), follower.hooked(), follower, _Whole(follower):
        outputs = run(network)
    for tensor in tensors_in(outputs):
        for layer in follower.layers_of(tensor):
            trace.labels.stay(layer, ANSWERS)
    trace.n_splits = follower.n_splits
    return trace


@contextmanager
def step_by_step() -> Iterator[None]:
    """While open, attention and recurrent cells are computed by plain products, step by step."""
    before, had_mkldnn = torch.backends.mha.get_fastpath_enabled(), torch._C._get_mkldnn_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
            torch._C._set_mkldnn_enabled(False)  # the public way warns of numbers of another kind
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)
        torch._C._set_mkldnn_enabled(had_mkldnn)


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Tensors in containers and plain objects of any depth."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for part in value.values():
            yield from tensors_in(part)
    elif isinstance(value, (list, tuple, set)):
        for part in value:
            yield from tensors_in(part)
    elif hasattr(value, "__dict__") and not isinstance(value, (nn.Module, type)):
        yield from tensors_in(vars(value))


_READINGS = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::equal", "aten::item"}


class _Follower(TorchDispatchMode):
    """Gives every tensor that is made during a pass the labels of its channels."""

    def __init__(self, network: nn.Module, trace: Trace, splitting: Splitting) -> None:
        super().__init__()
        self._network, self._trace, self._labels = network, trace, trace.labels
        self._operations = Operations(trace.labels, self.layers_of, splitting)
        self._known: dict[int, Layers] = {}
        self._alive: list[Tensor] = []
        self._constants: set[int] = set()  # made of nothing that the network is given
        self._names: dict[int, str] = {}
        self._is_paused = False
        self._attentions = {
            id(module.out_proj.weight): (name, module)
            for name, module in network.named_modules()
            if isinstance(module, nn.MultiheadAttention)
        }
        lying = shared_parameters(network) & _owned_once(network)
        scripted = _of_scripts(network)
        tensors = [*network.named_parameters(), *network.named_buffers()]
        for name, tensor in tensors:
            layers = self._label(name, tuple(tensor.shape))
            self._names[id(tensor)] = name
            self._give(tensor, layers)
            if id(tensor) in lying:
                for layer in layers:
                    self._labels.stay(layer, "its weight lies in the memory of another")
            if id(tensor) in scripted:
                for layer in layers:
                    self._labels.stay(layer, "it is scripted")

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # torch would import its compiler, for many seconds, to say that it need not look at this class
        return False

    def _label(self, name: str, shape: tuple[int, ...]) -> Layers:
        """Fresh labels of each axis of a tensor."""
        layers = []
        for axis, size in enumerate(shape):
            if size > 1:
                fresh = self._labels.new(size)
                self._trace.axes.setdefault(name, []).append((axis, int(fresh[0]), size))
                layers.append(fresh.reshape(*[-1 if a == axis else 1 for a in range(len(shape))]))
        return layers

    def _give(self, tensor: Tensor, layers: Layers) -> None:
        self._known[id(tensor)] = layers
        self._alive.append(tensor)

    @property
    def n_splits(self) -> int:
        """Views so far that split an axis of channels."""
        return self._operations.n_splits

    def layers_of(self, tensor: Any) -> Layers:
        """Labels of a tensor; none of one that was not made of labelled ones."""
        if not isinstance(tensor, Tensor):
            return []
        if (name := self._names.get(id(tensor))) is not None:
            self._trace.used.add(name)
        return self._known.get(id(tensor), [])

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        out = func(*args, **named)
        if self._is_paused:
            return out
        given = list(tensors_in((args, named)))
        if all(id(t) in self._constants for t in given):
            self._constants |= {id(t) for t in tensors_in(out)}
            self._alive += tensors_in(out)
        elif func._schema.name in _READINGS:
            # whole numbers are mostly lengths and sizes
            self._trace.is_decided_by_values |= given[0].is_floating_point() or given[0].dtype == torch.bool
        if not any(id(t) in self._known for t in given):
            return out
        self.follow(func._schema.name.partition("::")[2], func, args, named, out)
        return out

    def follow(self, name: str, func: Any, args: Any, named: Any, out: Any) -> None:
        """Label an operation's result."""
        try:
            found = self._operations.result(name, func, args, named, out)
        except Exception:  # the dispatcher has two thousand operations: one of unforeseen arguments keeps its channels
            found = [[]]
            for tensor in tensors_in((args, named)):
                for layer in self.layers_of(tensor):
                    self._labels.stay(layer, f"{name} cannot be followed")
        for tensor, layers in zip(_as_list(out), found, strict=False):
            if isinstance(tensor, Tensor):
                self._give(tensor, [layer for layer in layers if spanned(layer)])

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While open nothing is followed."""
        before, self._is_paused = self._is_paused, True
        try:
            yield
        finally:
            self._is_paused = before

    @property
    def is_paused(self) -> bool:
        """Whether nothing is followed."""
        return self._is_paused

    # -- modules ------------------------------------------------------------------------------

    @contextmanager
    def hooked(self) -> Iterator[None]:
        """While open, modules are seen as they run."""
        with contextlib.ExitStack() as stack:
            for name, module in self._network.named_modules():
                if isinstance(module, torch.jit.ScriptModule):
                    continue
                if module._parameters or module._buffers or _width_alone(module):
                    stack.callback(module.register_forward_pre_hook(self._seen(name), with_kwargs=True).remove)
            yield

    def _runs(self, name: str) -> None:
        if name not in self._trace.running:
            self._trace.running.append(name)

    def _seen(self, name: str) -> Callable[..., None]:
        def see(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            self._runs(name)
            width = _width_alone(module)
            x = next(tensors_in((arguments, named)), None)
            if not width or x is None:
                return
            with self.paused():
                axis = -1 if isinstance(module, (nn.LayerNorm, nn.RMSNorm)) else 1
                shape = tuple(width if a == axis % x.ndim else 1 for a in range(x.ndim))
                known = self._trace.axes.get(name + WIDTH)
                vector = (
                    self._label(name + WIDTH, (width,))[0]
                    if known is None
                    else torch.arange(known[0][1], known[0][1] + width)
                )
                operands = [(x.shape, self.layers_of(x)), (torch.Size(shape), [vector.reshape(shape)])]
                combined(self._labels, operands, x.shape)
                self._trace.used.add(name + WIDTH)

        return see

    def attend(self, func: Any, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
        """Run attention as a whole: inputs, heads, outputs; inside nothing is followed."""
        given = dict(zip(OF_ATTENTION, arguments, strict=False)) | named
        owner = self._attentions.get(id(given["out_proj_weight"]))
        if owner is None or self._is_paused:
            return func(*arguments, **named)
        name, module = owner
        self._runs(name)
        self._runs(f"{name}.out_proj")
        parts = [given[part] for part in ("query", "key", "value")]
        with self.paused():
            outputs = func(*arguments, **named)
            self._take_in(name, module, [t.shape for t in parts], [self.layers_of(t) for t in parts])
            rows = self._axis(f"{name}.out_proj.weight", 0)
            if module.out_proj.bias is not None:
                rows = self._labels.unite(rows, self._axis(f"{name}.out_proj.bias", 0))
            self._give(outputs[0], [aligned(rows, outputs[0].ndim)])
        return outputs

    def _axis(self, name: str, axis: int) -> Tensor:
        """(size,) labels of an axis of a tensor of the network."""
        self._trace.used.add(name)
        for other, first, size in self._trace.axes.get(name, ()):
            if other == axis:
                return torch.arange(first, first + size)
        return torch.zeros(1, dtype=torch.int64)

    def _take_in(self, name: str, module: nn.MultiheadAttention, shapes: list[torch.Size], taken: list[Layers]) -> None:
        inner = module.num_heads * module.head_dim
        if name + HEADS not in self._trace.axes and module.num_heads > 1:
            self._label(name + HEADS, (module.num_heads,))
        heads = self._axis(name + HEADS, 0).repeat_interleave(module.head_dim) if module.num_heads > 1 else None
        packed = module.in_proj_weight is not None
        names = ["in_proj_weight"] * 3 if packed else ["q_proj_weight", "k_proj_weight", "v_proj_weight"]
        for k, (kind, shape, layers) in enumerate(zip(names, shapes, taken, strict=True)):
            columns = self._axis(f"{name}.{kind}", 1)
            if columns.shape[0] > 1:
                combined(self._labels, [(shape, layers), (columns.shape, [columns])], shape)
            rows = self._axis(f"{name}.{kind}", 0)
            self._of_heads(heads, rows[k * inner : (k + 1) * inner] if packed else rows)
        if module.in_proj_bias is not None:
            for part in self._axis(f"{name}.in_proj_bias", 0).chunk(3):
                self._of_heads(heads, part)
        for kind in ("bias_k", "bias_v"):
            if getattr(module, kind) is not None:
                self._of_heads(heads, self._axis(f"{name}.{kind}", 2))
        self._of_heads(heads, self._axis(f"{name}.out_proj.weight", 1))

    def _of_heads(self, heads: Tensor | None, entries: Tensor) -> None:
        if heads is None:
            self._labels.stay(entries, "attention has one head")
        else:
            self._labels.unite(heads, entries)


class _Whole(TorchFunctionMode):
    """Takes attention as a whole, and padding, some kinds of which torch writes into fresh memory without labels."""

    def __init__(self, follower: _Follower) -> None:
        super().__init__()
        self._follower = follower

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is functional.multi_head_attention_forward:
            return self._follower.attend(func, args, named)
        if func is not torch._C._nn.pad or self._follower.is_paused:
            return func(*args, **named)
        with self._follower.paused():
            out = func(*args, **named)
            self._follower.follow("pad", func, args, named, out)
        return out


def _as_list(out: Any) -> list[Any]:
    return list(out) if isinstance(out, (list, tuple)) else [out]


def _width_alone(module: nn.Module) -> int:
    """The number of channels that a norm without parameters and statistics states as an attribute; else 0."""
    if any(t is not None for t in (*module._parameters.values(), *module._buffers.values())):
        return 0
    if isinstance(module, (nn.LayerNorm, nn.RMSNorm)):
        return module.normalized_shape[0] if len(module.normalized_shape) == 1 else 0
    if isinstance(module, nn.GroupNorm):
        return module.num_channels
    return module.num_features if isinstance(module, nn.modules.batchnorm._NormBase) else 0


def _owned_once(network: nn.Module) -> set[int]:
    """Ids of parameters and buffers that one module owns alone."""
    counts: dict[int, int] = {}
    for module in network.modules():
        for tensor in (*module._parameters.values(), *module._buffers.values()):
            if tensor is not None:
                counts[id(tensor)] = counts.get(id(tensor), 0) + 1
    return {key for key, count in counts.items() if count == 1}


def _of_scripts(network: nn.Module) -> set[int]:
    """Ids of parameters and buffers of scripted modules."""
    scripts = [module for module in network.modules() if isinstance(module, torch.jit.ScriptModule)]
    return {id(tensor) for module in scripts for tensor in (*module.parameters(), *module.buffers())}
