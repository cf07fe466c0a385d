"""Uniform crossover of gates and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class UniformGateCrossover:
    """Each gate, and each output, comes from either parent with equal chance; the other child gets the other one.

    Args:
        layout: The grid.
    """

    layout: GridLayout

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_genes) int64, the first parents.
            B: (n, n_genes) int64, the second parents.
            rng: Generator that the choices are drawn from.

        Returns:
            Two (n, n_genes) int64 arrays.
        """
        layout = self.layout
        swapped = rng.random((len(A), layout.n_gates + layout.n_outputs)) < 0.5
        gates = np.repeat(swapped[:, : layout.n_gates], layout.stride, axis=1)
        swap = np.concatenate([gates, swapped[:, layout.n_gates :]], axis=1)
        return np.where(swap, B, A), np.where(swap, A, B)
