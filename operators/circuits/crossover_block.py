"""Block crossover: a run of whole gates changes places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.crossover_exchange import GeneExchange


@dataclass(frozen=True)
class GateBlockCrossover(GeneExchange):
    """A run of gates, drawn by its two ends, changes places; outputs stay with their parent.

    Gates are numbered column by column, so that a run is a band of columns. With the outputs left alone a child
    keeps most of one parent's circuit and gets some of its parts from the other.

    Args:
        layout: The grid.
    """

    def exchanged(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_genes) bool, the genes of the run."""
        layout = self.layout
        ends = np.sort(rng.integers(0, layout.n_gates + 1, size=(n, 2)), axis=1) * layout.stride
        gene = np.arange(layout.n_genes)
        return (gene >= ends[:, :1]) & (gene < ends[:, 1:])
