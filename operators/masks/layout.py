"""Which places of a mask belong to which layer, and drawing places from it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from operators.masks.genome import MaskGenome

# A draw of more than this share of the places there are lists them all; a smaller one tries places at random.
_LISTED_SHARE = 0.125


@dataclass(frozen=True)
class MaskLayout:
    """Places of a mask, layer after layer.

    Args:
        sizes: Places of each layer.
        least: No layer may keep fewer than so many.
        per_layer: Whether the number kept in each layer stays what it is (for moves that exchange places).
    """

    sizes: tuple[int, ...]
    least: int = 0
    per_layer: bool = False

    @cached_property
    def starts(self) -> np.ndarray:
        """(n_layers + 1,) int64: where each layer begins, and the end."""
        return np.cumsum([0, *self.sizes])

    @property
    def n(self) -> int:
        """Number of places."""
        return int(self.starts[-1])

    def layers_of(self, ids: np.ndarray) -> np.ndarray:
        """(k,) int64 layers of the places `ids`, (k,)."""
        return np.searchsorted(self.starts, ids, side="right") - 1

    def split(self, values: np.ndarray) -> list[np.ndarray]:
        """(n,) values as one view for each layer."""
        return [values[a:b] for a, b in zip(self.starts, self.starts[1:], strict=False)]

    def kept(self, genome: MaskGenome) -> np.ndarray:
        """(n_layers,) int64 ones of each layer."""
        return np.array([np.count_nonzero(part) for part in self.split(genome.mask())], dtype=np.int64)

    def spared(self, genome: MaskGenome, removed: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Those of the kept places `removed`, (k,), that can go without a layer falling below `least`.

        Where none of them can, one random other that can, if there is any.
        """
        if not self.least or not len(removed):
            return removed
        spare = self.kept(genome) - self.least
        layers = self.layers_of(removed)
        allowed = np.zeros(len(removed), dtype=bool)
        for layer in np.unique(layers):
            allowed[np.flatnonzero(layers == layer)[: max(0, int(spare[layer]))]] = True
        if not allowed.any():
            kept = np.flatnonzero(genome.mask())
            kept = kept[spare[self.layers_of(kept)] > 0]
            return rng.choice(kept, min(1, len(kept)), replace=False)
        return removed[allowed]


def draw_places(genome: MaskGenome, kept: bool, size: int, rng: np.random.Generator) -> np.ndarray:
    """Different random places that are all kept, or all not.

    Args:
        genome: The mask.
        kept: Which kind of place.
        size: How many; fewer come where there are fewer.
        rng: Generator.

    Returns:
        (k,) int64 places in random order.
    """
    pool = genome.n_kept if kept else genome.n - genome.n_kept
    size = min(size, pool)
    if size > _LISTED_SHARE * pool:
        return rng.choice(np.flatnonzero(genome.mask() == kept), size, replace=False)
    found = np.empty(0, dtype=np.int64)
    while len(found) < size:
        tried = rng.integers(0, genome.n, size=int(1.3 * (size - len(found)) * genome.n / pool) + 8)
        both = np.concatenate([found, tried[genome.keeps(tried) == kept]])
        found = both[np.sort(np.unique(both, return_index=True)[1])]
    return found[:size]
