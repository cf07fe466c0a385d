"""Swaps that look where the objective's slope points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout, draw_places
from operators.masks.move_swap import paired_by_layer


@dataclass(frozen=True)
class Guide:
    """The slope that a line of masks is guided by.

    Attributes:
        slope: (n,) float32, the derivative of the objective by each place of the mask.
        stamp: Which data it was taken on.
        age: Masks between the one it was taken at and the one that carries it.
    """

    slope: np.ndarray
    stamp: int
    age: int = 0


@dataclass(frozen=True)
class GuidedSwap:
    """Exchange kept places for dropped ones, the best of random candidates by the objective's slope.

    The slope s is the derivative of the objective by the mask, w dL/dw for weights. To first order a
    kept place that goes changes the objective by -s and a dropped one that comes by +s. Of both kinds t h
    random places are drawn, t log-uniform from 1 to `pressure`, and the h of least change are swapped:
    t = 1 is the plain swap, a large t nearly the steepest one.

    A mask carries the slope of an ancestor; it is taken anew after `renew` moves, or on other data. A new one
    keeps `momentum` of the old one, as in gradient descent. Nothing is kept outside the masks.

    Args:
        layout: The mask's layers.
        largest: h of a full step.
        slope: `genome -> (n,)` float32.
        stamp: `() -> int`, which data the slope is taken on now.
        renew: Moves between two slopes.
        pressure: Most candidates for each place.
        momentum: Share of the old slope in the new one, 0 for none.

    Source: the slope is the connection sensitivity of Lee et al. 2019, arXiv:1810.02340, eq. 3, here with its sign and
        also for what is dropped, as in Ramanujan et al. 2020, arXiv:1911.13299, sec. 3.1.
    """

    layout: MaskLayout
    largest: int
    slope: Callable[[MaskGenome], np.ndarray]
    stamp: Callable[[], int]
    renew: int = 2
    pressure: float = 64.0
    momentum: float = 0.0

    def __call__(self, X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Swap in every one of (n, 1) masks, h = step * largest rounded and at least 1, step (n,) in (0, 1]."""
        return as_population(
            self.move(genome, max(1, round(float(share) * self.largest)), rng)
            for genome, share in zip(X[:, 0], step, strict=True)
        )

    def move(self, genome: MaskGenome, h: int, rng: np.random.Generator) -> MaskGenome:
        """One mask after a guided swap of h places, or of as many as there are."""
        guide = self._guide(genome)
        h = min(h, genome.n_kept, genome.n - genome.n_kept)
        tried = float(np.exp(rng.uniform(0.0, np.log(self.pressure))))
        kept = draw_places(genome, True, round(tried * h), rng)
        removed = self.layout.spared(genome, kept[_first(-guide.slope[kept], h)], rng)
        if self.layout.per_layer:
            removed, added = paired_by_layer(self.layout, genome, removed, rng, tried=tried, slope=guide.slope)
        else:
            dropped = draw_places(genome, False, round(tried * len(removed)), rng)
            added = dropped[_first(guide.slope[dropped], len(removed))]
        older = Guide(guide.slope, guide.stamp, guide.age + 1)
        return genome.flipped(np.concatenate([removed, added]), guide=older)

    def _guide(self, genome: MaskGenome) -> Guide:
        old: Guide | None = genome.guide
        stamp = self.stamp()
        if old is not None and old.age < self.renew and old.stamp == stamp:
            return old
        slope = self.slope(genome)
        if old is not None and self.momentum:
            slope = (1 - self.momentum) * slope + np.float32(self.momentum) * old.slope
        guide = Guide(slope, stamp)
        genome.guide = guide  # the mask stays what it is; a move refused would only ask for the same slope again
        return guide


def _first(values: np.ndarray, k: int) -> np.ndarray:
    """Indices of the k least values."""
    return np.argpartition(values, k - 1)[:k] if 0 < k < len(values) else np.arange(min(k, len(values)))
