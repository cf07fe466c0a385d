"""Which layers of a network can be decomposed, which cannot and why, and what each of them costs whole."""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.examples import Inputs, call, len_of, mapped
from problems.lowrank.layer_matrices import Layer, Whole
from problems.networks.layers.batch_norms import BATCH_NORMS
from problems.networks.layers.compressible import Compressible, compressible_layers
from problems.networks.layers.prunable import Prunable, prunable_layers, replace_module, select_layers
from problems.networks.layers.shared_parameters import shared_parameters

_FEW = 8
_SCALED = 0.9

Answers = Callable[[nn.Module, Inputs], Tensor]
"""`(network, inputs) -> answers`: what is judged of a network's outputs."""


class Decomposable(NamedTuple):
    """What can be decomposed of a network.

    Attributes:
        layers: In the order in which the network first runs them.
        whole: Size of the network.
        compressible: The same layers as modules, and what is left out.
    """

    layers: list[Layer]
    whole: Whole
    compressible: Compressible


def tensor_answers(network: nn.Module, inputs: Inputs) -> Tensor:
    """Answers of a network that gives one tensor."""
    outputs = call(network, mapped(inputs, Tensor.clone))
    assert isinstance(outputs, Tensor)
    return outputs


def decomposable_layers(
    model: nn.Module, example: Inputs, patterns: str | None = None, *, answers: Answers = tensor_answers
) -> Decomposable:
    """The layers that can be decomposed, in the order in which the network runs them, and the network's size.

    Every convolution and linear layer whose weight is its own and is used by calling the layer alone, but depthwise
    ones; a layer of several groups that are not depthwise has each of them decomposed alike.

    Args:
        model: In evaluation mode.
        example: Inputs of some examples to run.
        patterns: Shell patterns of names, separated by commas; None takes all.
        answers: What is judged of the network's outputs.

    Raises:
        UsageError: No such layer, or the network does not take the inputs.
    """
    calls, norms = _seen(model, example, answers)
    known = compressible_layers(model)
    left_out = {n: why for n, why in known.left_out.items() if why != "does not run"}
    modules = dict(known.layers)
    shared = shared_parameters(model)
    for name, module in known.layers.items():
        if reason := _why_not(module, shared, has_run=name in calls and calls[name].n_uses > 0):
            left_out[name] = reason
            del modules[name]
    for name in _read_elsewhere(model, list(modules), example, answers):
        left_out[name] = "its weight is read by other code than its own call"
        del modules[name]
    running, n_examples = prunable_layers(model), len_of(example)
    found = {name: _described(name, running[name], own, norms.get(name), n_examples) for name, own in calls.items()}
    macs = sum(layer.macs for layer in found.values())
    parameters = list(model.parameters())
    n, n_bytes = (sum(f(p) for p in parameters) for f in (Tensor.numel, lambda p: p.numel() * p.element_size()))
    held = sum(modules[name].weight.numel() for name in modules)
    compressible = Compressible(modules, left_out, held / n if n else 0.0)
    compressible.check()
    names = select_layers(model, patterns or "*", example=example, layers=modules)
    return Decomposable([found[name] for name in names], Whole(n, macs, n_bytes), compressible)


def _why_not(module: Prunable, shared: set[int], *, has_run: bool) -> str:
    """Why a layer stays as it is; "" where nothing is against its decomposition."""
    if not has_run:
        return "does not run"
    if not isinstance(module, nn.Linear) and module.groups > 1 and module.groups == module.in_channels:
        return "depthwise"
    if not _is_torchs(module):
        return "computes in a way of its own"
    if module._forward_hooks or module._forward_pre_hooks or module._modules:
        return "has hooks or parts of its own"
    if module.bias is not None and (id(module.bias) in shared or "bias" not in module._parameters):
        return "its bias is shared"
    return ""


def _is_torchs(module: Prunable) -> bool:
    """Whether a layer computes what torch's own class does."""
    kind: Any = type(module)
    base: Any = next(k for k in (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d) if isinstance(module, k))
    names = ("forward", "_conv_forward", "__call__")
    return "forward" not in vars(module) and all(getattr(kind, n, None) is getattr(base, n, None) for n in names)


# -- one pass ---------------------------------------------------------------------------------


