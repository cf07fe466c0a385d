"""Mean crossover: the children lie halfway between their parents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MeanCrossover:
    """Both children are the mean of their parents: the published crossover of thresholds.

    It draws nothing, and never leaves the range of the parents.
    """

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_var) float64, the first parents.
            B: (n, n_var) float64, the second parents.
            rng: Not used.

        Returns:
            Two (n, n_var) float64 arrays, equal to each other.
        """
        mean = (A + B) / 2
        return mean, mean.copy()
