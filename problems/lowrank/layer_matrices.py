"""Layers that can be decomposed, and what each of them costs whole and in two factors."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.networks.layers.batch_norms import BATCH_NORMS
from problems.networks.layers.prunable import Prunable, prunable_layers, select_layers

Scheme = Literal[0, 1, 2, 3]

BYTES = 4
"""Of a float32 parameter."""


def in_encoder(scheme: Scheme, axis: int, n_axes: int) -> bool:
    """Whether an axis of the kernel lies in the first factor; schemes 1 and 2 are for two axes."""
    return scheme == 0 or (n_axes == 2 and scheme == axis + 1)


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution or linear layer, as far as a decomposition needs to know it.

    Args:
        name: Of the module.
        n_out: Output channels f.
        n_in: Input channels c.
        groups: Groups g of the layer itself; each is decomposed alike.
        kernel: Sides of the kernel; () for a linear layer.
        input_sides: Sides of the input map; () for a linear layer on vectors.
        output_sides: Sides of the output map.
        has_bias: Whether it has one.
        is_flat: Linear on vectors, or a convolution: only these can be sliced.
        norm: Name of the batch norm that takes this layer's output, or None.
    """

    name: str
    n_out: int
    n_in: int
    groups: int
    kernel: tuple[int, ...]
    input_sides: tuple[int, ...]
    output_sides: tuple[int, ...]
    has_bias: bool
    is_flat: bool
    norm: str | None = None

    @property
    def parameters(self) -> int:
        """Weights of the layer as it is, biases left out: f c kh kw / g."""
        return self.n_out * self.n_in // self.groups * math.prod(self.kernel)

    @property
    def positions(self) -> int:
        """How often each weight is used for one image."""
        return math.prod(self.output_sides)

    @property
    def macs(self) -> int:
        """Multiply-adds of the layer as it is, for one image."""
        return self.parameters * self.positions

    @property
    def slices(self) -> tuple[int, ...]:
        """Numbers of slices k that divide the input channels of a group, ascending."""
        c = self.n_in // self.groups
        return tuple(k for k in range(1, c + 1) if c % k == 0) if self.is_flat else (1,)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Ways to share the kernel between the factors: 1 and 2 only for two axes, and none for a kernel of 1."""
        if math.prod(self.kernel) == 1:
            return (0,)
        return (0, 1, 2, 3) if len(self.kernel) == 2 else (0, 3)

    def encoder_kernel(self, scheme: Scheme) -> tuple[int, ...]:
        """The part of the kernel in the first factor; the other axes have 1 there."""
        return tuple(s if self._in_encoder(scheme, axis) else 1 for axis, s in enumerate(self.kernel))

    def _in_encoder(self, scheme: Scheme, axis: int) -> bool:
        return in_encoder(scheme, axis, len(self.kernel))

    def decoder_kernel(self, scheme: Scheme) -> tuple[int, ...]:
        """The part of the kernel in the second factor."""
        return tuple(1 if self._in_encoder(scheme, axis) else s for axis, s in enumerate(self.kernel))

    def full_rank(self, scheme: Scheme, k: int) -> int:
        """Most ranks of a slice: min(rows, columns) of its matrix."""
        rows = self.n_out // self.groups * math.prod(self.decoder_kernel(scheme))
        return min(rows, self.n_in // self.groups // k * math.prod(self.encoder_kernel(scheme)))

    def rank_parameters(self, scheme: Scheme, k: int) -> int:
        """Parameters of one more rank in every slice: k f + c kh kw for scheme 0."""
        encoder = self.n_in * math.prod(self.encoder_kernel(scheme))
        return encoder + k * self.n_out * math.prod(self.decoder_kernel(scheme))

    def rank_macs(self, scheme: Scheme, k: int) -> int:
        """Multiply-adds of one more rank in every slice, for one image."""
        # the first factor's map has output sides along the axes that it holds and input sides along the others
        between = math.prod(
            out if self._in_encoder(scheme, axis) else inner
            for axis, (inner, out) in enumerate(zip(self.input_sides, self.output_sides, strict=True))
        )
        encoder = self.n_in * math.prod(self.encoder_kernel(scheme))
        decoder = k * self.n_out * math.prod(self.decoder_kernel(scheme))
        return encoder * between + decoder * self.positions


@dataclasses.dataclass(frozen=True)
class Whole:
    """Size of the network as it is, of which the decomposable layers are a part.

    Args:
        parameters: All of them: biases and batch norms too, buffers not.
        macs: Multiply-adds of all convolutions and linear layers, for one image.
        size_bytes: Of parameters in float32.
    """

    parameters: int
    macs: int
    size_bytes: int


def decomposable_layers(model: nn.Module, example: Tensor, patterns: str | None = None) -> tuple[list[Layer], Whole]:
    """The layers that can be decomposed, in the order in which the network runs them, and the network's size.

    Every convolution and linear layer but depthwise ones; a layer of several groups that are not depthwise
    has each of them decomposed alike.

    Args:
        model: In evaluation mode.
        example: (n, ...) images to run once.
        patterns: Shell patterns of names, separated by commas; None takes all.

    Raises:
        UsageError: No such layer, the network does not take the images, or a layer runs more than once, shares its
            weight with another or computes it.
    """
    names = select_layers(model, patterns or "*", example=example)
    modules = prunable_layers(model)
    shapes: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {}
    outputs: dict[int, tuple[str, Tensor, int]] = {}
    calls: Counter[str] = Counter()
    norms: dict[str, str] = {}

    def see(name: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            shapes[name] = (tuple(arguments[0].shape[1:]), tuple(output.shape[1:]))
            outputs[id(output)] = (name, output, output._version)  # kept alive, so that its id stays its own
            calls[name] += 1

        return hook

    def meet(norm: str) -> Any:
        def hook(module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
            name, output, version = outputs.get(id(arguments[0]), ("", arguments[0], -1))
            # what an in-place activation has changed since is no longer the layer's output
            if output._version == version:
                norms[name] = norm

        return hook

    handles = [module.register_forward_hook(see(name)) for name, module in modules.items()]
    named = model.named_modules()
    handles += [m.register_forward_pre_hook(meet(name)) for name, m in named if isinstance(m, BATCH_NORMS)]
    try:
        with torch.no_grad():
            model(example[:2])
    finally:
        for handle in handles:
            handle.remove()
    found = [_described(name, modules[name], shapes[name], norms.get(name)) for name in shapes]
    known = {layer.name: layer for layer in found}
    _refuse_shared(modules, names, calls)
    n = sum(p.numel() for p in model.parameters())
    whole = Whole(n, sum(layer.macs * calls[layer.name] for layer in found), BYTES * n)
    layers = [known[name] for name in names if not _is_depthwise(known[name])]
    if not layers:
        raise UsageError("the network has no layer that can be decomposed; give another --problem.network")
    return layers, whole


def _refuse_shared(modules: Mapping[str, Prunable], names: Sequence[str], calls: Mapping[str, int]) -> None:
    """Refuse layers whose weight is not theirs alone, used once a pass: it cannot be replaced by two factors."""
    owners: dict[int, str] = {}
    for name, module in modules.items():
        other = owners.setdefault(id(module.weight), name)
        is_chosen = name in names
        if is_chosen and "weight" not in module._parameters:
            raise UsageError(
                f"layer {name} computes its weight; remove its parametrisation first "
                "(torch.nn.utils.parametrize.remove_parametrizations), or leave it out with --problem.layers"
            )
        if other != name and (is_chosen or other in names):
            raise UsageError(f"layers {other} and {name} share one weight; leave both out with --problem.layers")
        if is_chosen and calls[name] > 1:
            raise UsageError(f"layer {name} runs {calls[name]} times for one image; leave it out with --problem.layers")


def _described(name: str, module: Prunable, shapes: tuple[tuple[int, ...], tuple[int, ...]], norm: str | None) -> Layer:
    before, after = shapes
    if isinstance(module, nn.Linear):
        return Layer(
            name,
            module.out_features,
            module.in_features,
            1,
            (),
            before[:-1],
            after[:-1],
            module.bias is not None,
            len(before) == 1,
            norm,
        )
    return Layer(
        name,
        module.out_channels,
        module.in_channels,
        module.groups,
        tuple(module.kernel_size),
        before[1:],
        after[1:],
        module.bias is not None,
        True,
        norm,
    )


def _is_depthwise(layer: Layer) -> bool:
    return layer.groups > 1 and layer.groups == layer.n_in


def unfold(weight: np.ndarray, layer: Layer, scheme: Scheme) -> np.ndarray:
    """The weight as one matrix a group, columns ordered by input channel.

    Args:
        weight: (f, c / g, *kernel), or (f, c) of a linear layer.
        layer: What it belongs to.
        scheme: Which part of the kernel lies in the columns, with the first factor; the rest lies in the rows.

    Returns:
        (g, rows, c / g, columns a channel): rows are output channels by the second factor's part of the kernel.

    Source: Liebenwein et al. 2021, arXiv:2107.11442, sec. 2 and appendix.
    """
    g, f, c = layer.groups, layer.n_out // layer.groups, layer.n_in // layer.groups
    axes = range(len(layer.kernel))
    first = [axis for axis in axes if in_encoder(scheme, axis, len(layer.kernel))]
    second = [axis for axis in axes if axis not in first]
    split = weight.reshape(g, f, c, *layer.kernel)
    order = (0, 1, *(3 + axis for axis in second), 2, *(3 + axis for axis in first))
    rows = f * math.prod(layer.decoder_kernel(scheme))
    return split.transpose(order).reshape(g, rows, c, math.prod(layer.encoder_kernel(scheme)))


def sliced(matrices: np.ndarray, k: int) -> np.ndarray:
    """(g, rows, c, q) matrices of the groups to (g k, rows, c q / k): neighbouring channels make a slice."""
    g, rows, c, q = matrices.shape
    return matrices.reshape(g, rows, k, c // k * q).swapaxes(1, 2).reshape(g * k, rows, c // k * q)
