"""Cartesian genetic programming: circuits on a grid, searched for in C.

from native.cgp import DataSet, FunctionSet, Grid, evolve

best = evolve(Grid(9, 16, 10, 10), FunctionSet.int8(), DataSet(inputs, outputs), seed=1, n_gen=100_000)
print(best.score)
"""

from native.circuits.costs import CostTable
from native.circuits.counts import Counts
from native.circuits.data import DataSet, deduplicate
from native.circuits.functions import FunctionSet, function_names, function_value
from native.circuits.gate import Gate
from native.circuits.genome import Genome
from native.circuits.grid import Grid
from native.circuits.problem import (
    ERRORS,
    MUTATIONS,
    Problem,
    Scores,
    active,
    bounds,
    evaluate,
    mutate,
    outputs,
    random_genomes,
)
from native.formats.chromo import read_chromo, read_data, write_chromo, write_data
from native.formats.expression import to_expression, to_latex
from native.formats.graph import draw, to_dot
from native.formats.source import to_c, to_python, to_verilog
from native.formats.text import from_text, read_genome, to_text
from native.search.runs import Runs, repeat
from native.search.strategy import Strategy, Targets, evolve

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
    "Runs",
    "Scores",
    "Strategy",
    "Targets",
    "active",
    "bounds",
    "deduplicate",
    "draw",
    "evaluate",
    "evolve",
    "from_text",
    "function_names",
    "function_value",
    "mutate",
    "outputs",
    "random_genomes",
    "read_chromo",
    "read_data",
    "read_genome",
    "repeat",
    "to_c",
    "to_dot",
    "to_expression",
    "to_latex",
    "to_python",
    "to_text",
    "to_verilog",
    "write_chromo",
    "write_data",
]
