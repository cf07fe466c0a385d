"""First masks: random ones, and ones around a given mask."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout


@dataclass(frozen=True)
class RandomMasks:
    """Random masks with a number of ones from a range, spread evenly over n masks on a logarithmic scale.

    With the layout's `per_layer` every layer keeps the same fraction; no layer keeps fewer than its least.

    Args:
        layout: The mask's layers.
        least: Fewest ones.
        most: Most ones; equal to `least` for a fixed number.
    """

    layout: MaskLayout
    least: int
    most: int

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) masks."""
        strata = (rng.permutation(n) + rng.random(n)) / max(n, 1)
        counts = np.rint(self.least * (self.most / self.least) ** strata).astype(int)
        return as_population(self._draw(int(count), rng) for count in counts)

    def _draw(self, count: int, rng: np.random.Generator) -> MaskGenome:
        layout = self.layout
        mask = np.zeros(layout.n, dtype=bool)
        if layout.per_layer:
            for start, size, k in zip(layout.starts, layout.sizes, shares(layout.sizes, count), strict=False):
                mask[start + rng.choice(size, k, replace=False)] = True
            return MaskGenome.from_mask(mask)
        for start, size in zip(layout.starts, layout.sizes, strict=False):
            mask[start + rng.choice(size, min(layout.least, size), replace=False)] = True
        free = np.flatnonzero(~mask)
        mask[rng.choice(free, count - (layout.n - len(free)), replace=False)] = True
        return MaskGenome.from_mask(mask)


@dataclass(frozen=True)
class MasksAround:
    """A given mask first, then the same after moves of growing size.

    Args:
        masks: The given masks, in turn.
        move: `(X, step, rng) -> X'`, step (n,) in (0, 1].
        largest: Share of the move's largest size that the last mask differs by.
    """

    masks: Sequence[MaskGenome]
    move: Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
    largest: float = 0.1

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) masks."""
        X = as_population(self.masks[i % len(self.masks)] for i in range(n))
        first = min(n, len(self.masks))
        if first < n:
            step = self.largest * np.arange(1, n - first + 1) / (n - first)
            X[first:] = self.move(X[first:], step, rng)
        return X


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """`count` places dealt out over layers in proportion to their sizes, by largest remainders.

    Args:
        sizes: Places of each layer.
        count: Places in all, at most their sum.
    """
    exact = np.array(sizes) * (count / sum(sizes))
    dealt = np.floor(exact + 1e-9).astype(int)
    for layer in np.argsort(-(exact - dealt), kind="stable")[: count - int(dealt.sum())]:
        dealt[layer] += 1
    return dealt.tolist()
