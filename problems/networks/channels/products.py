"""Labels of what is summed over channels: products of matrices, convolutions, look-ups of embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from problems.networks.channels.labels import FIXED_WIDTH, Labels, Layers, aligned, combined, spanned


class Products:
    """Rules of operations that take channels in and give others.

    Args:
        labels: Told what goes together and what must stay.
        layers_of: Labels of a tensor.

    Attributes:
        out: Result of the operation at hand.
    """

    out: Any

    def __init__(self, labels: Labels, layers_of: Callable[[Any], Layers]) -> None:
        self.labels, self.layers_of = labels, layers_of

    def product(self, a: Tensor, b: Tensor, **_: Any) -> Layers:
        """Of two matrices, or of batches of them."""
        return self._contracted(a.shape, self.layers_of(a), b.shape, self.layers_of(b))

    def _contracted(self, a_shape: Sequence[int], a: Layers, b_shape: Sequence[int], b: Layers) -> Layers:
        """Of (..., n, k) and (..., k, m): what is summed over goes together, the rest passes."""
        shape = torch.Size((*a_shape[:-1], b_shape[-1]))
        left = [self.labels.unite_along(layer, [layer.ndim - 2]).mT for layer in a if layer.shape[-1] > 1]
        right = [self.labels.unite_along(layer, [layer.ndim - 1]) for layer in b if layer.shape[-2] > 1]
        for k, layer in enumerate(left):
            self.labels.unite(layer, right[min(k, len(right) - 1)]) if right else self._meets_fixed(layer)
        for layer in right[len(left) :]:
            self.labels.unite(layer, left[-1]) if left else self._meets_fixed(layer)
        a_passes = [layer for layer in a if layer.shape[-1] == 1]
        b_passes = [layer for layer in b if layer.shape[-2] == 1]
        operands = [(torch.Size((*a_shape[:-1], 1)), a_passes), (torch.Size((*b_shape[:-2], 1, b_shape[-1])), b_passes)]
        return combined(self.labels, operands, shape)

    def _meets_fixed(self, layer: Tensor) -> None:
        self.labels.stay(layer, FIXED_WIDTH)

    def product_with_vector(self, a: Tensor, v: Tensor) -> Layers:
        """Of a matrix and a vector."""
        columns = [layer[:, None] for layer in self.layers_of(v)]
        result = self._contracted(a.shape, self.layers_of(a), (len(v), 1), columns)
        return [layer[:, 0] for layer in result]

    def product_of_vectors(self, a: Tensor, b: Tensor) -> Layers:
        """A number, which has no channels."""
        rows, columns = ([layer[None] for layer in self.layers_of(a)], [layer[:, None] for layer in self.layers_of(b)])
        self._contracted((1, len(a)), rows, (len(b), 1), columns)
        return []

    def sum_and_product(self, bias: Tensor, a: Tensor, b: Tensor, **_: Any) -> Layers:
        """A bias and a product."""
        product = self.product(a, b) if b.ndim > 1 else self.product_with_vector(a, b)
        return combined(self.labels, [(bias.shape, self.layers_of(bias)), (self.out.shape, product)], self.out.shape)

    def embedding(self, weight: Tensor, *_: Any, **__: Any) -> Layers:
        """Rows that are looked up by number."""
        out = self.out[0] if isinstance(self.out, tuple) else self.out
        result = []
        for layer in self.layers_of(weight):
            if layer.shape[0] > 1:
                self.labels.stay(layer, "its rows are looked up by number")
            else:
                result.append(aligned(layer, out.ndim))
        return result

    def last_axis(self, x: Tensor, *_: Any, **__: Any) -> Layers:
        """Of sequences that are packed or unpacked: features are the last axis."""
        out = self.out[0]
        layers = [self.labels.unite_along(layer, range(layer.ndim - 1)) for layer in self.layers_of(x)]
        return [layer.reshape(*[1] * (out.ndim - 1), -1) for layer in layers]

    def patches(self, x: Tensor, kernel: Sequence[int], *_: Any, **__: Any) -> Layers:
        """Channels and places of a kernel side by side, channels first."""
        taken = self.along_channels(x) if x.ndim == 4 else None
        return [] if taken is None else [taken.repeat_interleave(math.prod(kernel)).reshape(1, -1, 1)]

    def convolution(self, x: Tensor, weight: Tensor, bias: Tensor | None, *options: Any) -> Layers:
        """Of any kind, transposed too."""
        is_transposed, groups = bool(options[3]), int(options[5])
        n_axes = x.ndim
        taken = self.along_channels(x)
        axes = [self._along(weight, axis) for axis in (0, 1)]
        for layer in self.layers_of(weight):
            if any(axis > 1 for axis in spanned(layer)):
                self.labels.stay(layer, "it is a side of a kernel")
        given = self._coupled(taken, axes, weight.shape, is_transposed, groups, x.shape[1])
        out = self.out
        if bias is not None:
            shape = torch.Size((out.shape[1],))
            vectors = [(shape, self.layers_of(bias)), (shape, [] if given is None else [given])]
            merged = combined(self.labels, vectors, shape)
            given = merged[0] if merged and given is not None else given
        return [] if given is None else [given.reshape(1, -1, *[1] * (n_axes - 2))]

    def along_channels(self, x: Tensor) -> Tensor | None:
        """(c,) labels of the second axis; entries that a kernel sees in other places go with them."""
        found = None
        for layer in self.layers_of(x):
            if layer.shape[1] == 1:
                self.labels.stay(layer, "a kernel runs along it")
                continue
            vector = self.labels.unite_along(layer, [axis for axis in range(x.ndim) if axis != 1]).flatten()
            found = vector if found is None else self.labels.unite(found, vector)
        return found

    def _along(self, weight: Tensor, axis: int) -> Tensor | None:
        for layer in self.layers_of(weight):
            if layer.shape[axis] > 1:
                others = [other for other in range(weight.ndim) if other != axis]
                return self.labels.unite_along(layer, others).flatten()
        return None

    def _coupled(
        self,
        taken: Tensor | None,
        axes: list[Tensor | None],
        shape: Sequence[int],
        is_transposed: bool,
        groups: int,
        n_in: int,
    ) -> Tensor | None:
        """Labels of a convolution's output channels; those of its inputs go with its weight's."""
        first, second = axes
        n_out_each = shape[1] if is_transposed else shape[0] // groups
        if groups == 1:
            rows, columns = (second, first) if is_transposed else (first, second)
            if n_in > 1:
                self._unite_or_stay(taken, columns)
            return rows
        if n_in == groups:
            return self._depthwise(taken, first, second, is_transposed, groups, n_out_each)
        each_in = None if taken is None else self.labels.unite_along(taken.reshape(groups, -1), [0]).flatten()
        each = None if first is None else self.labels.unite_along(first.reshape(groups, -1), [0]).flatten()
        if is_transposed:
            self._unite_or_stay(each_in, each)
            return None if second is None else second.repeat(groups)
        self._unite_or_stay(each_in, second)
        if each is None:
            return None
        if n_out_each == 1:  # one filter a group: none can go
            self._meets_fixed(each)
        return each.repeat(groups)

    def _depthwise(
        self,
        taken: Tensor | None,
        first: Tensor | None,
        second: Tensor | None,
        is_transposed: bool,
        groups: int,
        n_out_each: int,
    ) -> Tensor | None:
        """A channel goes with the filters that see it; of channels that stay, a filter of each can go."""
        if first is None:
            self._unite_or_stay(taken, None)
            return None
        if is_transposed:
            if second is not None:
                self._meets_fixed(second)
            own = first
        else:
            own = first.reshape(groups, n_out_each)
            if taken is None and n_out_each > 1:
                return self.labels.unite_along(own, [0]).flatten().repeat(groups)
            own = self.labels.unite_along(own, [1]).flatten()
        self._unite_or_stay(taken, own)
        return own.repeat_interleave(n_out_each)

    def _unite_or_stay(self, a: Tensor | None, b: Tensor | None) -> None:
        if a is not None and b is not None:
            self.labels.unite(a, b)
        elif (lone := a if b is None else b) is not None:
            self._meets_fixed(lone)
