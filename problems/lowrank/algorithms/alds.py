"""The searches that only this task has: published heuristic, exact optimum, rivals, over a schedule of budgets."""

from __future__ import annotations

import math
from typing import Annotated, Any, Protocol

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.interface.registry import AlgorithmSpec
from opt.console.errors import UsageError, nearest
from opt.console.ranges import Range
from opt.problem import CompressionProblem
from problems.lowrank.choices import ChoiceTable, Size
from problems.lowrank.heuristic import N_ITERATIONS, N_STARTS, PublishedHeuristic
from problems.lowrank.ladder import Aggregate, Ladder
from problems.lowrank.rivals.rivals import RIVALS, decomposition_allocators

_LOW, _HIGH, _N = 0.05, 0.95, 19


class HasTable(Protocol):
    """What these algorithms need of a problem."""

    table: ChoiceTable
    budget_size: Size
    budget: int | None


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
    """The published heuristic for every budget.

    Args:
        heuristic: On the table of choices.
        budgets: (n,) of the whole network.
        n_starts: Starts for each budget.
        is_told: Whether every start is evaluated, one a generation; else only the one of least bound for each budget,
            in one generation.
    """

    def __init__(self, heuristic: PublishedHeuristic, budgets: np.ndarray, *, n_starts: int, is_told: bool) -> None:
        super().__init__(n_starts if is_told else 1)
        self.heuristic, self.budgets, self.n_starts, self.is_told = heuristic, budgets, n_starts, is_told

    def batch(self, number: int) -> np.ndarray:
        """What is found for each budget; the network as it is, where nothing is."""
        whole, rng = self.heuristic.table.whole_row(), self.random_state
        if self.is_told:
            found = [self.heuristic.start(float(b), number, rng) for b in self.budgets]
        else:
            found = [self.heuristic.allocate(float(b), rng, n_starts=self.n_starts) for b in self.budgets]
        return np.array([whole if x is None else x for x in found])


class GivenAllocations(ScheduledAllocation):
    """Allocations that are known beforehand, in one generation.

    Args:
        X: (n, 2 layers) int64.
    """

    def __init__(self, X: np.ndarray) -> None:
        super().__init__(1)
        self.X = X

    def batch(self, number: int) -> np.ndarray:
        """All of them."""
        return self.X


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


def rounded_up(share: float) -> float:
    """A share with four decimals that is not below it, to be told as a least value."""
    return math.ceil(1e4 * share) / 1e4


def _sizes(problem: CompressionProblem | HasTable, budgets: str | None) -> tuple[ChoiceTable, Size, np.ndarray]:
    table, size = getattr(problem, "table", None), getattr(problem, "budget_size", None)
    if not isinstance(table, ChoiceTable) or size is None:
        raise UsageError("this algorithm allocates ranks among layers; it is for problems/alds.py")
    least = Ladder(table, size).smallest
    if budgets is None:
        own = getattr(problem, "budget", None)
        low = max(least, _LOW * table.total(size))
        many = np.geomspace(low, max(low, _HIGH * table.total(size)), _N).clip(low)
        return table, size, many if own is None else np.array([float(own)])
    values = read_budgets(budgets) * table.total(size)
    if values.min() < least:
        raise UsageError(
            f"--algo.budgets must be at least {rounded_up(least / table.total(size)):.4f} of the {size}: "
            f"no decomposition is smaller, got {values.min() / table.total(size):.4g}"
        )
    return table, size, values


def published(
    problem: CompressionProblem,
    *,
    budgets: str | None = None,
    n_starts: Annotated[int, Range(1, 1_000_000)] = N_STARTS,
    n_iterations: Annotated[int, Range(0, 1_000_000)] = N_ITERATIONS,
) -> Algorithm:
    """ALDS: the published heuristic, a global step on ranks and a local one on slices, from several starts.

    Args:
        budgets: Fractions of the network's size, as 0.5,0.3,0.1, or LOW:HIGH:N for N in geometric steps; by default the
            problem's own budget, or without one 19 from 0.05, or the smallest decomposition, to 0.95.
        n_starts: Starts, one a generation: 3, 5, 7, 9 slices for all layers, then drawn. Where networks are
            evaluated, only the start of least bound is, as published.
        n_iterations: Rounds of the two steps a start.
    """
    table, size, values = _sizes(problem, budgets)
    heuristic = PublishedHeuristic(table, size, n_iterations=n_iterations)
    is_told = getattr(problem, "goal", "bound") == "bound"
    return PublishedSearch(heuristic, values, n_starts=n_starts, is_told=is_told)


def exact(problem: CompressionProblem, *, budgets: str | None = None, aggregate: Aggregate = "max") -> Algorithm:
    """The exact least maximum error for each budget, what is left of it spent on the other layers.

    Args:
        budgets: Fractions of the network's size, as 0.5,0.3,0.1, or LOW:HIGH:N for N in geometric steps; by default the
            problem's own budget, or without one 19 from 0.05, or the smallest decomposition, to 0.95.
        aggregate: What is made least: the largest error of a layer (max), or the sum of squared errors (sum; at the
            corners of the layers' convex hulls, within one step of it in between).
    """
    if aggregate not in ("max", "sum"):
        raise UsageError(f"aggregate must be max or sum, got {aggregate!r}")
    table, size, values = _sizes(problem, budgets)
    ladder = Ladder(table, size, aggregate=aggregate)
    return GivenAllocations(ladder.allocate_many(np.clip(values, ladder.smallest, None)))


def rival(problem: CompressionProblem, *, method: str = "pca", budgets: str | None = None) -> Algorithm:
    """A rival method's allocation for each budget, one slice a layer; budgets below its smallest network are left out.

    Args:
        method: uniform (the same share of every layer), frobenius, nuclear or spectral (one energy for all layers), pca
            (on outputs; published with --problem.measure data), l-rank.
        budgets: Fractions of the network's size, as 0.5,0.3,0.1, or LOW:HIGH:N for N in geometric steps; by default the
            problem's own budget, or without one 19 from 0.05, or the smallest decomposition, to 0.95.
    """
    if method not in RIVALS:
        raise UsageError(f"method must be one of {', '.join(RIVALS)}, got {method!r}{nearest(method, RIVALS)}")
    table, size, values = _sizes(problem, budgets)
    allocate = decomposition_allocators(problem.lowrank, size)[RIVALS[method]]
    found = [table.row(choices) for b in values if (choices := allocate(float(b))) is not None]
    if not found:
        raise UsageError(f"{method} finds no decomposition within any of --algo.budgets; give larger ones")
    return GivenAllocations(np.array(found))


OWN_ALGORITHMS = (
    AlgorithmSpec("alds", published, "any", representations=("integer",)),
    AlgorithmSpec("alds-exact", exact, "any", representations=("integer",)),
    AlgorithmSpec("alds-rival", rival, "any", representations=("integer",)),
)
