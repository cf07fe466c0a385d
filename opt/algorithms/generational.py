"""The simple generational genetic algorithm: every parent is replaced, nothing is kept."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

from opt.algorithms.evolution_strategy import best_first
from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.limits import PopulationSize, Positive, Probability, Rounds
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.console.errors import UsageError
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


class GenerationalGA(SearchAlgorithm):
    """Selects with replacement, pairs at random, replaces the whole population by the children.

    With softmax selection and `elites=0` this is the loop of the published EComp system.
    Its parents never meet their children, so values from one generation are never compared with
    values from another (`keeps_survivors` is False without elites).
    """

    pop: Any

    def __init__(
        self,
        operators: Operators,
        *,
        pop_size: int,
        selection: str,
        temperature: float,
        crossover_prob: float,
        mutation_prob: float,
        elites: int,
    ) -> None:
        super().__init__()
        self.operators = operators
        self.pop_size = pop_size
        self.selection = selection
        self.temperature = temperature
        self.crossover_prob = crossover_prob
        self.mutation_prob = mutation_prob
        self.elites = elites
        self.keeps_survivors = elites > 0

    def _initialize_infill(self) -> Population:
        return repaired(self.operators, self.operators.sampling(self.pop_size, self.random_state))

    def _select(self, n: int) -> np.ndarray:
        rng = self.random_state
        assert rng is not None
        F = self.pop.get("F")[:, 0]
        if self.selection == "softmax":
            return softmax_draw(-F, n, temperature=self.temperature, rng=rng)
        rivals = rng.integers(0, len(F), size=(n, 2))
        return np.where(F[rivals[:, 0]] <= F[rivals[:, 1]], rivals[:, 0], rivals[:, 1])

    def _infill(self) -> Population:
        rng, operators = self.random_state, self.operators
        assert rng is not None and operators.crossover is not None and operators.mutation is not None
        n_pairs = -(-self.pop_size // 2)
        chosen = rng.permutation(self._select(2 * n_pairs))
        A = np.array([self.pop[i].X for i in chosen[:n_pairs]])
        B = np.array([self.pop[i].X for i in chosen[n_pairs:]])
        C, D = A.copy(), B.copy()
        crossed = rng.random(n_pairs) < self.crossover_prob
        if crossed.any():
            C[crossed], D[crossed] = operators.crossover(A[crossed], B[crossed], rng)
        X = np.concatenate([C, D])[: self.pop_size]
        mutated = rng.random(len(X)) < self.mutation_prob
        if mutated.any():
            X[mutated] = operators.mutation(X[mutated], rng)
        return repaired(operators, X)

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        """The first candidates are the population."""

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        if self.elites:
            kept = self.pop[best_first(self.pop)[: self.elites]]
            infills = Population.merge(kept, infills[best_first(infills)[: self.pop_size - self.elites]])
        self.pop = infills


@algorithm("sga", objectives="one", needs=("crossover", "mutation"), handles_constraints=False)
def generational_ga(
    problem: CompressionProblem,
    *,
    pop_size: PopulationSize = 100,
    selection: Literal["softmax", "tournament"] = "softmax",
    temperature: Positive = 1.0,
    crossover_prob: Probability = 1.0,
    mutation_prob: Probability = 1.0,
    elites: Rounds = 0,
) -> Algorithm:
    """Simple generational GA: softmax selection, full replacement, no elitism unless asked.

    Args:
        pop_size: Number of candidates a generation.
        selection: How parents are drawn: softmax of the fitness, or binary tournaments.
        temperature: Temperature of the softmax.
        crossover_prob: Probability that a pair of parents is crossed.
        mutation_prob: Probability that a child goes through the problem's mutation.
        elites: Number of best parents that survive.
    """
    if elites >= pop_size:
        raise UsageError(f"--algo.elites must be below pop_size, got {elites} with pop_size {pop_size}")
    return GenerationalGA(
        operators_of(problem),
        pop_size=pop_size,
        selection=selection,
        temperature=temperature,
        crossover_prob=crossover_prob,
        mutation_prob=mutation_prob,
        elites=elites,
    )
