"""What is searched: a pymoo Problem with named objectives, its operators, and how a user's is loaded and called."""

from opt.problem.compression_problem import (
    REPRESENTATIONS,
    CompressionProblem,
    CrossoverFunction,
    Move,
    MutationFunction,
    Objective,
    Operators,
    Reference,
    RepairFunction,
    Representation,
    SamplingFunction,
    Sense,
    maximise,
    minimise,
)

__all__ = [
    "REPRESENTATIONS",
    "CompressionProblem",
    "CrossoverFunction",
    "Move",
    "MutationFunction",
    "Objective",
    "Operators",
    "Reference",
    "RepairFunction",
    "Representation",
    "SamplingFunction",
    "Sense",
    "maximise",
    "minimise",
]
