"""Stratified sampling: each variable's range in n equal strata, one draw in each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class StratifiedSampling:
    """A Latin hypercube: along every variable each of n equal strata holds exactly one row.

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.

    Source: McKay, Beckman and Conover 1979, doi:10.1080/00401706.1979.10489755.
    """

    xl: np.ndarray
    xu: np.ndarray

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) float64 within the bounds."""
        strata = np.tile(np.arange(n)[:, None], (1, len(self.xl)))
        places = (rng.permuted(strata, axis=0) + rng.random((n, len(self.xl)))) / n
        return self.xl + places * (self.xu - self.xl)
