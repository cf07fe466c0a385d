"""Blend crossover (BLX-alpha): children uniform in the box of their parents, grown by alpha."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class BlendCrossover:
    """Each variable of a child is uniform in [low - alpha d, high + alpha d], d = high - low of its parents.

    Args:
        xl: (n_var,) lower bounds; what falls below is set to them.
        xu: (n_var,) upper bounds, likewise.
        alpha: 0 stays between the parents; 0.5 neither shrinks nor grows a population on average.

    Source: Eshelman and Schaffer 1993, doi:10.1016/B978-0-08-094832-4.50018-0.
    """

    xl: np.ndarray
    xu: np.ndarray
    alpha: float = 0.5

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_var) float64, the first parents.
            B: (n, n_var) float64, the second parents.
            rng: Generator that the places are drawn from.

        Returns:
            Two (n, n_var) float64 arrays within the bounds.
        """
        low, span = np.minimum(A, B), np.abs(A - B)
        start, width = low - self.alpha * span, (1 + 2 * self.alpha) * span
        C, D = (np.clip(start + width * rng.random(A.shape), self.xl, self.xu) for _ in range(2))
        return C, D
