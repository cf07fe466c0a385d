"""The (mu + lambda) evolution strategy on the problem's own mutation."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import PopulationSize
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.console.errors import UsageError
from opt.problem import CompressionProblem, Operators


def best_first(pop: Population) -> np.ndarray:
    """Indices of a single-objective population, (n,): least constraint violation, then least F."""
    return np.lexsort((pop.get("F")[:, 0], pop.get("CV")[:, 0]))


class EvolutionStrategy(SearchAlgorithm):
    """Keeps the best mu of parents and lambda mutants.

    Source: Beyer and Schwefel 2002, doi:10.1023/A:1015059928466, without recombination and without
    self-adaptation: the step size is the mutation operator's own.
    """

    def __init__(self, operators: Operators, *, mu: int, n_offsprings: int, plus: bool) -> None:
        super().__init__()
        self.operators = operators
        self.mu = mu
        self.n_offsprings = n_offsprings
        self.plus = plus

    def _initialize_infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(max(self.mu, self.n_offsprings), self.random_state))

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self.pop = infills[best_first(infills)[: self.mu]]

    def _infill(self) -> Population:
        assert self.operators.mutation is not None and self.random_state is not None
        parents = self.random_state.integers(0, len(self.pop), size=self.n_offsprings)
        X = np.array([self.pop[i].X for i in parents])
        return repaired(self.operators, self.operators.mutation(X, self.random_state))

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        # newcomers first: on equal fitness the search drifts instead of standing still
        pool = Population.merge(infills, self.pop) if self.plus else infills
        self.pop = pool[best_first(pool)[: self.mu]]


@algorithm("es", objectives="one", needs=("mutation",))
def evolution_strategy(
    problem: CompressionProblem, *, mu: PopulationSize = 20, n_offsprings: PopulationSize = 100, plus: bool = True
) -> Algorithm:
    """Evolution strategy: (mu + lambda), or (mu, lambda), on the problem's mutation alone.

    Args:
        mu: Number of parents kept each generation.
        n_offsprings: Number of mutants a generation (lambda).
        plus: Whether parents compete with their offspring; false is the comma strategy.
    """
    if not plus and n_offsprings < mu:
        raise UsageError(f"es needs, with plus false, --algo.mu <= n_offsprings; got {mu} and {n_offsprings}")
    return EvolutionStrategy(operators_of(problem), mu=mu, n_offsprings=n_offsprings, plus=plus)
