"""Point and probabilistic mutation: genes are redrawn wherever they lie, mostly without effect (neutral drift)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class PublishedMutation:
    """A number of genes, uniform in 0 .. ceil(rate * genes), is redrawn; a place may be drawn twice.

    Args:
        layout: The grid.
        rate: Of the most genes that are redrawn, above 0 and at most 1.
    """

    layout: GridLayout
    rate: float

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row of X, (n, n_genes) int64; a new array."""
        most = math.ceil(self.rate * self.layout.n_genes)
        return _redrawn(self.layout, X, rng.integers(0, most + 1, size=len(X)), rng)


@dataclass(frozen=True)
class PointMutation:
    """ceil(rate * genes) genes are redrawn; a place may be drawn twice.

    Args:
        layout: The grid.
        rate: Of the genes that are redrawn, above 0 and at most 1.

    Source: Miller 2011, doi:10.1007/978-3-642-17310-3, sec. 2.5.
    """

    layout: GridLayout
    rate: float

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row of X, (n, n_genes) int64; a new array."""
        count = math.ceil(self.rate * self.layout.n_genes)
        return _redrawn(self.layout, X, np.full(len(X), count), rng)


@dataclass(frozen=True)
class ProbabilisticMutation:
    """Each gene is redrawn with probability `rate`.

    Args:
        layout: The grid.
        rate: Above 0 and at most 1.
    """

    layout: GridLayout
    rate: float

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row of X, (n, n_genes) int64; a new array."""
        hit = rng.random(X.shape) < self.rate
        mutated = X.copy()
        genes = np.nonzero(hit)[1]
        mutated[hit] = rng.integers(self.layout.xl[genes], self.layout.xu[genes] + 1)
        return mutated


def _redrawn(layout: GridLayout, X: np.ndarray, counts: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    rows = np.repeat(np.arange(len(X)), counts)
    genes = rng.integers(0, layout.n_genes, size=len(rows))
    mutated = X.copy()
    mutated[rows, genes] = rng.integers(layout.xl[genes], layout.xu[genes] + 1)
    return mutated
