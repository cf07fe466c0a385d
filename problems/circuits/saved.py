"""Serialisation of circuits in a run's files, so that they can be read without their network."""

from __future__ import annotations

import numpy as np

from native.cgp import FunctionSet, Genome, Grid
from opt.console.errors import UsageError
from opt.runs.run import Run


def genome_arrays(genome: np.ndarray, grid: Grid, functions: FunctionSet) -> dict[str, np.ndarray]:
    """A circuit as arrays.

    Args:
        genome: (n_genes,) integers.
        grid: Its grid.
        functions: Its function set, of int8.

    Returns:
        `genome` (n_genes,) int32; `genome.grid` (6,) int32: inputs, outputs, rows, columns, levels back, arity;
        `genome.functions` (n_functions,) int32 ids.
    """
    sizes = (grid.n_inputs, grid.n_outputs, grid.rows, grid.cols, grid.reach, grid.arity)
    return {
        "genome": np.asarray(genome, dtype=np.int32),
        "genome.grid": np.array(sizes, dtype=np.int32),
        "genome.functions": np.array(functions.ids, dtype=np.int32),
    }


def saved_genome(run: Run, solution: str) -> Genome:
    """The circuit of one solution of a run, with its score.

    Raises:
        UsageError: The run has no such solution, or it is no circuit.
    """
    arrays = run.solution(solution)
    try:
        sizes = [int(n) for n in arrays["genome.grid"]]
        functions = FunctionSet("int8", tuple(int(i) for i in arrays["genome.functions"]))
        (row,) = run.front[run.front["id"] == solution].to_dict("records")
        score = {name: float(row[name]) for name in ("energy_pj", "delay", "n_gates", "depth")}
        return Genome(Grid(*sizes), functions, arrays["genome"], score=score)
    except (KeyError, ValueError, TypeError) as error:
        raise UsageError(
            f"{run.path} solution {solution} holds no circuit ({error}); give a run of problems/cgp.py"
        ) from None
