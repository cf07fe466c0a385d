"""The mutation of masks: one of several moves, of a random size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

SteppedMove = Callable[[np.ndarray, np.ndarray, np.random.Generator], np.ndarray]
"""`(X, step, rng) -> X'` for (n, 1) masks and (n,) shares of the largest move."""


@dataclass(frozen=True)
class MixedMutation:
    """Each mask by one of the moves, all alike likely, of log-uniform size: single places and large moves.

    Args:
        moves: The moves.
        smallest: Smallest share of a move's largest size.
        largest: Largest share.
    """

    moves: Sequence[SteppedMove]
    smallest: float
    largest: float = 1.0

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Mutate every one of (n, 1) masks."""
        chosen = rng.integers(len(self.moves), size=len(X))
        step = np.exp(rng.uniform(np.log(self.smallest), np.log(self.largest), size=len(X)))
        mutated = X.copy()
        for k, move in enumerate(self.moves):
            rows = np.flatnonzero(chosen == k)
            if len(rows):
                mutated[rows] = move(X[rows], step[rows], rng)
        return mutated
