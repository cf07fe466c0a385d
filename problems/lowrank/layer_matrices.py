"""A layer's weight as matrices, and what it costs whole and in two factors."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

import numpy as np

Scheme = Literal[0, 1, 2, 3]


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
        runs: How often the layer runs over its map for one example: once, or more where it is called again, or where
            something else is folded into the batch.
        itemsize: Bytes of a parameter.
        is_single: Whether one call a pass is all.
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
    runs: float = 1.0
    itemsize: int = 4
    is_single: bool = True

    @property
    def parameters(self) -> int:
        """Weights of the layer as it is, biases left out: f c kh kw / g."""
        return self.n_out * self.n_in // self.groups * math.prod(self.kernel)

    @property
    def positions(self) -> int:
        """Places of the layer's output map."""
        return math.prod(self.output_sides)

    @property
    def uses(self) -> float:
        """How often each weight is used for one example."""
        return self.positions * self.runs

    @property
    def macs(self) -> int:
        """Multiply-adds of the layer as it is, for one example."""
        return round(self.parameters * self.uses)

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
        """Multiply-adds of one more rank in every slice, for one example."""
        # the first factor's map has output sides along the axes that it holds and input sides along the others
        between = math.prod(
            out if self._in_encoder(scheme, axis) else inner
            for axis, (inner, out) in enumerate(zip(self.input_sides, self.output_sides, strict=True))
        )
        encoder = self.n_in * math.prod(self.encoder_kernel(scheme))
        decoder = k * self.n_out * math.prod(self.decoder_kernel(scheme))
        return round((encoder * between + decoder * self.positions) * self.runs)


@dataclasses.dataclass(frozen=True)
class Whole:
    """Size of the network as it is, of which the decomposable layers are a part.

    Args:
        parameters: All of them: biases and batch norms too, buffers not.
        macs: Multiply-adds of all convolutions and linear layers, for one example.
        size_bytes: Of parameters.
    """

    parameters: int
    macs: int
    size_bytes: int


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
