"""Mutation on a logarithmic scale: thresholds are multiplied."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.thresholds.mutation_gaussian import drawn_variables


@dataclass(frozen=True)
class LogMutation:
    """Some of the variables are multiplied by exp(sigma N(0, 1)) and set to the bound they pass.

    Each variable moves with probability `probability`, at least one in every row.

    Args:
        xl: (n_var,) lower bounds, 0 or more; a variable at 0 stays there.
        xu: (n_var,) upper bounds.
        sigma: Standard deviation of the logarithm's step.
        probability: Chance of a variable to move; None takes 1 / n_var.
    """

    xl: np.ndarray
    xu: np.ndarray
    sigma: float = 0.1
    probability: float | None = None

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every row.

        Args:
            X: (n, n_var) float64 within the bounds.
            rng: Generator that everything is drawn from.

        Returns:
            (n, n_var) float64 within the bounds.
        """
        moved = drawn_variables(X.shape, self.probability, rng)
        factor = np.exp(self.sigma * rng.standard_normal(X.shape))
        return np.where(moved, np.clip(X * factor, self.xl, self.xu), X)
