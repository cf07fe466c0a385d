"""The searches that only this task has: the published heuristic and the exact optimum, over a schedule of budgets."""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.registry import AlgorithmSpec
from opt.errors import UsageError
from opt.problem import CompressionProblem
from problems.networks.lowrank.choices import ChoiceTable, Size
from problems.networks.lowrank.heuristic import N_ITERATIONS, N_STARTS, PublishedHeuristic
from problems.networks.lowrank.ladder import Ladder

DEFAULT_BUDGETS = "0.05:0.95:19"


class HasTable(Protocol):
    """What these algorithms need of a problem."""

    table: ChoiceTable
    budget_size: Size


class ScheduledAllocation(Algorithm):
    """One batch of allocations a generation, one for each budget, until there are no more.

    Args:
        batches: How many generations there are.
    """

    def __init__(self, batches: int) -> None:
        super().__init__()
        self._left = batches
        self._done = 0

    def batch(self, number: int) -> np.ndarray:
        """(n, 2 layers) allocations of generation `number`, from 0; what is drawn comes from `random_state`."""
        raise NotImplementedError

    def has_next(self) -> bool:
        """Whether a generation remains."""
        return self._done < self._left

    def _initialize_infill(self) -> Population:
        return self._infill()

    def _infill(self) -> Population:
        X = self.batch(self._done)
        self._done += 1
        return Population.new("X", X)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills

    def _set_optimum(self) -> None:
        self.opt = self.pop


class PublishedSearch(ScheduledAllocation):
    """One start of the published heuristic a generation, for every budget."""

    def __init__(
        self, table: ChoiceTable, size: Size, budgets: np.ndarray, *, n_starts: int, n_iterations: int
    ) -> None:
        super().__init__(n_starts)
        self.table, self.size, self.budgets = table, size, budgets
        self.heuristic = PublishedHeuristic(table, size, n_iterations=n_iterations)

    def batch(self, number: int) -> np.ndarray:
        """What start `number` finds for each budget; the network as it is, where it finds nothing."""
        found = [self.heuristic.start(float(b), number, self.random_state) for b in self.budgets]
        whole = self.table.whole_row()
        return np.array([whole if x is None else x for x in found])


class ExactSearch(ScheduledAllocation):
    """The exact optimum of every budget, in one generation."""

    def __init__(self, ladder: Ladder, budgets: np.ndarray) -> None:
        super().__init__(1)
        self.ladder, self.budgets = ladder, budgets

    def batch(self, number: int) -> np.ndarray:
        """The optima."""
        return self.ladder.allocate_many(np.clip(self.budgets, self.ladder.smallest, None))


def read_budgets(text: str) -> np.ndarray:
    """Budgets as fractions of the network: "0.5,0.3,0.1", or "LOW:HIGH:N" for N of them in geometric steps.

    Raises:
        UsageError: Not such a text, or a fraction outside 0 < b <= 1.
    """
    try:
        if ":" in text:
            low, high, n = text.split(":")
            values = np.geomspace(float(low), float(high), int(n)) if float(low) > 0 else np.zeros(0)
        else:
            values = np.array([float(part) for part in text.split(",")])
    except ValueError:
        values = np.zeros(0)
    if not len(values) or not all(0 < v <= 1 and math.isfinite(v) for v in values):
        wanted = "fractions such as 0.5,0.3,0.1, or LOW:HIGH:N such as 0.05:0.95:19"
        raise UsageError(f"budgets must be {wanted}, got {text!r}")
    return values


def _sizes(problem: CompressionProblem | HasTable, budgets: str) -> tuple[ChoiceTable, Size, np.ndarray]:
    table, size = getattr(problem, "table", None), getattr(problem, "budget_size", None)
    if not isinstance(table, ChoiceTable) or size is None:
        raise UsageError("this algorithm allocates ranks among layers; it is for problems/alds.py")
    values = read_budgets(budgets) * table.total(size)
    least = Ladder(table, size).smallest
    if values.min() < least:
        raise UsageError(
            f"--algo.budgets must be at least {least / table.total(size):.4g} of the {size}: "
            f"no decomposition is smaller, got {values.min() / table.total(size):.4g}"
        )
    return table, size, values


def published(
    problem: CompressionProblem,
    *,
    budgets: str = DEFAULT_BUDGETS,
    n_starts: int = N_STARTS,
    n_iterations: int = N_ITERATIONS,
) -> Algorithm:
    """ALDS: the published heuristic, a global step on ranks and a local one on slices, from several starts.

    Args:
        budgets: Fractions of the network's size, as 0.5,0.3,0.1, or LOW:HIGH:N for N in geometric steps.
        n_starts: Starts, one a generation: 3, 5, 7, 9 slices for all layers, then drawn.
        n_iterations: Rounds of the two steps a start.
    """
    if n_starts < 1 or n_iterations < 0:
        raise UsageError(f"alds needs --algo.n_starts >= 1 and n_iterations >= 0, got {n_starts} and {n_iterations}")
    table, size, values = _sizes(problem, budgets)
    return PublishedSearch(table, size, values, n_starts=n_starts, n_iterations=n_iterations)


def exact(problem: CompressionProblem, *, budgets: str = DEFAULT_BUDGETS) -> Algorithm:
    """The exact least maximum error for each budget, what is left of it spent on the other layers.

    Args:
        budgets: Fractions of the network's size, as 0.5,0.3,0.1, or LOW:HIGH:N for N in geometric steps.
    """
    table, size, values = _sizes(problem, budgets)
    return ExactSearch(Ladder(table, size), values)


OWN_ALGORITHMS = (
    AlgorithmSpec("alds", published, "any", representations=("integer",)),
    AlgorithmSpec("alds-exact", exact, "any", representations=("integer",)),
)
