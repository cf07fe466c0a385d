"""DEAP's algorithms on our problems: DEAP's own selection and variation, asked one generation at a time.

DEAP's loops evaluate candidates one by one inside `eaSimple` and its kin. Here the same steps, with
DEAP's own `varAnd`, `varOr` and `sel*` functions, are laid out as ask and tell, so that a
generation is evaluated as one batch, journalled and resumed like every other algorithm's. There is
no `creator`, and everything random descends from the run's seed: the operators draw from the
algorithm's Generator, DEAP's own draws from an isolated copy of the global generators.

Source: Fortin et al. 2012, "DEAP: Evolutionary Algorithms Made Easy", JMLR 13.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from deap import algorithms as deap_algorithms
from deap import base, tools
from pymoo.core.individual import Individual
from pymoo.core.population import Population

from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.genetic_options import GeneticOptions, VariationOptions
from opt.algorithms.interface.pymoo_operators import repaired
from opt.algorithms.interface.random_state import IsolatedGlobalRandom
from opt.algorithms.interface.search_algorithm import SearchAlgorithm
from opt.problem import CompressionProblem
from opt.problem.hooks import fingerprint_of

MOST_COPIES = 100
"""So many generations of nothing but copies are followed by candidates of the problem's sampling."""


class Member:
    """What DEAP calls an individual: a pymoo Individual with a DEAP fitness beside it."""

    def __init__(self, x: np.ndarray, fitness: base.Fitness, individual: Individual | None = None) -> None:
        self.x = x
        self.fitness = fitness
        self.individual = individual


class DeapAlgorithm(SearchAlgorithm):
    """One generation of DEAP at a time.

    Args:
        problem: What is searched: its operators and its fingerprint.
        pop_size: Number of candidates in the first generation and of parents kept.
        n_offsprings: Number of offspring a generation (DEAP's lambda_).
        vary: `(population, toolbox, lambda_) -> offspring`, DEAP's selection for mating and variation.
        select: `(parents, offspring, mu) -> population`, DEAP's survival.
    """

    def __init__(
        self,
        problem: CompressionProblem,
        *,
        pop_size: int,
        n_offsprings: int,
        vary: Callable[[list[Member], base.Toolbox, int], list[Member]],
        select: Callable[[list[Member], list[Member], int], list[Member]],
    ) -> None:
        super().__init__()
        self.operators = operators_of(problem)
        self.fingerprint = fingerprint_of(problem)
        self.pop_size = pop_size
        self.n_offsprings = n_offsprings
        self.vary = vary
        self.select = select
        self.members: list[Member] = []
        self.offspring: list[Member] = []

    def _setup(self, problem: Any, **kwargs: Any) -> None:
        self.isolated = IsolatedGlobalRandom(int(kwargs.get("seed", self.seed) or 0))
        self.fitness_class = type("MinimisedFitness", (base.Fitness,), {"weights": (-1.0,) * problem.n_obj})
        self.toolbox = base.Toolbox()
        self.toolbox.register("clone", self._clone)
        self.toolbox.register("mate", self._mate)
        self.toolbox.register("mutate", self._mutate)

    def _clone(self, member: Member) -> Member:
        fitness = self.fitness_class(member.fitness.values) if member.fitness.valid else self.fitness_class()
        return Member(member.x, fitness, member.individual)

    def _mate(self, first: Member, second: Member) -> tuple[Member, Member]:
        assert self.operators.crossover is not None and self.random_state is not None
        A, B = np.array([first.x]), np.array([second.x])
        C, D = self.operators.crossover(A, B, self.random_state)
        first.x, second.x = C[0], D[0]
        return first, second

    def _mutate(self, member: Member) -> tuple[Member]:
        assert self.operators.mutation is not None and self.random_state is not None
        member.x = self.operators.mutation(np.array([member.x]), self.random_state)[0]
        return (member,)

    def _new_batch(self, members: list[Member]) -> Population:
        """The members without a fitness, as the batch to evaluate; each remembers its Individual."""
        fresh = [m for m in members if not m.fitness.valid]
        batch = repaired(self.operators, np.array([m.x for m in fresh]))
        for member, individual in zip(fresh, batch, strict=True):
            member.individual, member.x = individual, individual.X
        return batch

    @staticmethod
    def _read_fitness(members: list[Member]) -> None:
        for member in members:
            assert member.individual is not None
            member.fitness.values = tuple(member.individual.F)

    def _initialize_infill(self) -> Population:
        X = self.operators.sampling(self.pop_size, self.random_state)
        self.members = [Member(x, self.fitness_class()) for x in X]
        return self._new_batch(self.members)

    def _initialize_advance(self, infills: Any = None, **kwargs: Any) -> None:
        self._read_fitness(self.members)
        with self.isolated:
            self.members = self.select([], self.members, self.pop_size)
        self._keep()

    def _infill(self) -> Population:
        self._read_fitness(self.members)
        with self.isolated:
            # with small probabilities a generation can be all copies: DEAP would go on, so do we
            known = {self.fingerprint(m.x) for m in self.members}
            for _ in range(MOST_COPIES):
                self.offspring = self.vary(self.members, self.toolbox, self.n_offsprings)
                if any(not m.fitness.valid and self.fingerprint(m.x) not in known for m in self.offspring):
                    return self._new_batch(self.offspring)
                if all(m.fitness.valid for m in self.offspring):
                    self.members = self.select(self.members, self.offspring, self.pop_size)
        X = self.operators.sampling(self.n_offsprings, self.random_state)
        self.offspring = [Member(x, self.fitness_class()) for x in X]
        return self._new_batch(self.offspring)

    def _advance(self, infills: Any = None, **kwargs: Any) -> None:
        # the parents' as well: where objectives change their meaning they were judged again
        self._read_fitness([*self.members, *self.offspring])
        with self.isolated:
            self.members = self.select(self.members, self.offspring, self.pop_size)
        self._keep()

    def _keep(self) -> None:
        self.pop = Population.create(*[m.individual for m in self.members])

    def _set_optimum(self) -> None:
        self.opt = self.pop


