"""Uniform crossover of gates and outputs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.crossover_exchange import GeneExchange


@dataclass(frozen=True)
class UniformGateCrossover(GeneExchange):
    """Each gate, and each output, comes from either parent with equal chance; the other child gets the other one.

    Args:
        layout: The grid.
    """

    def exchanged(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_genes) bool, the genes of the gates and outputs drawn."""
        layout = self.layout
        drawn = rng.random((n, layout.n_gates + layout.n_outputs)) < 0.5
        gates = np.repeat(drawn[:, : layout.n_gates], layout.stride, axis=1)
        return np.concatenate([gates, drawn[:, layout.n_gates :]], axis=1)
