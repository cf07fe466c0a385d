"""Sampling that begins with known candidates."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SeededSampling:
    """Known candidates, spread evenly over those that are given, and the rest from another sampling.

    Args:
        known: (m, n_var) candidates in an order along which neighbours are alike.
        rest: `(n, rng) -> X` for the others.
        share: Largest share of the rows that known candidates take.
    """

    known: np.ndarray
    rest: Callable[[int, np.random.Generator], np.ndarray]
    share: float = 0.75

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) float64, the known ones first."""
        n_known = min(int(self.share * n), len(self.known))
        chosen = np.unique(np.rint(np.linspace(0, len(self.known) - 1, n_known)).astype(np.int64))
        return np.vstack([self.known[chosen], self.rest(n - len(chosen), rng)])
