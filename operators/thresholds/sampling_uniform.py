"""Uniform sampling within bounds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class UniformSampling:
    """Independent and uniform within the bounds.

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
    """

    xl: np.ndarray
    xu: np.ndarray

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) float64 within the bounds."""
        return self.xl + rng.random((n, len(self.xl))) * (self.xu - self.xl)
