"""Masks by thresholds: which weights remain when those of a score at or below a threshold go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Scope = Literal["layer", "channel"]


class ThresholdMasks:
    """Groups of weights with one threshold each, and the masks that thresholds stand for.

    A group's weights are put in the order of their scores once. A threshold then is a position in that
    order, and thresholds between two consecutive scores are one mask: the number of removed weights in
    every group, `counts`, identifies it. Weights of equal score go together.

    Args:
        scores: One array (out, in, ...) a layer, finite.
        scope: One group a layer, or one an output channel (a class, in the last layer).

    Attributes:
        sizes: (n_groups,) int64, weights in each group.
        layers: (n_groups,) int64, the layer that each group belongs to.
        columns: One slice a layer: its groups among all.
    """

    def __init__(self, scores: Sequence[np.ndarray], scope: Scope = "layer") -> None:
        self.scope = scope
        self._sorted: list[np.ndarray] = []
        self._positions: list[np.ndarray] = []
        self._order: list[np.ndarray] = []
        self.columns: list[slice] = []
        layers: list[int] = []
        for layer, values in enumerate(scores):
            rows = values.reshape(1 if scope == "layer" else len(values), -1).astype(np.float64)
            order = np.argsort(rows, axis=1, kind="stable")
            positions = np.empty(rows.shape, dtype=np.int32)
            np.put_along_axis(positions, order, np.arange(rows.shape[1], dtype=np.int32)[None], axis=1)
            self.columns.append(slice(len(self._sorted), len(self._sorted) + len(rows)))
            self._sorted += list(np.take_along_axis(rows, order, axis=1))
            self._order += list(order)
            self._positions.append(positions.reshape(values.shape))
            layers += [layer] * len(rows)
        self.layers = np.array(layers, dtype=np.int64)
        self.sizes = np.array([len(s) for s in self._sorted], dtype=np.int64)

    @property
    def n_groups(self) -> int:
        """Number of thresholds."""
        return len(self._sorted)

    @property
    def largest(self) -> np.ndarray:
        """(n_groups,) float64, the largest score of each group: at this threshold nothing remains."""
        return np.array([s[-1] for s in self._sorted])

    def order(self, group: int) -> np.ndarray:
        """(size,) int64, the group's weights, as flat indices within the group, in the order of removal."""
        return self._order[group]

    def counts_at(self, thresholds: np.ndarray) -> np.ndarray:
        """(n, n_groups) thresholds to (n, n_groups) int64 numbers of removed weights: those of score <= t."""
        return np.column_stack(
            [np.searchsorted(s, t, side="right") for s, t in zip(self._sorted, thresholds.T, strict=True)]
        )

    def counts_of_shares(self, shares: np.ndarray) -> np.ndarray:
        """(n, n_groups) fractions in [0, 1] to counts: each number of removed weights 0..size is equally wide."""
        counts = np.minimum(np.floor(shares * (self.sizes + 1)), self.sizes).astype(np.int64)
        return self.with_ties(counts)

    def shares(self, counts: np.ndarray) -> np.ndarray:
        """(n, n_groups) fractions in the middle of what `counts_of_shares` turns into these counts."""
        return (counts + 0.5) / (self.sizes + 1)

    def with_ties(self, counts: np.ndarray) -> np.ndarray:
        """Counts of real thresholds: a count that parts equal scores is raised until all of them are removed."""
        thresholds = self.thresholds(counts)
        return np.where(counts > 0, self.counts_at(thresholds), 0)

    def thresholds(self, counts: np.ndarray) -> np.ndarray:
        """(n, n_groups) float64 least thresholds that remove so many; 0 where nothing is removed."""
        return np.column_stack(
            [np.where(c > 0, s[np.maximum(c - 1, 0)], 0.0) for s, c in zip(self._sorted, counts.T, strict=True)]
        )

    def chain(self, group: int) -> np.ndarray:
        """(m,) int64, every different count of one group, 0 first."""
        s = self._sorted[group]
        return np.concatenate([[0], np.flatnonzero(np.append(s[1:] > s[:-1], True)) + 1])

    def mask(self, layer: int, counts: np.ndarray) -> np.ndarray:
        """Which weights of a layer remain.

        Args:
            layer: Index of the layer.
            counts: (n_groups of this layer,) removed weights.

        Returns:
            bool array in the shape of the weight, True where the weight stays.
        """
        positions = self._positions[layer]
        return positions >= counts.reshape(-1, *([1] * (positions.ndim - 1)))

    def removed(self, counts: np.ndarray) -> np.ndarray:
        """(n, n_groups) counts to (n, n_layers) removed weights in each layer."""
        return np.column_stack([counts[:, columns].sum(axis=1) for columns in self.columns])
