"""Genome and operators for fully connected networks that descend from one parent network."""

from operators.networks.crossover_aligned import AlignedCrossover
from operators.networks.crossover_block import BlockCrossover
from operators.networks.genome import NetworkGenome, ParentNetwork, as_population
from operators.networks.mutation import NeuronMutation, WeightNoise
from operators.networks.sampling import (
    L1Sampling,
    MixtureSampling,
    RandomSubsetSampling,
    RankedSampling,
    equal_widths,
    l1_pruned,
    l1_ranking,
)

__all__ = [
    "AlignedCrossover",
    "BlockCrossover",
    "L1Sampling",
    "MixtureSampling",
    "NetworkGenome",
    "NeuronMutation",
    "ParentNetwork",
    "RandomSubsetSampling",
    "RankedSampling",
    "WeightNoise",
    "as_population",
    "equal_widths",
    "l1_pruned",
    "l1_ranking",
]
