"""Operators for vectors of reals within bounds: thresholds, and shares of weights to remove."""

from operators.thresholds.crossover_blend import BlendCrossover
from operators.thresholds.crossover_mean import MeanCrossover
from operators.thresholds.crossover_sbx import SimulatedBinaryCrossover
from operators.thresholds.mutation_gaussian import GaussianMutation
from operators.thresholds.mutation_log import LogMutation
from operators.thresholds.sampling_log import LogSpacedSampling
from operators.thresholds.sampling_seeded import SeededSampling
from operators.thresholds.sampling_stratified import StratifiedSampling
from operators.thresholds.sampling_uniform import UniformSampling

__all__ = [
    "BlendCrossover",
    "GaussianMutation",
    "LogMutation",
    "LogSpacedSampling",
    "MeanCrossover",
    "SeededSampling",
    "SimulatedBinaryCrossover",
    "StratifiedSampling",
    "UniformSampling",
]
