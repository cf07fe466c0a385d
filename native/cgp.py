"""Cartesian genetic programming: circuits on a grid, searched for in C.

from native.cgp import DataSet, FunctionSet, Grid, evolve

best = evolve(Grid(9, 16, 10, 10), FunctionSet.int8(), DataSet(inputs, outputs), seed=1, n_gen=100_000)
print(best.score)
"""

from native.costs import CostTable
from native.data import DataSet, deduplicate
from native.functions import FunctionSet, function_names, function_value
from native.genome import Gate, Genome
from native.grid import Grid
from native.problem import ERRORS, MUTATIONS, Problem, Scores, active, bounds, evaluate, mutate, outputs, random_genomes
from native.strategy import Counts, Strategy, Targets, evolve

__all__ = [
    "ERRORS",
    "MUTATIONS",
    "CostTable",
    "Counts",
    "DataSet",
    "FunctionSet",
    "Gate",
    "Genome",
    "Grid",
    "Problem",
    "Scores",
    "Strategy",
    "Targets",
    "active",
    "bounds",
    "deduplicate",
    "evaluate",
    "evolve",
    "function_names",
    "function_value",
    "mutate",
    "outputs",
    "random_genomes",
]
