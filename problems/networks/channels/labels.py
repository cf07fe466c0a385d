"""Labels of channels: entries of axes of tensors, which of them must go together, and which must stay."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from torch import Tensor

Layers = list[Tensor]
"""Labels of a tensor's entries, one int64 tensor for each axis that is labelled.

Each is of the tensor's rank, with size 1 along axes that it does not depend on. 0 is no label.
"""

FIXED_WIDTH = "it meets values of a fixed width"


class Labels:
    """Labels that have been given out, with what has been found out about them.

    Attributes:
        n: Labels so far; they count from 1.
    """

    def __init__(self) -> None:
        self.n = 0
        self._pairs: list[np.ndarray] = []
        self._stays: dict[str, list[np.ndarray]] = {}

    def new(self, size: int) -> Tensor:
        """(size,) fresh labels."""
        fresh = torch.arange(self.n + 1, self.n + size + 1)
        self.n += size
        return fresh

    def unite(self, a: Tensor, b: Tensor) -> Tensor:
        """Labels that stand in one place go together, and where only one of two has a label it must stay.

        Args:
            a: Labels.
            b: Labels, of a shape that can be broadcast with a's.

        Returns:
            One of them, or where it has none the other.
        """
        a, b = torch.broadcast_tensors(a, b)
        differ = a != b
        if bool(differ.any()):
            pairs = torch.stack([a[differ], b[differ]])
            pairs = torch.unique(pairs, dim=1) if pairs.shape[1] > 1 else pairs
            both = (pairs != 0).all(dim=0)
            self._pairs.append(pairs[:, both].numpy())
            self.stay(pairs[:, ~both], FIXED_WIDTH)
            a = torch.where(a != 0, a, b)
        return compressed(a)

    def unite_along(self, layer: Tensor, axes: Iterable[int]) -> Tensor:
        """Labels that differ along the axes go together; one of them is returned for all."""
        for axis in axes:
            if layer.shape[axis] > 1:
                first = layer.narrow(axis, 0, 1)
                self.unite(first, layer)
                layer = first
        return layer

    def stay(self, labels: Tensor, reason: str) -> None:
        """Labels that cannot go."""
        values = torch.unique(labels)
        values = values[values != 0]
        if len(values):
            self._stays.setdefault(reason, []).append(values.numpy())

    def classes(self) -> np.ndarray:
        """(n + 1,) number of the set of labels that must go together, for each label."""
        pairs = np.concatenate([*self._pairs, np.empty((2, 0), dtype=np.int64)], axis=1)
        graph = coo_array((np.ones(pairs.shape[1], dtype=np.int8), (pairs[0], pairs[1])), shape=(self.n + 1,) * 2)
        return connected_components(graph, directed=False)[1].astype(np.int64)

    def staying(self, classes: np.ndarray) -> dict[int, str]:
        """The reason by the number of a set that cannot go; the first that was found."""
        reasons: dict[int, str] = {}
        for reason, parts in self._stays.items():
            for number in np.unique(classes[np.concatenate(parts)]).tolist():
                reasons.setdefault(number, reason)
        return reasons


def compressed(layer: Tensor) -> Tensor:
    """The same labels with size 1 along each axis on which they do not depend."""
    for axis, size in enumerate(layer.shape):
        if size > 1:
            first = layer.narrow(axis, 0, 1)
            if bool((layer == first).all()):
                layer = first
    return layer


def spanned(layer: Tensor) -> list[int]:
    """Axes on which labels depend."""
    return [axis for axis, size in enumerate(layer.shape) if size > 1]


def aligned(layer: Tensor, n_axes: int) -> Tensor:
    """Labels of a tensor of fewer axes as those of one of `n_axes`, as broadcasting puts them."""
    return layer.reshape(*[1] * (n_axes - layer.ndim), *layer.shape)


def combined(labels: Labels, operands: Sequence[tuple[torch.Size, Layers]], shape: torch.Size) -> Layers:
    """Labels of what is computed entry by entry of operands that are broadcast.

    Args:
        labels: Told what goes together.
        operands: Shape and labels of each.
        shape: Of the result.
    """
    result: Layers = []
    for _, layers in operands:
        for layer in layers:
            layer = aligned(layer, len(shape))
            axes = set(spanned(layer))
            for k, other in enumerate(result):
                if axes & set(spanned(other)) or not axes:
                    result[k] = labels.unite(other, layer)
                    break
            else:
                result.append(layer)
    for layer in result:
        for axis in spanned(layer):
            for own, layers in operands:
                at = axis - (len(shape) - len(own))
                if at >= 0 and own[at] > 1 and not any(_depends(other, at) for other in layers):
                    labels.stay(layer, FIXED_WIDTH)
    return result


def _depends(layer: Tensor, axis: int) -> bool:
    return layer.shape[axis] > 1
