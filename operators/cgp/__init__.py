"""Layout and operators of Cartesian genetic programs: integer genomes on a grid of gates."""

from operators.cgp.crossover_block import GateBlockCrossover
from operators.cgp.crossover_one_point import OnePointCrossover
from operators.cgp.crossover_uniform import UniformGateCrossover
from operators.cgp.layout import GridLayout
from operators.cgp.mutation_active import ActiveMutation, SingleMutation
from operators.cgp.mutation_redraw import PointMutation, ProbabilisticMutation, PublishedMutation
from operators.cgp.sampling_uniform import UniformGenomeSampling

__all__ = [
    "ActiveMutation",
    "GateBlockCrossover",
    "GridLayout",
    "OnePointCrossover",
    "PointMutation",
    "ProbabilisticMutation",
    "PublishedMutation",
    "SingleMutation",
    "UniformGateCrossover",
    "UniformGenomeSampling",
]
