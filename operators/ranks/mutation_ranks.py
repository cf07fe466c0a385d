"""Mutation of allocations: ranks by factors, and other slices of about the same size."""

from __future__ import annotations

import numpy as np


class RankMutation:
    """Some layers get another rank, or other slices with the rank that keeps their size.

    Args:
        top: (layers, options) int64: the rank from which on a layer is left as it is; 1 for options that it lacks.
        rank_size: (layers, options) size of one rank.
        rate: Mean share of layers that change; at least one does.
        spread: Standard deviation of the logarithm of a rank's factor.
        option_prob: Probability that a changed layer gets another option.
    """

    def __init__(
        self,
        top: np.ndarray,
        rank_size: np.ndarray,
        *,
        rate: float = 0.15,
        spread: float = 0.35,
        option_prob: float = 0.3,
    ) -> None:
        self.top, self.rank_size = top, rank_size
        self.n_options = (top > 1).sum(axis=1)
        self.rate, self.spread, self.option_prob = rate, spread, option_prob

    def __call__(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """(n, 2 layers) int64 to as many mutants, every one with at least one layer changed."""
        n, n_layers = len(X), len(self.top)
        rows = np.arange(n_layers)[None]
        options, ranks = X[:, 0::2].copy(), X[:, 1::2]
        top = self.top[rows, options]
        ranks = np.clip(ranks, 1, top)
        is_changed = rng.random((n, n_layers)) < self.rate
        is_changed[np.arange(n), rng.integers(0, n_layers, n)] = True
        other = (options + 1 + rng.integers(0, np.maximum(self.n_options - 1, 1), (n, n_layers))) % self.n_options
        # a layer left as it is has the same network for every option: only its rank says something
        is_other = is_changed & (rng.random((n, n_layers)) < self.option_prob) & (self.n_options > 1) & (ranks < top)
        kept_size = ranks * self.rank_size[rows, options]
        options = np.where(is_other, other, options)
        top = self.top[rows, options]
        same_size = np.rint(kept_size / self.rank_size[rows, options]).astype(np.int64)
        stepped = np.rint(ranks * np.exp(self.spread * rng.standard_normal((n, n_layers)))).astype(np.int64)
        # a factor near 1 must move a small rank all the same, and away from the ends
        sign = np.where(rng.random((n, n_layers)) < 0.5, -1, 1)
        sign = np.where(ranks >= top, -1, np.where(ranks <= 1, 1, sign))
        stepped = np.clip(stepped, 1, top)
        stepped = np.where(stepped == ranks, ranks + sign, stepped)
        ranks = np.where(is_other, same_size, np.where(is_changed, stepped, ranks))
        out = np.empty_like(X)
        out[:, 0::2], out[:, 1::2] = options, np.clip(ranks, 1, top)
        return out
