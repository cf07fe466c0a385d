"""The move of mask search: kept places exchanged for as many dropped ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.masks.genome import MaskGenome, as_population
from operators.masks.layout import MaskLayout, draw_places


@dataclass(frozen=True)
class Swap:
    """Exchange h kept places for h dropped ones, all random: a Hamming distance of 2h.

    The number kept does not change; with the layout's `per_layer` nor does that of any layer.

    Args:
        layout: The mask's layers.
        largest: h of a full step.
    """

    layout: MaskLayout
    largest: int

    def __call__(self, X: np.ndarray, step: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Swap in every one of (n, 1) masks, h = step * largest rounded and at least 1, step (n,) in (0, 1]."""
        return as_population(
            self.move(genome, max(1, round(float(share) * self.largest)), rng)
            for genome, share in zip(X[:, 0], step, strict=True)
        )

    def move(self, genome: MaskGenome, h: int, rng: np.random.Generator) -> MaskGenome:
        """One mask after a swap of h places, or of as many as there are."""
        h = min(h, genome.n_kept, genome.n - genome.n_kept)
        removed = self.layout.spared(genome, draw_places(genome, True, h, rng), rng)
        if self.layout.per_layer:
            removed, added = paired_by_layer(self.layout, genome, removed, rng)
        else:
            added = draw_places(genome, False, len(removed), rng)
        return genome.flipped(np.concatenate([removed, added]), guide=genome.guide)


def paired_by_layer(
    layout: MaskLayout,
    genome: MaskGenome,
    removed: np.ndarray,
    rng: np.random.Generator,
    *,
    tried: float = 1.0,
    slope: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """As many dropped places of each layer as kept ones of it are removed.

    Args:
        layout: The mask's layers.
        genome: The mask.
        removed: (k,) kept places.
        rng: Generator.
        tried: Random candidates for each place.
        slope: (n,) float32; of the candidates those of least slope come. Without it the first.

    Returns:
        `removed` without those for which a layer has no dropped place left, and the places to add.
    """
    layers = layout.layers_of(removed)
    out, into = [removed[:0]], [removed[:0]]
    for layer in np.unique(layers):
        start, stop = int(layout.starts[layer]), int(layout.starts[layer + 1])
        dropped = start + np.flatnonzero(~genome.part(start, stop))
        mine = removed[layers == layer][: len(dropped)]
        out.append(mine)
        candidates = rng.choice(dropped, min(len(dropped), round(tried * len(mine))), replace=False)
        into.append(
            candidates[: len(mine)] if slope is None else candidates[np.argsort(slope[candidates])[: len(mine)]]
        )
    return np.concatenate(out), np.concatenate(into)
