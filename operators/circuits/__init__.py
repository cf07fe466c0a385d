"""Layout and operators of Cartesian genetic programs: integer genomes on a grid of gates."""

from operators.circuits.crossover_block import GateBlockCrossover
from operators.circuits.crossover_one_point import OnePointCrossover
from operators.circuits.crossover_uniform import UniformGateCrossover
from operators.circuits.layout import GridLayout
from operators.circuits.mutation_active import ActiveMutation, SingleMutation
from operators.circuits.mutation_redraw import PointMutation, ProbabilisticMutation, PublishedMutation
from operators.circuits.sampling_uniform import UniformGenomeSampling

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
