"""Prunable layers: the convolutions and linear layers of any torch network, found by name patterns."""

from __future__ import annotations

import fnmatch
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from opt.console.errors import UsageError, nearest
from problems.data.examples import Inputs, call, mapped

Prunable = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d


def prunable_layers(model: nn.Module) -> dict[str, Prunable]:
    """Every convolution (not transposed) and linear layer by its name, each once, in the order of the modules."""
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {name: module for name, module in model.named_modules() if name and isinstance(module, kinds)}


def select_layers(
    model: nn.Module, patterns: str | None, *, example: Inputs, layers: dict[str, Prunable] | None = None
) -> list[str]:
    """Names of the layers that patterns choose, in the order in which the network runs them.

    Args:
        model: The network, in evaluation mode.
        patterns: Shell patterns separated by commas, such as "conv*,fc1"; None chooses the layer that runs last.
        example: Inputs of a few examples, run once to see the order.
        layers: Those to choose from; None for all that `prunable_layers` finds.

    Raises:
        UsageError: The network has no such layer, a pattern fits none, or the network does not take the images.
    """
    layers = prunable_layers(model) if layers is None else layers
    if not layers:
        raise UsageError("the network has no convolution and no linear layer to prune; give another --problem.network")
    order = running_order(model, layers, example)
    if not order:
        raise UsageError("none of the network's convolutions and linear layers runs when it is called")
    if patterns is None:
        return order[-1:]
    chosen: set[str] = set()
    for pattern in (part.strip() for part in patterns.split(",")):
        found = fnmatch.filter(order, pattern)
        if not found:
            raise UsageError(
                f"layers pattern {pattern!r} fits no layer{nearest(pattern, order)}; the layers are: {', '.join(order)}"
            )
        chosen.update(found)
    return [name for name in order if name in chosen]


def running_order(model: nn.Module, layers: Mapping[str, Prunable], example: Inputs) -> list[str]:
    """Names of those layers that run, in the order in which they first do.

    Args:
        model: The network, in evaluation mode.
        layers: By name.
        example: Inputs of a few examples; left as they are.

    Raises:
        UsageError: The network does not take the example.
    """
    order: list[str] = []
    with hooked(layers, lambda name, x: order.append(name)), torch.no_grad():
        try:
            call(model, mapped(example, Tensor.clone))
        except (RuntimeError, ValueError, TypeError) as error:
            raise UsageError(f"the network does not take {_shapes(example)}: {error}; give a model that does") from None
    return list(dict.fromkeys(order))


def _shapes(example: Inputs) -> str:
    if isinstance(example, Tensor):
        return f"images of shape {tuple(example.shape)}"
    parts = example.items() if isinstance(example, dict) else enumerate(example, start=1)
    return "inputs of shape " + ", ".join(f"{name}: {tuple(tensor.shape)}" for name, tensor in parts)


def replace_module(model: nn.Module, name: str, module: nn.Module) -> None:
    """Make the module of that name another one, in place: wherever else it stands, the other stands too.

    Args:
        model: Holds it.
        name: Its name.
        module: What it becomes; handed over.
    """
    target = model.get_submodule(name)
    target.__class__ = module.__class__
    target.__dict__ = module.__dict__


@contextmanager
def replaced(layers: Mapping[str, nn.Module], tensors: Mapping[str, tuple[Tensor, Tensor | None]]) -> Iterator[None]:
    """While open, layers compute with other tensors than their own, which stay as they are.

    `torch.func.functional_call` leaves a module that stands under two names with the other tensors.

    Args:
        layers: By name.
        tensors: (weight, bias) by the names of layers; no bias leaves the layer's own.
    """
    before: list[tuple[nn.Module, str, nn.Parameter | None]] = []
    try:
        for name, (weight, bias) in tensors.items():
            for kind, tensor in (("weight", weight), ("bias", bias)):
                if tensor is not None:
                    own = layers[name]._parameters
                    before.append((layers[name], kind, own[kind]))
                    own[kind] = tensor  # type: ignore[assignment]  # a layer only computes with it
        yield
    finally:
        for module, kind, parameter in reversed(before):
            module._parameters[kind] = parameter


@contextmanager
def hooked(layers: Mapping[str, Prunable], see: Any) -> Iterator[None]:
    """While open, `see(name, input)` is called whenever one of the layers runs, with the first tensor that it gets."""

    def hook(name: str) -> Any:
        def saw(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
            tensors = [x for x in (*arguments, *named.values()) if isinstance(x, Tensor)]
            see(name, tensors[0].detach() if tensors else torch.empty(0))

        return saw

    handles = [layer.register_forward_pre_hook(hook(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def run_layer(layer: Prunable, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """The layer's output for other weights than its own; for layers without groups of any number of rows.

    Args:
        layer: Gives stride, padding and the like.
        x: (n, ...) input.
        weight: (rows, ...) weights.
        bias: (rows,) or None.
    """
    if isinstance(layer, nn.Linear):
        return functional.linear(x, weight, bias)
    return layer._conv_forward(x, weight, bias)


def output_positions(layer: Prunable, x: Tensor) -> int:
    """How many times each weight is used for one image: 1 for a linear layer on vectors, pixels for a convolution."""
    if isinstance(layer, nn.Linear):
        return x[0].numel() // layer.in_features
    with torch.no_grad():
        return int(run_layer(layer, x[:1], layer.weight, None)[0, 0].numel())


def padded(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Tensor:
    """The input with the layer's own padding put around it."""
    sides: list[int] = []
    for axis in reversed(range(len(layer.kernel_size))):
        if layer.padding == "same":
            total = layer.dilation[axis] * (layer.kernel_size[axis] - 1)
            sides += [total // 2, total - total // 2]
        else:
            width = 0 if isinstance(layer.padding, str) else layer.padding[axis]
            sides += [width, width]
    mode = "constant" if layer.padding_mode == "zeros" else layer.padding_mode
    return functional.pad(x, sides, mode=mode) if any(sides) else x


def kernel_windows(layer: nn.Conv1d | nn.Conv2d | nn.Conv3d, x: Tensor) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """For each place in the kernel, the input values that it meets: (place, (n, channels, ...) view)."""
    x = padded(layer, x)
    spans = [
        (side - spread * (size - 1) - 1) // stride * stride + 1
        for side, size, spread, stride in zip(x.shape[2:], layer.kernel_size, layer.dilation, layer.stride, strict=True)
    ]
    for place in _places(layer.kernel_size):
        windows = tuple(
            slice(at * spread, at * spread + span, stride)
            for at, spread, span, stride in zip(place, layer.dilation, spans, layer.stride, strict=True)
        )
        yield place, x[(slice(None), slice(None), *windows)]


def _places(sizes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    for number in range(math.prod(sizes)):
        flat, place = number, []
        for size in reversed(sizes):
            flat, at = divmod(flat, size)
            place.append(at)
        yield tuple(reversed(place))
