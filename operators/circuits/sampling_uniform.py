"""Uniform sampling of genomes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class UniformGenomeSampling:
    """Every gene uniform over what its place in the grid allows.

    Args:
        layout: The grid.
    """

    layout: GridLayout

    def __call__(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """Draw genomes.

        Args:
            n: How many.
            rng: Generator that the genes are drawn from.

        Returns:
            (n, n_genes) int64.
        """
        return rng.integers(self.layout.xl, self.layout.xu + 1, size=(n, self.layout.n_genes))
