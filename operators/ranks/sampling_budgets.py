"""Sampling of allocations: optima of budgets drawn at random, with layers weighted at random."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


class BudgetSampling:
    """Each candidate is an optimum for a budget of its own, layers' errors weighted by log-normal factors.

    The first of a population are optima with all weights 1, budgets evenly spread in their logarithm from the largest
    down, by each of the given ways in turn.

    Args:
        allocate: Ways to allocate: `(budget, weights or None) -> x`, (2 layers,) int64.
        low: Least budget.
        high: Largest budget.
        n_layers: Number of layers.
        seeded: Share of a population with weights 1.
        spread: Standard deviation of the logarithm of a weight.
    """

    def __init__(
        self,
        allocate: list[Callable[[float, np.ndarray | None], np.ndarray]],
        low: float,
        high: float,
        n_layers: int,
        *,
        seeded: float = 0.5,
        spread: float = 0.5,
    ) -> None:
        self.allocate, self.low, self.high, self.n_layers = allocate, low, high, n_layers
        self.seeded, self.spread = seeded, spread

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 2 layers) int64."""
        n_seeded = int(self.seeded * n)
        X = []
        # the ends of a geometric sequence are exact, what lies between equal ends need not be
        for i, budget in enumerate(np.clip(np.geomspace(self.high, self.low, n_seeded), self.low, self.high)):
            X.append(self.allocate[i % len(self.allocate)](float(budget), None))
        while len(X) < n:
            way = self.allocate[int(rng.integers(len(self.allocate)))]
            weights = np.exp(self.spread * rng.standard_normal(self.n_layers))
            budget = np.exp(rng.uniform(np.log(self.low), np.log(self.high)))
            X.append(way(float(np.clip(budget, self.low, self.high)), weights))
        return np.array(X, dtype=np.int64)
