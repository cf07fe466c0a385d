"""Uniform crossover of masks that gives the children as many ones as their parents have."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout


@dataclass(frozen=True)
class UniformMaskCrossover:
    """What both parents keep stays; the places in which they differ are dealt out at random.

    With `balanced` as many places go from the first to the second parent as come back, in each layer if the
    layout says so, so that parents with equal numbers of ones have children with the same.

    Args:
        layout: The mask's layers.
        balanced: Whether numbers of ones are kept; else each place is dealt out by itself.

    Source: Syswerda 1989, uniform crossover, restricted to equal exchanges.
    """

    layout: MaskLayout
    balanced: bool = True

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """N pairs of parents, (n, 1) each, to n pairs of children."""
        pairs = [self._cross(a, b, rng) for a, b in zip(A[:, 0], B[:, 0], strict=True)]
        return as_population(c for c, _ in pairs), as_population(d for _, d in pairs)

    def _cross(self, a: MaskGenome, b: MaskGenome, rng: np.random.Generator) -> tuple[MaskGenome, MaskGenome]:
        different = np.flatnonzero(np.unpackbits(a.bits ^ b.bits, count=a.n))
        if self.balanced:
            only_a = a.keeps(different)
            exchanged = []
            layers = self.layout.layers_of(different) if self.layout.per_layer else np.zeros(len(different), dtype=int)
            for layer in np.unique(layers):
                here = layers == layer
                ours, theirs = different[here & only_a], different[here & ~only_a]
                n = int(rng.binomial(min(len(ours), len(theirs)), 0.5))
                exchanged += [rng.choice(ours, n, replace=False), rng.choice(theirs, n, replace=False)]
            flips = np.concatenate(exchanged) if exchanged else different
        else:
            flips = different[rng.random(len(different)) < 0.5]
        return a.flipped(flips, guide=a.guide), b.flipped(flips, guide=b.guide)
