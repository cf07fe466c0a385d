"""Stratified sampling: each variable's range in n equal strata, one draw in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.thresholds.mutation_gaussian import drawn_variables


@dataclass(frozen=True)
class StratifiedSampling:
    """A Latin hypercube: along every variable each of n equal strata holds exactly one row.

    With `active` below 1 a row then keeps only some of its variables, at least one, and the others go
    to the lower bound: among many layers some rows prune one alone, some a few, some all.

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
        active: Probability with which a variable keeps its place.

    Source: McKay, Beckman and Conover 1979, doi:10.1080/00401706.1979.10489755.
    """

    xl: np.ndarray
    xu: np.ndarray
    active: float = 1.0

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) float64 within the bounds."""
        strata = np.tile(np.arange(n)[:, None], (1, len(self.xl)))
        places = (rng.permuted(strata, axis=0) + rng.random((n, len(self.xl)))) / n
        X = self.xl + places * (self.xu - self.xl)
        if self.active >= 1:
            return X
        return np.where(drawn_variables(X.shape, self.active, rng), X, self.xl)
