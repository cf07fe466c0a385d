"""Block crossover: a run of whole gates changes places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class GateBlockCrossover:
    """A run of gates, drawn by its two ends, changes places; outputs stay with their parent.

    Gates are numbered column by column, so that a run is a band of columns. With the outputs left alone a child
    keeps most of one parent's circuit and gets some of its parts from the other.

    Args:
        layout: The grid.
    """

    layout: GridLayout

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_genes) int64, the first parents.
            B: (n, n_genes) int64, the second parents.
            rng: Generator that the ends are drawn from.

        Returns:
            Two (n, n_genes) int64 arrays.
        """
        layout = self.layout
        ends = np.sort(rng.integers(0, layout.n_gates + 1, size=(len(A), 2)), axis=1) * layout.stride
        gene = np.arange(layout.n_genes)
        inside = (gene >= ends[:, :1]) & (gene < ends[:, 1:])
        return np.where(inside, B, A), np.where(inside, A, B)
