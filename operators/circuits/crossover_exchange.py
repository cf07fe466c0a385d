"""Crossover by exchange: two children take each gene from opposite parents."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from operators.circuits.layout import GridLayout


@dataclass(frozen=True)
class GeneExchange(ABC):
    """Genes of two parents change places; which, a subclass says. Bounds hang on the place: a child is within them.

    Args:
        layout: The grid.
    """

    layout: GridLayout

    @abstractmethod
    def exchanged(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, n_genes) bool, the genes that change places in each of n pairs; `rng` is what they are drawn from."""

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs.

        Args:
            A: (n, n_genes) int64, the first parents.
            B: (n, n_genes) int64, the second parents.
            rng: Generator that the places are drawn from.

        Returns:
            Two (n, n_genes) int64 arrays.
        """
        exchanged = self.exchanged(len(A), rng)
        return np.where(exchanged, B, A), np.where(exchanged, A, B)
