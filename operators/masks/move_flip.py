"""Moves that change how many places are kept."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout, draw_places


@dataclass(frozen=True)
class Flip:
    """Add random dropped places, or remove random kept ones.

    Args:
        layout: The mask's layers.
        adds: Whether it adds or removes.
        least: Fewest places that a mask keeps.
        most: Most places that a mask keeps.
        largest: Share of the kept places that a full step adds or removes.
    """

    layout: MaskLayout
    adds: bool
    least: int
    most: int
    largest: float = 0.2

    def __call__(self, X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Flip in every one of (n, 1) masks, as many as the share `step`, (n,), of the largest move says."""
        return as_population(self.move(g, float(s), rng) for g, s in zip(X[:, 0], step, strict=True))

    def move(self, genome: MaskGenome, share: float, rng: np.random.Generator) -> MaskGenome:
        """One mask after a flip; one that is at its bound is turned back into the range."""
        h = max(1, round(share * self.largest * genome.n_kept))
        room = self.most - genome.n_kept if self.adds else genome.n_kept - self.least
        adds = self.adds if room > 0 else not self.adds
        h = min(h, self.most - genome.n_kept if adds else genome.n_kept - self.least)
        ids = draw_places(genome, not adds, max(h, 0), rng)
        return genome.flipped(ids if adds else self.layout.spared(genome, ids, rng), guide=genome.guide)
