"""DEAP's algorithms by name; DEAP itself is imported when one is built."""

from __future__ import annotations

from pymoo.core.algorithm import Algorithm

from opt.algorithms.interface.genetic_options import GeneticOptions, VariationOptions
from opt.algorithms.interface.limits import AtLeastTwo, PopulationSize, Probability
from opt.algorithms.interface.registry import algorithm
from opt.algorithms.pymoo_builtin import VARIATION
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options, option_group
from opt.problem import CompressionProblem


@option_group
class DeapOptions(GeneticOptions):
    """Options of DEAP's NSGA-II.

    Args:
        pop_size: Number of survivors, a multiple of four (DEAP's tournament needs it).
        crossover_prob: Probability that a pair of parents is crossed (cxpb).
        mutation_prob: Probability that a child is mutated (mutpb).
    """


@option_group
class SimpleOptions(DeapOptions):
    """Options of DEAP's simple genetic algorithm.

    Args:
        pop_size: Number of candidates a generation.
        tournament_size: Number of rivals in a tournament.
    """

    crossover_prob: Probability = 0.7
    mutation_prob: Probability = 0.3
    tournament_size: PopulationSize = 3


@option_group
class PlusOptions(VariationOptions):
    """Options of DEAP's (mu + lambda) algorithm.

    Args:
        mu: Number of parents kept.
        lambda_: Number of offspring a generation.
        crossover_prob: Share of offspring made by crossover (cxpb).
        mutation_prob: Share of offspring made by mutation (mutpb).
    """

    crossover_prob: Probability = 0.5
    mutation_prob: Probability = 0.5
    mu: AtLeastTwo = 50
    lambda_: PopulationSize = 100


@option_group
class CommaOptions(PlusOptions):
    """Options of DEAP's (mu, lambda) algorithm.

    Args:
        lambda_: Number of offspring a generation, at least mu.
    """

    mu: AtLeastTwo = 25


@algorithm("deap-nsga2", objectives="several", needs=VARIATION, handles_constraints=False)
@flat_options
def deap_nsga2(problem: CompressionProblem, *, options: DeapOptions) -> Algorithm:
    """DEAP's NSGA-II: selTournamentDCD, varAnd, selNSGA2."""
    if options.pop_size % 4:
        raise UsageError(f"deap-nsga2 needs --algo.pop_size to be a multiple of 4, got {options.pop_size}")
    from opt.algorithms import deap_adapter

    return deap_adapter.nsga2(problem, options)


@algorithm("deap-ga", objectives="one", needs=VARIATION, handles_constraints=False)
@flat_options
def deap_ga(problem: CompressionProblem, *, options: SimpleOptions) -> Algorithm:
    """DEAP's eaSimple: tournaments, varAnd, full replacement."""
    from opt.algorithms import deap_adapter

    return deap_adapter.simple(problem, options, tournament_size=options.tournament_size)


@algorithm("deap-mu+lambda", objectives="one", needs=VARIATION, handles_constraints=False)
@flat_options
def deap_mu_plus_lambda(problem: CompressionProblem, *, options: PlusOptions) -> Algorithm:
    """DEAP's eaMuPlusLambda: varOr, the best mu of parents and offspring."""
    return _mu_lambda(problem, options, is_plus=True)


@algorithm("deap-mu,lambda", objectives="one", needs=VARIATION, handles_constraints=False)
@flat_options
def deap_mu_comma_lambda(problem: CompressionProblem, *, options: CommaOptions) -> Algorithm:
    """DEAP's eaMuCommaLambda: varOr, the best mu of the offspring alone."""
    if options.lambda_ < options.mu:
        raise UsageError(f"--algo.lambda_ must be at least mu, got {options.lambda_} and {options.mu}")
    return _mu_lambda(problem, options, is_plus=False)


def _mu_lambda(problem: CompressionProblem, options: PlusOptions, *, is_plus: bool) -> Algorithm:
    if options.crossover_prob + options.mutation_prob > 1:
        total = options.crossover_prob + options.mutation_prob
        raise UsageError(f"--algo.crossover_prob + --algo.mutation_prob must be at most 1, got {total:g}")
    from opt.algorithms import deap_adapter

    return deap_adapter.mu_lambda(problem, options, mu=options.mu, lambda_=options.lambda_, is_plus=is_plus)
