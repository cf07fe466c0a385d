"""Options that genetic algorithms share, whichever library they are from."""

from __future__ import annotations

from opt.algorithms.interface.limits import PopulationSize, Probability
from opt.console.option_groups import option_group


@option_group
class VariationOptions:
    """How often the problem's operators are used.

    Args:
        crossover_prob: Probability that a pair of parents is crossed.
        mutation_prob: Probability that a child is mutated.
    """

    crossover_prob: Probability = 0.9
    mutation_prob: Probability = 0.9


@option_group
class GeneticOptions(VariationOptions):
    """Of an algorithm that keeps as many candidates as it began with.

    Args:
        pop_size: Number of survivors kept each generation.
    """

    pop_size: PopulationSize = 100


@option_group
class SteadyOptions(GeneticOptions):
    """Of one whose generations may be smaller or larger than its population.

    Args:
        n_offsprings: Number of new candidates a generation; the population size when not given.
    """

    n_offsprings: PopulationSize | None = None
