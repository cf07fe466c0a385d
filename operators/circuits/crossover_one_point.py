"""One-point crossover of genomes, cut between gates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class OnePointCrossover:
    """What lies behind a cut changes places; the cut falls between two gates, or between two outputs.

    A gate stays whole, and an operand is within bounds in either parent, since bounds hang on the place alone.

    Args:
        layout: The grid.
    """

    layout: GridLayout

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_genes) int64, the first parents.
            B: (n, n_genes) int64, the second parents.
            rng: Generator that the cuts are drawn from.

        Returns:
            Two (n, n_genes) int64 arrays.
        """
        layout = self.layout
        cuts = rng.integers(1, layout.n_gates + layout.n_outputs, size=len(A))
        start = np.where(
            cuts <= layout.n_gates, cuts * layout.stride, layout.n_gates * layout.stride + cuts - layout.n_gates
        )
        behind = np.arange(layout.n_genes) >= start[:, None]
        return np.where(behind, B, A), np.where(behind, A, B)
