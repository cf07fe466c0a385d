"""pymoo's own algorithms, built with the problem's operators and with every default stated here.

Each is imported when it is built: a list of algorithms then costs none of their libraries.
"""

from __future__ import annotations

from math import comb
from typing import Annotated, Any, Literal

import numpy as np
from pymoo.core.algorithm import Algorithm

from opt.algorithms.interface.checked_operators import operators_of
from opt.algorithms.interface.genetic_options import GeneticOptions, SteadyOptions, VariationOptions
from opt.algorithms.interface.limits import (
    MOST_CANDIDATES,
    AtLeastTwo,
    PopulationSize,
    Positive,
    Probability,
    Rounds,
)
from opt.algorithms.interface.pymoo_operators import (
    FilledMating,
    FingerprintDuplicates,
    FunctionCrossover,
    FunctionMutation,
    FunctionRepair,
    FunctionSampling,
)
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.interface.warm_start import first_of_start, started
from opt.console.option_groups import flat_options, option_group
from opt.console.ranges import Finite, Range
from opt.problem import CompressionProblem
from opt.problem.default_operators import real_operators

VARIATION = ("crossover", "mutation")
NUMERIC = ("real", "integer")


def _genetic(problem: CompressionProblem, options: GeneticOptions, kind: Any, **more: Any) -> Algorithm:
    """One of pymoo's genetic algorithms on the problem's operators, its mating filled up from the sampling."""
    arguments = {"pop_size": options.pop_size, "eliminate_duplicates": FingerprintDuplicates(problem)} | more
    algorithm = kind(**_operators(problem, options), **arguments)
    algorithm.mating = FilledMating(algorithm.mating, algorithm.initialization.sampling)
    return algorithm


def _operators(problem: CompressionProblem, options: VariationOptions) -> dict[str, Any]:
    operators = operators_of(problem)
    assert operators.crossover is not None and operators.mutation is not None
    return {
        "sampling": FunctionSampling(operators.sampling),
        "crossover": FunctionCrossover(operators.crossover, prob=options.crossover_prob),
        "mutation": FunctionMutation(operators.mutation, prob=options.mutation_prob),
        "repair": FunctionRepair(operators.repair) if operators.repair else None,
    }


def reference_directions(n_obj: int, pop_size: int) -> np.ndarray:
    """Reference directions, (n, n_obj) on the unit simplex with n as near to pop_size as the layout allows.

    Two objectives: pop_size evenly spaced. More: the largest Das-Dennis layout of at most pop_size points.
    """
    from pymoo.util.ref_dirs import get_reference_directions

    if n_obj == 1:
        return np.ones((1, 1))
    partitions = 1
    while _das_dennis_size(n_obj, partitions + 1) <= max(pop_size, n_obj):
        partitions += 1
    return get_reference_directions("das-dennis", n_obj, n_partitions=partitions)


def _das_dennis_size(n_obj: int, partitions: int) -> int:
    return comb(partitions + n_obj - 1, n_obj - 1)


@algorithm("nsga2", objectives="several", needs=VARIATION)
@flat_options
def nsga2(problem: CompressionProblem, *, options: SteadyOptions) -> Algorithm:
    """NSGA-II: ranks by nondomination, then by crowding (Deb et al. 2002, doi:10.1109/4235.996017)."""
    from pymoo.algorithms.moo.nsga2 import NSGA2

    return _genetic(problem, options, NSGA2, n_offsprings=options.n_offsprings)


def seeded_tournament(pop: Any, pairs: np.ndarray, *, random_state: np.random.Generator, **others: Any) -> np.ndarray:
    """NSGA-III's mating tournament: the smaller violation wins; feasible rivals and equal violations draw lots.

    pymoo 0.6.2's own draws the lots between equal violations from a generator without a seed.

    Args:
        pop: The population.
        pairs: (n, 2) indices of rivals.
        random_state: The algorithm's generator.
        **others: What else pymoo hands over.

    Returns:
        (n, 1) int64 indices of the winners.
    """
    violation = pop.get("CV")[:, 0]
    winners = np.empty((len(pairs), 1), dtype=np.int64)
    for i, (a, b) in enumerate(pairs):
        if violation[a] == violation[b]:
            winners[i] = random_state.choice([a, b])
        else:
            winners[i] = a if violation[a] < violation[b] else b
    return winners


@option_group
class DirectionOptions(GeneticOptions):
    """Options of NSGA-III.

    Args:
        pop_size: Number of survivors; as many reference directions, or the nearest fewer, are laid out.
    """


@algorithm("nsga3", objectives="several", needs=VARIATION)
@flat_options
def nsga3(problem: CompressionProblem, *, options: DirectionOptions) -> Algorithm:
    """NSGA-III: niches along reference directions (Deb and Jain 2014, doi:10.1109/TEVC.2013.2281535)."""
    from pymoo.algorithms.moo.nsga3 import NSGA3
    from pymoo.operators.selection.tournament import TournamentSelection

    directions = reference_directions(problem.n_obj, options.pop_size)
    tournament = TournamentSelection(func_comp=seeded_tournament)
    pop_size = max(options.pop_size, len(directions))
    return _genetic(problem, options, NSGA3, pop_size=pop_size, ref_dirs=directions, selection=tournament)