@dataclasses.dataclass
class _Calls:
    """How a layer was called in a pass: shapes without the batch of its last call, and positions of all calls."""

    is_linear: bool
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()
    n: int = 0
    is_flat: bool = True
    n_uses: int = 0

    def add(self, module: Prunable, x: Tensor, y: Tensor) -> None:
        """One more call."""
        n_axes = 1 if isinstance(module, nn.Linear) else len(module.kernel_size) + 1
        has_batch = x.ndim > n_axes
        self.before, self.after = (tuple(t.shape[1:] if has_batch else t.shape) for t in (x, y))
        self.n_uses += (len(x) if has_batch else 1) * self.n_positions
        self.is_flat &= has_batch and x.ndim == n_axes + 1
        self.n += 1

    @property
    def n_positions(self) -> int:
        """Places of the last call's output map."""
        return math.prod(self.after[:-1] if self.is_linear else self.after[1:])

    def runs(self, n_examples: int) -> float:
        """How often the layer runs over its map for an example."""
        return self.n_uses / max(1, self.n_positions * n_examples)


def _seen(model: nn.Module, example: Inputs, answers: Answers) -> tuple[dict[str, _Calls], dict[str, str]]:
    """Calls of layers by name in the order in which they first run, and the batch norm behind each that has one."""
    calls: dict[str, _Calls] = {}
    norms: dict[str, str] = {}
    outputs: dict[int, tuple[str, Tensor, int]] = {}

    def see(name: str) -> Any:
        def hook(module: Prunable, arguments: tuple[Any, ...], named: dict[str, Any], output: Any) -> None:
            tensors = [x for x in (*arguments, *named.values()) if isinstance(x, Tensor)]
            if not tensors or not isinstance(output, Tensor) or output.is_nested:
                return
            outputs[id(output)] = (name, output, output._version)  # kept alive, so that its id stays its own
            calls.setdefault(name, _Calls(isinstance(module, nn.Linear))).add(module, tensors[0], output)

        return hook

    def meet(norm: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Any, ...]) -> None:
            name, output, version = outputs.get(id(arguments[0]) if arguments else 0, ("", torch.empty(0), -1))
            # what an in-place activation has changed since is no longer the layer's output
            if output._version == version:
                norms[name] = norm

        return hook

    modules = prunable_layers(model)
    handles = [module.register_forward_hook(see(name), with_kwargs=True) for name, module in modules.items()]
    named = model.named_modules()
    handles += [m.register_forward_pre_hook(meet(name)) for name, m in named if isinstance(m, BATCH_NORMS)]
    try:
        with torch.no_grad():
            answers(model, example)
    except UsageError:
        raise
    except Exception as error:  # a user's forward may raise anything
        raise UsageError(f"the network does not take the examples: {error}; give a model that does") from None
    finally:
        for handle in handles:
            handle.remove()
    return calls, norms


def _described(name: str, module: Prunable, calls: _Calls, norm: str | None, n_examples: int) -> Layer:
    before, after = calls.before, calls.after
    has_bias, size = module.bias is not None, module.weight.element_size()
    told = {"norm": norm, "runs": calls.runs(n_examples), "itemsize": size, "is_single": calls.n == 1}
    if isinstance(module, nn.Linear):
        c, f = module.in_features, module.out_features
        return Layer(name, f, c, 1, (), before[:-1], after[:-1], has_bias, calls.is_flat, **told)  # type: ignore[arg-type]
    c, f, kernel = module.in_channels, module.out_channels, tuple(module.kernel_size)
    return Layer(name, f, c, module.groups, kernel, before[1:], after[1:], has_bias, True, **told)  # type: ignore[arg-type]


# -- layers that are more than called ---------------------------------------------------------


class _Stand(nn.Module):
    """A layer in place of another: it can be called, and nothing of it can be read."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.inner = layer

    def forward(self, input: Tensor) -> Tensor:  # torch's own name, by which it may be called
        return self.inner(input)


def _read_elsewhere(model: nn.Module, names: list[str], example: Inputs, answers: Answers) -> list[str]:
    """Layers that the network uses in other ways than by calling them: such as their weight, in a product of its own.

    Scaled weights in a layer's own place and in a stand-in beside it give the same answers only where nothing else
    reads them.
    """
    few = mapped(example, lambda tensor: tensor[:_FEW])

    def is_called_only(chosen: list[str]) -> bool:
        scaled, stood = copy.deepcopy(model), copy.deepcopy(model)
        modules = prunable_layers(stood)
        for name in chosen:
            layer = prunable_layers(scaled)[name]
            layer.weight.data = layer.weight.data * _SCALED
            replace_module(stood, name, _Stand(copy.deepcopy(modules[name])))
            stood.get_submodule(name).get_submodule("inner").weight.data.mul_(_SCALED)  # type: ignore[operator]
        with torch.no_grad():
            expected = answers(scaled, few)
            try:
                got = answers(stood, few)
            except Exception:  # whatever code that looks for a weight in vain may raise
                return False
        return got.shape == expected.shape and torch.allclose(got, expected, rtol=1e-4, atol=1e-6, equal_nan=True)

    if not names or is_called_only(names):
        return []
    return [name for name in names if not is_called_only([name])]
