"""Truncation selection: the best remain, and a few children and immigrants take the places of the rest."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.evolution_strategy import best_first
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import AtLeastTwo, Probability
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.algorithms.pymoo_builtin import NUMERIC
from opt.console.errors import UsageError
from opt.problem import CompressionProblem, Operators, SamplingFunction
from opt.problem.default_operators import default_operators


class Truncation(SearchAlgorithm):
    """Each generation: the best as they are, children of random pairs, and immigrants.

    A child is the first child of two different candidates, drawn uniformly from the whole population;
    newcomers live for one generation whatever they are worth, and stay when they are among the best.

    It is the loop of the published threshold search, whose code differs in three ways that are faults
    and are not kept: the last children are evaluated here; no elite is overwritten by a
    newcomer while its old fitness is kept; and search does not select on the test set.
    """

    pop: Any

    def __init__(
        self,
        operators: Operators,
        immigration: SamplingFunction,
        *,
        pop_size: int,
        n_children: int,
        n_immigrants: int,
        mutation_prob: float,
    ) -> None:
        super().__init__()
        self.operators = operators
        self.immigration = immigration
        self.pop_size = pop_size
        self.n_children = n_children
        self.n_immigrants = n_immigrants
        self.mutation_prob = mutation_prob

    def _initialize_infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(self.pop_size, self.random_state))

    def _infill(self) -> Population:
        rng = self.random_state
        assert rng is not None and self.operators.crossover is not None
        parts = []
        if self.n_children:
            first = rng.integers(0, len(self.pop), size=self.n_children)
            # a step of 1..n-1 around the ring never leads back to the first parent
            second = (first + rng.integers(1, len(self.pop), size=self.n_children)) % len(self.pop)
            A, B = (np.array([self.pop[i].X for i in chosen]) for chosen in (first, second))
            children = self.operators.crossover(A, B, rng)[0]
            mutated = rng.random(len(children)) < self.mutation_prob
            if mutated.any():
                assert self.operators.mutation is not None
                children[mutated] = self.operators.mutation(children[mutated], rng)
            parts.append(children)
        if self.n_immigrants:
            parts.append(self.immigration(self.n_immigrants, rng))
        return repaired(self.operators, np.concatenate(parts))

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        """The first candidates are the population."""

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        elites = self.pop[best_first(self.pop)[: self.pop_size - self.n_children - self.n_immigrants]]
        self.pop = Population.merge(elites, infills)

    def _set_optimum(self) -> None:
        self.opt = self.pop[best_first(self.pop)[:1]]


@algorithm("truncation", objectives="one", needs=("crossover", "mutation"))
def truncation(
    problem: CompressionProblem,
    *,
    pop_size: AtLeastTwo = 20,
    children: Probability = 0.25,
    immigrants: Probability = 0.05,
    immigrants_from: Literal["sampling", "box"] = "sampling",
    mutation_prob: Probability = 0.9,
) -> Algorithm:
    """Truncation: the best survive, a quarter are children of random parents, a few are immigrants.

    Args:
        pop_size: Number of candidates.
        children: Share of the population that are children of two different candidates.
        immigrants: Share of the population that is drawn anew.
        immigrants_from: Immigrants by the problem's sampling, or uniform within the bounds of the variables (box).
        mutation_prob: Probability that a child is mutated; 0 in the published setting.
    """
    n_children, n_immigrants = round(children * pop_size), round(immigrants * pop_size)
    if not 0 < n_children + n_immigrants < pop_size:
        raise UsageError(
            "--algo.children and --algo.immigrants must make a newcomer and leave room for the best of "
            f"--algo.pop_size, got {children:g} and {immigrants:g} of {pop_size}"
        )
    operators = operators_of(problem)
    immigration = operators.sampling
    if immigrants_from == "box":
        if problem.representation not in NUMERIC:
            raise UsageError(
                "--algo.immigrants_from box needs real or integer variables and the problem's are "
                f"{problem.representation}; use sampling"
            )
        immigration = default_operators(problem).sampling
    return Truncation(
        operators,
        immigration,
        pop_size=pop_size,
        n_children=n_children,
        n_immigrants=n_immigrants,
        mutation_prob=mutation_prob,
    )
