"""Simulated binary crossover: children on both sides of their parents' mean, near the parents."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SimulatedBinaryCrossover:
    """SBX: the spread of the children about the parents' mean is beta times the parents' own.

    The form without bounds in the density; children beyond them are set to the bound.

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
        eta: Distribution index: the larger, the nearer children are to parents.
        swap: Probability with which a variable's two children change places.

    Source: Deb and Agrawal 1995, Complex Systems 9, 115-148.
    """

    xl: np.ndarray
    xu: np.ndarray
    eta: float = 15.0
    swap: float = 0.5

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_var) float64, the first parents.
            B: (n, n_var) float64, the second parents.
            rng: Generator that spreads and swaps are drawn from.

        Returns:
            Two (n, n_var) float64 arrays within the bounds; without clipping their mean is the parents'.
        """
        u = rng.random(A.shape)
        power = 1 / (self.eta + 1)
        # eq. 5 and 6: P(beta <= 1) = 1/2
        beta = np.where(u <= 0.5, (2 * u) ** power, (0.5 / (1 - u)) ** power)
        mean, half = (A + B) / 2, beta * (B - A) / 2
        half = np.where(rng.random(A.shape) < self.swap, -half, half)
        return np.clip(mean - half, self.xl, self.xu), np.clip(mean + half, self.xl, self.xu)