@algorithm("spea2", objectives="several", needs=VARIATION)
@flat_options
def spea2(problem: CompressionProblem, *, options: GeneticOptions) -> Algorithm:
    """SPEA2: strength and nearest-neighbour density (Zitzler et al. 2001, TIK report 103)."""
    from pymoo.algorithms.moo.spea2 import SPEA2

    from opt.algorithms.pymoo_variants import SeparateSPEA2Survival

    # pymoo's default survival is one object for all of its SPEA2s, and it remembers the last run's bounds
    return _genetic(problem, options, SPEA2, survival=SeparateSPEA2Survival(normalize=True))


@option_group
class NeighborOptions(VariationOptions):
    """Options of MOEA/D.

    Args:
        pop_size: Number of directions, or the nearest fewer that the layout allows.
        n_neighbors: Number of neighbouring directions that mate and are replaced.
        prob_neighbor_mating: Probability that parents are drawn from the neighbourhood.
    """

    crossover_prob: Probability = 1.0
    pop_size: AtLeastTwo = 100
    n_neighbors: PopulationSize = 20
    prob_neighbor_mating: Probability = 0.9


@algorithm("moead", objectives="several", needs=VARIATION, handles_constraints=False)
@flat_options
def moead(problem: CompressionProblem, *, options: NeighborOptions) -> Algorithm:
    """MOEA/D: one scalar problem a direction, solved together (Zhang and Li 2007, doi:10.1109/TEVC.2007.892759)."""
    from pymoo.algorithms.moo.moead import ParallelMOEAD

    arguments = _operators(problem, options)
    directions = reference_directions(problem.n_obj, options.pop_size)
    neighbors = max(2, min(options.n_neighbors, len(directions)))
    return ParallelMOEAD(
        directions, n_neighbors=neighbors, prob_neighbor_mating=options.prob_neighbor_mating, **arguments
    )


@algorithm("sms-emoa", objectives="several", needs=VARIATION)
@flat_options
def sms_emoa(problem: CompressionProblem, *, options: SteadyOptions) -> Algorithm:
    """SMS-EMOA: keeps what contributes most hypervolume (Beume et al. 2007, doi:10.1016/j.ejor.2006.08.008)."""
    from pymoo.algorithms.moo.sms import SMSEMOA

    return _genetic(problem, options, SMSEMOA, n_offsprings=options.n_offsprings)


@algorithm("ga", objectives="one", needs=VARIATION)
@flat_options
def ga(problem: CompressionProblem, *, options: SteadyOptions) -> Algorithm:
    """Elitist genetic algorithm with binary tournaments on one scalarised objective."""
    from pymoo.algorithms.soo.nonconvex.ga import GA

    return _genetic(problem, options, GA, n_offsprings=options.n_offsprings)


def _box(problem: CompressionProblem) -> FunctionSampling:
    """Uniform sampling in the box, for algorithms that move through it as reals."""
    return FunctionSampling(started(problem, real_operators(problem.xl, problem.xu).sampling))


@algorithm("de", objectives="one", representations=NUMERIC, rounds=True)
def de(
    problem: CompressionProblem,
    *,
    pop_size: Annotated[int, Range(4, MOST_CANDIDATES)] = 50,
    variant: Literal["DE/best/1/bin", "DE/rand/1/bin", "DE/rand/1/exp", "DE/target-to-best/1/bin"] = "DE/rand/1/bin",
    CR: Finite = 0.3,
    F: Finite = 0.5,
) -> Algorithm:
    """Differential evolution (Storn and Price 1997, doi:10.1023/A:1008202821328).

    Args:
        pop_size: Number of vectors.
        variant: Which vector is perturbed and how it is recombined.
        CR: Probability that a coordinate comes from the donor.
        F: Scale of the difference vector.
    """
    from pymoo.algorithms.soo.nonconvex.de import DE

    return DE(pop_size=pop_size, sampling=_box(problem), variant=variant, CR=CR, F=F)


@algorithm("cma-es", objectives="one", representations=NUMERIC, min_var=2, handles_constraints=False, rounds=True)
def cma_es(
    problem: CompressionProblem, *, pop_size: AtLeastTwo | None = None, sigma: Positive = 0.1, restarts: Rounds = 0
) -> Algorithm:
    """CMA-ES, by the library `cma` (Hansen 2016, arXiv:1604.00772).

    Args:
        pop_size: Samples a generation; 4 + 3 ln(n_var) when not given.
        sigma: Initial step size as a fraction of the box.
        restarts: Number of restarts with a doubled population (IPOP).
    """
    from opt.algorithms.pymoo_cmaes import SeededCMAES

    size = pop_size if pop_size is not None else 4 + int(3 * np.log(problem.n_var))
    return SeededCMAES(x0=first_of_start(problem), sigma=sigma, restarts=restarts, pop_size=size)


@algorithm("pso", objectives="one", representations=NUMERIC, rounds=True)
def pso(
    problem: CompressionProblem, *, pop_size: AtLeastTwo = 25, w: Finite = 0.9, c1: Finite = 2.0, c2: Finite = 2.0
) -> Algorithm:
    """Adaptive particle swarm optimisation (Zhan et al. 2009, doi:10.1109/TSMCB.2009.2015956).

    Args:
        pop_size: Number of particles.
        w: Initial inertia.
        c1: Initial pull towards a particle's own best.
        c2: Initial pull towards the swarm's best.
    """
    from opt.algorithms.pymoo_variants import BoxPSO

    return BoxPSO(pop_size=pop_size, sampling=_box(problem), w=w, c1=c1, c2=c2)
