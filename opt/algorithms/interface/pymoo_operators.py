"""A problem's operators (arrays and an rng) in the form pymoo's algorithms take."""

from __future__ import annotations

from typing import Any

import numpy as np
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import DuplicateElimination
from pymoo.core.mating import Mating
from pymoo.core.mutation import Mutation
from pymoo.core.population import Population
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling

from opt.problem import (
    CompressionProblem,
    CrossoverFunction,
    MutationFunction,
    Operators,
    RepairFunction,
    SamplingFunction,
)
from opt.problem.hooks import fingerprint_of


class FunctionSampling(Sampling):
    """pymoo's Sampling around `(n, rng) -> X`."""

    def __init__(self, function: SamplingFunction) -> None:
        super().__init__()
        self.function = function

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> np.ndarray:
        return self.function(n_samples, random_state)


class FunctionCrossover(Crossover):
    """pymoo's Crossover around `(A, B, rng) -> (C, D)`, applied to a pair with probability `prob`."""

    def __init__(self, function: CrossoverFunction, *, prob: float) -> None:
        super().__init__(n_parents=2, n_offsprings=2, prob=prob)
        self.function = function
        self.probability = prob

    def do(  # noqa: D102 - pymoo's own, rewritten to cross only the pairs that are drawn
        self, problem: Any, pop: Any, parents: Any = None, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Population:
        pairs = [pop[mating] for mating in parents] if parents is not None else pop
        A = np.array([pair[0].X for pair in pairs])
        B = np.array([pair[1].X for pair in pairs])
        C, D = A.copy(), B.copy()
        crossed = random_state.random(len(A)) < self.probability
        if crossed.any():
            C[crossed], D[crossed] = self.function(A[crossed], B[crossed], random_state)
        return Population.new("X", np.concatenate([C, D]))


class FunctionMutation(Mutation):
    """pymoo's Mutation around `(X, rng) -> X'`, applied to a row with probability `prob`."""

    def __init__(self, function: MutationFunction, *, prob: float) -> None:
        super().__init__(prob=prob)
        self.function = function
        self.probability = prob

    def do(  # noqa: D102 - pymoo's own, rewritten to mutate only the rows that are drawn
        self, problem: Any, pop: Any, inplace: bool = True, *args: Any, random_state: Any = None, **kwargs: Any
    ) -> Population:
        X = np.array([individual.X for individual in pop])
        drawn = random_state.random(len(X)) < self.probability
        if drawn.any():
            X = X.copy()
            X[drawn] = self.function(X[drawn], random_state)
        return Population.new("X", X)


class FunctionRepair(Repair):
    """pymoo's Repair around `X -> X'`."""

    def __init__(self, function: RepairFunction) -> None:
        super().__init__()
        self.function = function

    def _do(self, problem: Any, X: np.ndarray, **kwargs: Any) -> np.ndarray:
        return self.function(X)


def repaired(operators: Operators, X: np.ndarray) -> Population:
    """A pymoo population of the candidates X, (n, n_var), after the problem's repair where it has one."""
    return Population.new("X", operators.repair(X) if operators.repair else X)


PATIENT_MATINGS = 10
"""From so many matings on, sampling follows as soon as fewer than a tenth of the children were new."""


class FilledMating(Mating):
    """pymoo's Mating, filled up from the problem's sampling where it finds no new candidate.

    Args:
        mating: The algorithm's own.
        sampling: The algorithm's own.
    """

    def __init__(self, mating: Mating, sampling: Sampling) -> None:
        super().__init__(
            mating.selection,
            mating.crossover,
            mating.mutation,
            repair=mating.repair,
            eliminate_duplicates=mating.eliminate_duplicates,
            n_max_iterations=mating.n_max_iterations,
        )
        self.sampling = sampling

    def do(  # noqa: D102 - pymoo's own loop, which would mate a hundred times and then give up
        self,
        problem: Any,
        pop: Population,
        n_offsprings: int,
        random_state: Any = None,
        n_max_iterations: int | None = None,
        **kwargs: Any,
    ) -> Population:
        offspring = Population.create()
        n_children = 0
        for number in range(1, 1 + (n_max_iterations or self.n_max_iterations)):
            lacking = n_offsprings - len(offspring)
            children = self._do(problem, pop, lacking, random_state=random_state, **kwargs)
            children = self.repair(problem, children, random_state=random_state, **kwargs)
            n_children += len(children)
            children = self.eliminate_duplicates.do(children, pop, offspring)[:lacking]
            offspring = Population.merge(offspring, children)
            is_barren = number >= PATIENT_MATINGS and 10 * len(offspring) < n_children
            if len(offspring) == n_offsprings or is_barren:
                break
        if lacking := n_offsprings - len(offspring):
            drawn = self.sampling(problem, lacking, random_state=random_state)
            drawn = self.repair(problem, drawn, random_state=random_state)
            offspring = Population.merge(offspring, self.eliminate_duplicates.do(drawn, pop, offspring))
        return offspring


class FingerprintDuplicates(DuplicateElimination):
    """Drops candidates whose fingerprint was seen in the same batch, the population or the offspring."""

    def __init__(self, problem: CompressionProblem) -> None:
        super().__init__()
        self.fingerprint = fingerprint_of(problem)

    def do(self, pop: Any, *args: Any, return_indices: bool = False, to_itself: bool = True) -> Any:  # noqa: D102
        seen = {self._key(individual) for other in args for individual in other}
        kept = []
        for i, individual in enumerate(pop):
            key = self._key(individual)
            if key not in seen:
                kept.append(i)
                if to_itself:
                    seen.add(key)
        if return_indices:
            dropped = sorted(set(range(len(pop))) - set(kept))
            return pop[kept], kept, dropped
        return pop if len(kept) == len(pop) else pop[kept]

    def _key(self, individual: Any) -> bytes:
        key = individual.data.get("fingerprint")
        if key is None:
            key = individual.data["fingerprint"] = self.fingerprint(individual.X)
        return key
