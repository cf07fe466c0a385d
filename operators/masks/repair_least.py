"""Repair of masks that keep too little of a layer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout


@dataclass(frozen=True)
class KeepLeast:
    """Give every layer its least number of places; where numbers are fixed, the fullest layer pays for it.

    Args:
        layout: The mask's layers and the least number in each.
        fixed: Whether the number of ones must stay.
    """

    layout: MaskLayout
    fixed: bool = True

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """Repair (n, 1) masks; those that keep enough are returned as they are."""
        return as_population(self._repaired(genome) for genome in X[:, 0])

    def _repaired(self, genome: MaskGenome) -> MaskGenome:
        least = np.minimum(self.layout.least, self.layout.sizes)
        counts = self.layout.kept(genome)
        if (counts >= least).all():
            return genome
        mask, flips = genome.mask(), []
        for layer in np.flatnonzero(counts < least):
            start, stop = self.layout.starts[layer], self.layout.starts[layer + 1]
            added = start + np.flatnonzero(~mask[start:stop])[: least[layer] - counts[layer]]
            mask[added] = True
            flips += added.tolist()
            counts[layer] = least[layer]
            for _ in range(len(added) if self.fixed else 0):
                fullest = int(np.argmax(counts - least))
                place = (
                    self.layout.starts[fullest]
                    + np.flatnonzero(mask[self.layout.starts[fullest] : self.layout.starts[fullest + 1]])[-1]
                )
                mask[place] = False
                counts[fullest] -= 1
                flips.append(int(place))
        return genome.flipped(np.array(flips, dtype=np.int64), guide=genome.guide)
