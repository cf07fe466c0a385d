"""Annealing on any representation: chains of Metropolis steps that cool together, or on a ladder of temperatures."""

from opt.algorithms.annealing.builders import lagging_annealing, parallel_tempering, simulated_annealing
from opt.algorithms.annealing.simulated_annealing import SimulatedAnnealing
from opt.algorithms.annealing.tempering import ParallelTempering

__all__ = [
    "ParallelTempering",
    "SimulatedAnnealing",
    "lagging_annealing",
    "parallel_tempering",
    "simulated_annealing",
]
