"""The simple generational genetic algorithm: every parent is replaced, nothing is kept."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.evolution_strategy import best_first
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.genetic_options import VariationOptions
from opt.algorithms.interface.limits import PopulationSize, Positive, Probability, Rounds
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options, option_group
from opt.problem import CompressionProblem, Operators


def softmax_draw(fitness: np.ndarray, n: int, *, temperature: float, rng: np.random.Generator) -> np.ndarray:
    """Draw n indices with replacement, p = softmax(fitness / temperature).

    Args:
        fitness: (m,) float64, larger is better; finite.
        n: Number of draws.
        temperature: Larger is closer to uniform; 1 is the plain softmax.
        rng: Source of randomness.

    Returns:
        (n,) int64 indices into fitness.
    """
    scaled = (fitness - fitness.max()) / temperature
    p = np.exp(scaled)
    return rng.choice(len(fitness), size=n, p=p / p.sum())


@option_group
class GenerationalOptions(VariationOptions):
    """Options of the simple generational genetic algorithm.

    Args:
        pop_size: Number of candidates a generation.
        selection: How parents are drawn: softmax of the fitness, or binary tournaments.
        temperature: Temperature of the softmax.
        mutation_prob: Probability that a child goes through the problem's mutation.
        elites: Number of best parents that survive.
    """

    crossover_prob: Probability = 1.0
    mutation_prob: Probability = 1.0
    pop_size: PopulationSize = 100
    selection: Literal["softmax", "tournament"] = "softmax"
    temperature: Positive = 1.0
    elites: Rounds = 0


class GenerationalGA(SearchAlgorithm):
    """Selects with replacement, pairs at random, replaces the whole population by the children.

    With softmax selection and `elites=0` this is the loop of the published EComp system.
    Its parents never meet their children, so values from one generation are never compared with
    values from another (`keeps_survivors` is False without elites).
    """

    pop: Any

    def __init__(self, operators: Operators, options: GenerationalOptions) -> None:
        super().__init__()
        self.operators = operators
        self.options = options
        self.keeps_survivors = options.elites > 0

    def _initialize_infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(self.options.pop_size, self.random_state))

    def _select(self, n: int) -> np.ndarray:
        rng = self.random_state
        assert rng is not None
        F = self.pop.get("F")[:, 0]
        if self.options.selection == "softmax":
            return softmax_draw(-F, n, temperature=self.options.temperature, rng=rng)
        rivals = rng.integers(0, len(F), size=(n, 2))
        return np.where(F[rivals[:, 0]] <= F[rivals[:, 1]], rivals[:, 0], rivals[:, 1])

    def _infill(self) -> Population:
        rng, operators = self.random_state, self.operators
        assert rng is not None and operators.crossover is not None and operators.mutation is not None
        n_pairs = -(-self.options.pop_size // 2)
        chosen = rng.permutation(self._select(2 * n_pairs))
        A = np.array([self.pop[i].X for i in chosen[:n_pairs]])
        B = np.array([self.pop[i].X for i in chosen[n_pairs:]])
        C, D = A.copy(), B.copy()
        crossed = rng.random(n_pairs) < self.options.crossover_prob
        if crossed.any():
            C[crossed], D[crossed] = operators.crossover(A[crossed], B[crossed], rng)
        X = np.concatenate([C, D])[: self.options.pop_size]
        mutated = rng.random(len(X)) < self.options.mutation_prob
        if mutated.any():
            X[mutated] = operators.mutation(X[mutated], rng)
        return repaired(operators, X)

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        """The first candidates are the population."""

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if self.options.elites:
            kept = self.pop[best_first(self.pop)[: self.options.elites]]
            infills = Population.merge(
                kept, infills[best_first(infills)[: self.options.pop_size - self.options.elites]]
            )
        self.pop = infills


@algorithm("sga", objectives="one", needs=("crossover", "mutation"), handles_constraints=False)
@flat_options
def generational_ga(problem: CompressionProblem, *, options: GenerationalOptions) -> Algorithm:
    """Simple generational GA: softmax selection, full replacement, no elitism unless asked."""
    if options.elites >= options.pop_size:
        raise UsageError(f"--algo.elites must be below pop_size, got {options.elites} with pop_size {options.pop_size}")
    return GenerationalGA(operators_of(problem), options)