def nsga2(problem: CompressionProblem, options: GeneticOptions) -> DeapAlgorithm:
    """DEAP's NSGA-II: selTournamentDCD, varAnd, selNSGA2."""

    def vary(population: list[Member], toolbox: base.Toolbox, n: int) -> list[Member]:
        parents = tools.selTournamentDCD(population, n)
        return deap_algorithms.varAnd(parents, toolbox, options.crossover_prob, options.mutation_prob)

    def select(parents: list[Member], offspring: list[Member], mu: int) -> list[Member]:
        return tools.selNSGA2(parents + offspring, mu)

    return DeapAlgorithm(problem, pop_size=options.pop_size, n_offsprings=options.pop_size, vary=vary, select=select)


def simple(problem: CompressionProblem, options: GeneticOptions, *, tournament_size: int) -> DeapAlgorithm:
    """DEAP's eaSimple: tournaments, varAnd, full replacement."""

    def vary(population: list[Member], toolbox: base.Toolbox, n: int) -> list[Member]:
        parents = tools.selTournament(population, n, tournsize=tournament_size)
        return deap_algorithms.varAnd(parents, toolbox, options.crossover_prob, options.mutation_prob)

    def select(_: list[Member], offspring: list[Member], mu: int) -> list[Member]:
        return offspring

    return DeapAlgorithm(problem, pop_size=options.pop_size, n_offsprings=options.pop_size, vary=vary, select=select)


def mu_lambda(
    problem: CompressionProblem, options: VariationOptions, *, mu: int, lambda_: int, is_plus: bool
) -> DeapAlgorithm:
    """DEAP's eaMuPlusLambda (`is_plus`) or eaMuCommaLambda: varOr, the best mu."""

    def vary(population: list[Member], toolbox: base.Toolbox, n: int) -> list[Member]:
        return deap_algorithms.varOr(population, toolbox, n, options.crossover_prob, options.mutation_prob)

    def select(parents: list[Member], offspring: list[Member], keep: int) -> list[Member]:
        return tools.selBest(parents + offspring if is_plus else offspring, keep)

    return DeapAlgorithm(problem, pop_size=mu, n_offsprings=lambda_, vary=vary, select=select)
