"""One-point crossover of genomes, cut between gates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.crossover_exchange import GeneExchange


@dataclass(frozen=True)
class OnePointCrossover(GeneExchange):
    """What lies behind a cut changes places; the cut falls between two gates, or between two outputs.

    Args:
        layout: The grid.
    """

    def exchanged(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_genes) bool, the genes behind the cut."""
        layout = self.layout
        cuts = rng.integers(1, layout.n_gates + layout.n_outputs, size=n)
        start = np.where(
            cuts <= layout.n_gates, cuts * layout.stride, layout.n_gates * layout.stride + cuts - layout.n_gates
        )
        return np.arange(layout.n_genes) >= start[:, None]
