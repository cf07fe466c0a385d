"""Budgets shared among layers exactly: the least maximum error, or the least sum of errors on the convex hull."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from problems.lowrank.choices import ChoiceTable, Size

Aggregate = Literal["max", "sum"]


class Ladder:
    """The best allocation for any budget, by steps of single layers in one fixed order.

    For `max` a layer's steps are its nondominated choices, from its smallest to the whole layer. For a common error
    eps every layer's smallest choice of error <= eps is independent of the others, so that the steps of all
    layers, ordered by the error that they leave behind, pass through the optimum of every budget: the problem is
    solved by one search in the cumulative sizes. What is then left of the budget is spent on the layers that can
    still be made better, the largest error first, which makes the allocation lexicographically optimal.

    For `sum` the steps are those of each layer's lower convex hull of squared error over size, ordered by gain a unit
    of size: optimal for the budgets that the hull's corners meet, within one step of it in between.

    Args:
        table: The choices.
        size: What budgets are in.
        aggregate: What is made least.
        weights: (layers,) factors of the layers' errors (of squared errors for `sum`); None for 1.
        options: For each layer the numbers of options to use; None for all.
    """

    def __init__(
        self,
        table: ChoiceTable,
        size: Size = "parameters",
        *,
        aggregate: Aggregate = "max",
        weights: np.ndarray | None = None,
        options: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self.table, self.size = table, size
        factor = np.ones(table.n_layers) if weights is None else np.asarray(weights, dtype=np.float64)
        self._rows: list[np.ndarray] = []
        self._costs: list[np.ndarray] = []
        keys, layers, deltas = [], [], []
        for i in range(table.n_layers):
            option, rank, error, cost = table.flat(i, size)
            if options is not None:
                is_used = np.isin(option, options[i])
                is_used[-1] = True
                option, rank, error, cost = option[is_used], rank[is_used], error[is_used], cost[is_used]
            value = error * factor[i] if aggregate == "max" else error**2 * factor[i]
            kept = _staircase(value, cost) if aggregate == "max" else _hull(value, cost)
            self._rows.append(np.column_stack([option, rank])[kept])
            self._costs.append(cost[kept])
            delta = np.diff(cost[kept])
            layers.append(np.full(len(delta), i))
            deltas.append(delta)
            keys.append(value[kept][:-1] if aggregate == "max" else -np.diff(value[kept]) / delta)
        key = np.concatenate(keys)
        # stable and by layer, so that a layer's own steps keep their order among equals
        order = np.argsort(-key, kind="stable")
        self._key = key[order]
        self._layer = np.concatenate(layers)[order]
        self._delta = np.concatenate(deltas)[order]
        self._base = table.rest[size] + int(sum(int(c[0]) for c in self._costs))
        self._cumulative = self._base + np.concatenate([[0], np.cumsum(self._delta)])
        self._later = list(zip(self._layer.tolist(), self._delta.tolist(), strict=True))

    @property
    def smallest(self) -> int:
        """The least size that an allocation can have."""
        return self._base

    @property
    def largest(self) -> int:
        """Size of the network as it is."""
        return int(self._cumulative[-1])

    def allocate(self, budget: float, *, spend: bool = True) -> np.ndarray:
        """The best allocation of at most `budget`.

        Args:
            budget: In units of the size, of the whole network.
            spend: Whether what is left after the best maximum is spent on other layers.

        Returns:
            (2 layers,) int64.

        Raises:
            ValueError: The budget is below `smallest`.
        """
        if budget < self._base:
            raise ValueError(f"budget must be at least {self._base}, got {budget}.")
        n = int(np.searchsorted(self._cumulative, budget, side="right")) - 1
        at = np.bincount(self._layer[:n], minlength=self.table.n_layers)
        if spend:
            left = int(budget) - int(self._cumulative[n])
            is_stuck = [False] * self.table.n_layers
            n_stuck = 0
            for layer, delta in self._later[n:]:
                if is_stuck[layer]:
                    continue
                if delta <= left:
                    left -= delta
                    at[layer] += 1
                else:
                    # a layer's later steps cost more still
                    is_stuck[layer] = True
                    n_stuck += 1
                    if n_stuck == len(is_stuck):
                        break
        return self._row(at)

    def allocate_many(self, budgets: Sequence[float] | np.ndarray, *, spend: bool = True) -> np.ndarray:
        """`allocate` for each budget: (n, 2 layers)."""
        return np.array([self.allocate(float(b), spend=spend) for b in budgets]).reshape(-1, 2 * self.table.n_layers)

    def front(self) -> tuple[np.ndarray, np.ndarray]:
        """Every optimum of the maximum error: (m,) errors, descending, and (m,) int64 sizes, ascending."""
        # once all steps of one error are done, the next lower error is the maximum
        ends = np.append(np.flatnonzero(np.diff(self._key) < 0) + 1, len(self._key))
        steps = np.concatenate([[0], ends]) if len(self._key) else np.zeros(1, dtype=np.int64)
        errors = np.append(self._key, 0.0)[steps]
        return errors, self._cumulative[steps]

    def front_rows(self) -> np.ndarray:
        """(m, 2 layers) allocations of `front`."""
        return self.allocate_many(self.front()[1], spend=False)

    def _row(self, at: np.ndarray) -> np.ndarray:
        x = np.empty(2 * self.table.n_layers, dtype=np.int64)
        for i, (rows, step) in enumerate(zip(self._rows, at.tolist(), strict=True)):
            x[2 * i : 2 * i + 2] = rows[step]
        return x


def _staircase(value: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Indices of nondominated choices, cost ascending and value strictly descending."""
    order = np.lexsort((value, cost))
    best = np.minimum.accumulate(value[order])
    is_kept = np.append(True, best[1:] < best[:-1])
    return order[is_kept]


def _hull(value: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Indices of the lower convex hull of value over cost, from the smallest cost to the least value."""
    kept: list[int] = []
    for i in _staircase(value, cost).tolist():
        while len(kept) >= 2:
            a, b = kept[-2], kept[-1]
            # b lies on or above the line from a to i
            if (value[b] - value[a]) * (cost[i] - cost[a]) >= (value[i] - value[a]) * (cost[b] - cost[a]):
                kept.pop()
            else:
                break
        kept.append(i)
    return np.array(kept)
