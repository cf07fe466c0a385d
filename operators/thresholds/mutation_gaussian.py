"""Gaussian mutation within bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class GaussianMutation:
    """Normal steps on some of the variables, of a size that is itself drawn anew for each step.

    The step's standard deviation, as a fraction of the bounds' distance, is log-uniform between
    `smallest` and `largest`: small steps refine, large ones explore, and none has to be chosen. Equal
    ends give one fixed size. Each variable moves with probability `probability`, at least one in every
    row. Steps that leave the bounds are reflected back.

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
        smallest: Least standard deviation, as a fraction of xu - xl: one for all variables, or (n_var,).
        largest: Greatest standard deviation, likewise.
        probability: Chance of a variable to move; None takes 1 / n_var.
    """

    xl: np.ndarray
    xu: np.ndarray
    smallest: float | np.ndarray = 0.001
    largest: float = 0.1
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
        low, high = np.log(np.minimum(self.smallest, self.largest)), np.log(self.largest)
        sigma = np.exp(low + (high - low) * rng.random(X.shape))
        step = sigma * (self.xu - self.xl) * rng.standard_normal(X.shape)
        return np.where(moved, reflected(X + step, self.xl, self.xu), X)


def drawn_variables(shape: tuple[int, ...], probability: float | None, rng: np.random.Generator) -> np.ndarray:
    """(n, n_var) bool: each variable with `probability` (None: 1 / n_var), at least one in each row."""
    n_var = shape[1]
    drawn = rng.random(shape) < (1 / n_var if probability is None else probability)
    none = np.flatnonzero(~drawn.any(axis=1))
    drawn[none, rng.integers(0, n_var, size=len(none))] = True
    return drawn


def reflected(X: np.ndarray, xl: np.ndarray, xu: np.ndarray) -> np.ndarray:
    """X folded back into [xl, xu], as light between two mirrors."""
    span = np.where(xu > xl, xu - xl, 1.0)
    folded = np.abs(np.mod((X - xl) / span + 1, 2) - 1)
    return np.where(xu > xl, np.clip(xl + folded * span, xl, xu), xl)
