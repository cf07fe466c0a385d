"""Random search: the problem's own sampling, again and again."""

from __future__ import annotations

from typing import Any

from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import PopulationSize
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.problem import CompressionProblem, Operators


class RandomSearch(SearchAlgorithm):
    """Draws `pop_size` candidates a generation from `operators.sampling`; remembers the last batch only."""

    def __init__(self, operators: Operators, *, pop_size: int) -> None:
        super().__init__()
        self.operators = operators
        self.pop_size = pop_size

    def _infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(self.pop_size, self.random_state))

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills

    def _set_optimum(self) -> None:
        self.opt = self.pop


@algorithm("random", objectives="any")
def random_search(problem: CompressionProblem, *, pop_size: PopulationSize = 100) -> Algorithm:
    """Random search from the problem's sampling: the baseline that every search must beat.

    Args:
        pop_size: Number of candidates drawn a generation.
    """
    return RandomSearch(operators_of(problem), pop_size=pop_size)
