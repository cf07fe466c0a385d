"""DEAP's algorithms by name; DEAP itself is imported when one is built."""

from __future__ import annotations

from pymoo.core.algorithm import Algorithm

from opt.algorithms.interface.limits import AtLeastTwo, PopulationSize, Probability
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.pymoo_builtin import VARIATION
from opt.console.errors import UsageError
from opt.problem import CompressionProblem


@algorithm("deap-nsga2", objectives="several", needs=VARIATION, handles_constraints=False)
def deap_nsga2(
    problem: CompressionProblem,
    *,
    pop_size: PopulationSize = 100,
    crossover_prob: Probability = 0.9,
    mutation_prob: Probability = 0.9,
) -> Algorithm:
    """DEAP's NSGA-II: selTournamentDCD, varAnd, selNSGA2.

    Args:
        pop_size: Number of survivors, a multiple of four (DEAP's tournament needs it).
        crossover_prob: Probability that a pair of parents is crossed (cxpb).
        mutation_prob: Probability that a child is mutated (mutpb).
    """
    if pop_size % 4:
        raise UsageError(f"deap-nsga2 needs --algo.pop_size to be a multiple of 4, got {pop_size}")
    from opt.algorithms import deap_adapter

    return deap_adapter.nsga2(problem, pop_size=pop_size, crossover_prob=crossover_prob, mutation_prob=mutation_prob)


@algorithm("deap-ga", objectives="one", needs=VARIATION, handles_constraints=False)
def deap_ga(
    problem: CompressionProblem,
    *,
    pop_size: PopulationSize = 100,
    tournament_size: PopulationSize = 3,
    crossover_prob: Probability = 0.7,
    mutation_prob: Probability = 0.3,
) -> Algorithm:
    """DEAP's eaSimple: tournaments, varAnd, full replacement.

    Args:
        pop_size: Number of candidates a generation.
        tournament_size: Number of rivals in a tournament.
        crossover_prob: Probability that a pair is crossed (cxpb).
        mutation_prob: Probability that a child is mutated (mutpb).
    """
    from opt.algorithms import deap_adapter

    return deap_adapter.simple(
        problem,
        pop_size=pop_size,
        tournament_size=tournament_size,
        crossover_prob=crossover_prob,
        mutation_prob=mutation_prob,
    )


def _mu_lambda(
    problem: CompressionProblem, *, mu: int, lambda_: int, crossover_prob: float, mutation_prob: float, plus: bool
) -> Algorithm:
    if crossover_prob + mutation_prob > 1:
        total = crossover_prob + mutation_prob
        raise UsageError(f"--algo.crossover_prob + --algo.mutation_prob must be at most 1, got {total:g}")
    if not plus and lambda_ < mu:
        raise UsageError(f"--algo.lambda_ must be at least mu, got {lambda_} and {mu}")

    from opt.algorithms import deap_adapter

    return deap_adapter.mu_lambda(
        problem, mu=mu, lambda_=lambda_, crossover_prob=crossover_prob, mutation_prob=mutation_prob, plus=plus
    )


@algorithm("deap-mu+lambda", objectives="one", needs=VARIATION, handles_constraints=False)
def deap_mu_plus_lambda(
    problem: CompressionProblem,
    *,
    mu: AtLeastTwo = 50,
    lambda_: PopulationSize = 100,
    crossover_prob: Probability = 0.5,
    mutation_prob: Probability = 0.5,
) -> Algorithm:
    """DEAP's eaMuPlusLambda: varOr, the best mu of parents and offspring.

    Args:
        mu: Number of parents kept.
        lambda_: Number of offspring a generation.
        crossover_prob: Share of offspring made by crossover (cxpb).
        mutation_prob: Share of offspring made by mutation (mutpb).
    """
    return _mu_lambda(
        problem, mu=mu, lambda_=lambda_, crossover_prob=crossover_prob, mutation_prob=mutation_prob, plus=True
    )


@algorithm("deap-mu,lambda", objectives="one", needs=VARIATION, handles_constraints=False)
def deap_mu_comma_lambda(
    problem: CompressionProblem,
    *,
    mu: AtLeastTwo = 25,
    lambda_: PopulationSize = 100,
    crossover_prob: Probability = 0.5,
    mutation_prob: Probability = 0.5,
) -> Algorithm:
    """DEAP's eaMuCommaLambda: varOr, the best mu of the offspring alone.

    Args:
        mu: Number of parents kept.
        lambda_: Number of offspring a generation, at least mu.
        crossover_prob: Share of offspring made by crossover (cxpb).
        mutation_prob: Share of offspring made by mutation (mutpb).
    """
    return _mu_lambda(
        problem, mu=mu, lambda_=lambda_, crossover_prob=crossover_prob, mutation_prob=mutation_prob, plus=False
    )
