"""Log-spaced sampling: thresholds in geometric steps up to the largest weight."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class LogSpacedSampling:
    """The lower bound, and thresholds spaced evenly in their logarithm from xu / base to xu.

    Row 0 is xl, row i of the rest is xu base^(i / (n - 2) - 1): the published first population, which
    draws nothing (n = 20, base 16: 1e-6 and 19 steps from a sixteenth of max |w| to max |w|).

    Args:
        xl: (n_var,) lower bounds.
        xu: (n_var,) upper bounds.
        base: Ratio of the largest of the spaced thresholds to the smallest.
    """

    xl: np.ndarray
    xu: np.ndarray
    base: float = 16.0

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_var) float64 within the bounds; `rng` is not used."""
        exponents = np.linspace(-1.0, 0.0, n - 1) if n > 2 else np.zeros(n - 1)
        spaced = np.clip(self.base ** exponents[:, None] * self.xu, self.xl, self.xu)
        return np.vstack([self.xl, spaced])[:n].astype(np.float64)
