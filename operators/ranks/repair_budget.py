"""Repair of allocations to a budget."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

_STEPS = 40


class BudgetRepair:
    """Allocations above a budget are brought to it; those within it stay as they are.

    All ranks are lowered by one common factor, the largest that fits; what is then left of the budget is given back
    rank by rank, in the order of what the layers have lost, until no rank fits. Where even one rank in every slice is
    too much, the layers that gain most by it get their smallest option first.

    Args:
        sizes: `(X) -> (n, layers)` sizes of the layers of (n, 2 layers) allocations.
        top: (layers, options) int64: the rank from which on a layer is left as it is; 1 for options that it lacks.
        budget: Most that the layers may take together.
    """

    def __init__(self, sizes: Callable[[np.ndarray], np.ndarray], top: np.ndarray, budget: float) -> None:
        self.sizes, self.top, self.budget = sizes, top, budget
        n_layers, n_options = top.shape
        # the size of rank 1 by option: all layers at once, one option after another
        least = np.full((n_layers, n_options), np.iinfo(np.int64).max, dtype=np.int64)
        for option in range(n_options):
            has = top[:, option] > 1
            x = np.zeros((1, 2 * n_layers), dtype=np.int64)
            x[0, 0::2], x[0, 1::2] = np.where(has, option, 0), 1
            least[has, option] = sizes(x)[0][has]
        self.least = least
        self.smallest_option = least.argmin(axis=1)
        if least.min(axis=1).sum() > budget:
            raise ValueError(f"budget must be at least {least.min(axis=1).sum()}, got {budget}.")

    def __call__(self, X: np.ndarray) -> np.ndarray:
        """(n, 2 layers) int64 to as many allocations within the budget."""
        out = np.array(X, dtype=np.int64)
        is_over = self.sizes(out).sum(axis=1) > self.budget
        if is_over.any():
            out[is_over] = self._shrunk(out[is_over])
        return out

    def _shrunk(self, X: np.ndarray) -> np.ndarray:
        rows = np.arange(len(self.top))[None]
        options = X[:, 0::2]
        least = self.least[rows, options]
        for i in np.flatnonzero(least.sum(axis=1) > self.budget).tolist():
            gain = least[i] - self.least.min(axis=1)
            for layer in np.argsort(-gain, kind="stable"):
                if least[i].sum() <= self.budget:
                    break
                # ranks keep their share of the layer's range
                share = X[i, 2 * layer + 1] / self.top[layer, options[i, layer]]
                options[i, layer] = self.smallest_option[layer]
                X[i, 2 * layer + 1] = max(1, round(share * self.top[layer, options[i, layer]]))
                least[i, layer] = self.least[layer, options[i, layer]]
        X[:, 0::2] = options
        wanted = np.clip(X[:, 1::2], 1, self.top[rows, options])
        low, high = np.zeros(len(X)), np.ones(len(X))
        for _ in range(_STEPS):
            middle = (low + high) / 2
            fits = self._total(options, self._scaled(wanted, middle)) <= self.budget
            low, high = np.where(fits, middle, low), np.where(fits, high, middle)
        ranks = self._scaled(wanted, low)
        X[:, 1::2] = ranks
        left = self.budget - self.sizes(X).sum(axis=1)
        for i in range(len(X)):
            lost = 1 - ranks[i] / wanted[i]
            order = [int(layer) for layer in np.argsort(-lost, kind="stable")]
            # every layer one rank a round, until no rank that is wanted fits any more
            while sum(self._grow(X, i, layer, int(wanted[i, layer]), left) for layer in order):
                pass
        return X

    def _grow(self, X: np.ndarray, i: int, layer: int, wanted: int, left: np.ndarray) -> bool:
        """One more rank, where it is wanted and fits; `left`, (n,), is what remains of the budget."""
        if X[i, 2 * layer + 1] >= wanted:
            return False
        before = self.sizes(X[i : i + 1])[0, layer]
        X[i, 2 * layer + 1] += 1
        more = self.sizes(X[i : i + 1])[0, layer] - before
        if more > left[i]:
            X[i, 2 * layer + 1] -= 1
            return False
        left[i] -= more
        return True

    def _scaled(self, wanted: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return np.maximum(1, (wanted * factor[:, None]).astype(np.int64))

    def _total(self, options: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        X = np.empty((len(options), 2 * options.shape[1]), dtype=np.int64)
        X[:, 0::2], X[:, 1::2] = options, ranks
        return self.sizes(X).sum(axis=1)
