"""Active-gene mutations: "single" and "active only", which see the genes that outputs depend on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class SingleMutation:
    """Genes are redrawn until one that counts has another value; then it stops.

    Args:
        layout: The grid.

    Source: Goldman and Punch 2013, doi:10.1007/978-3-642-37207-0_11 ("single").
    """

    layout: GridLayout

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row of X, (n, n_genes) int64; a new array."""
        layout, mutated = self.layout, X.copy()
        movable = layout.active_genes(X) & (layout.xu > layout.xl)
        for row, counts in zip(mutated, movable, strict=True):
            if not counts.any():
                continue  # nothing that counts can change: a grid with one choice for each such gene
            changed = False
            while not changed:
                # a block of draws at once: on a large grid nearly all of them hit genes that do not count
                genes = rng.integers(0, layout.n_genes, size=min(4096, layout.n_genes))
                values = rng.integers(layout.xl[genes], layout.xu[genes] + 1)
                hits = np.flatnonzero(counts[genes] & (values != row[genes]))
                last = hits[0] if len(hits) else len(genes) - 1
                row[genes[: last + 1]] = values[: last + 1]
                changed = len(hits) > 0
        return mutated


@dataclass(frozen=True)
class ActiveMutation:
    """Of the genes that count each is redrawn with probability `rate`, and at least one of them.

    Args:
        layout: The grid.
        rate: Above 0 and at most 1.

    Source: Goldman and Punch 2013, doi:10.1007/978-3-642-37207-0_11 ("active only"). Differs: at least one gene.
    """

    layout: GridLayout
    rate: float

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row of X, (n, n_genes) int64; a new array."""
        layout, mutated = self.layout, X.copy()
        movable = layout.active_genes(X) & (layout.xu > layout.xl)
        for row, counts in zip(mutated, movable, strict=True):
            genes = np.flatnonzero(counts)
            if not len(genes):
                continue
            hit = rng.random(len(genes)) < self.rate
            hit[rng.integers(len(genes))] = True
            row[genes[hit]] = rng.integers(layout.xl[genes[hit]], layout.xu[genes[hit]] + 1)
        return mutated
