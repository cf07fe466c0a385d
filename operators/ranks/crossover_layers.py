"""Uniform crossover of whole layers."""

from __future__ import annotations

import numpy as np


class LayerCrossover:
    """Each layer's option and rank, together, come from either parent with equal probability.

    At least one layer in which the parents differ is exchanged where they differ in two or more, so that children are
    new wherever that is possible.
    """

    def __call__(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Cross n pairs of parents.

        Args:
            A: (n, 2 layers) int64.
            B: Likewise.
            rng: Drawn from.

        Returns:
            (n, 2 layers) children twice; what one has of a layer, the other has not.
        """
        n, n_layers = len(A), A.shape[1] // 2
        is_exchanged = rng.random((n, n_layers)) < 0.5
        differs = (A != B).reshape(n, n_layers, 2).any(axis=2)
        forced = np.where(differs, rng.random((n, n_layers)), -1.0).argmax(axis=1)
        is_exchanged[np.arange(n), forced] = True
        # and one that differs stays
        kept = np.where(differs, rng.random((n, n_layers)), -1.0)
        kept[np.arange(n), forced] = -1.0
        stays = kept.argmax(axis=1)
        has_second = kept.max(axis=1) >= 0
        is_exchanged[np.arange(n)[has_second], stays[has_second]] = False
        mask = np.repeat(is_exchanged, 2, axis=1)
        return np.where(mask, B, A), np.where(mask, A, B)
