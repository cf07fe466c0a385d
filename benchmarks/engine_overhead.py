"""What the engine, the archive and the journal cost: a trivial problem against plain pymoo.

Equality first: both runs go through pymoo's own NSGA-II with the same operators and the same
seed, so the final populations must be identical. Then the CPU time of the search (20,000
evaluations, population 100) with everything that a run records, against pymoo's `minimize`.
Memory: the peak of Python's allocations after 100 and after 400 generations on a problem whose
archive is one point.

    python benchmarks/engine_overhead.py [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import tracemalloc
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.problem import Problem
from pymoo.optimize import minimize
from pymoo.problems.multi.zdt import ZDT1

from opt.algorithms import find_algorithm
from opt.algorithms.pymoo_builtin import nsga2
from opt.problem.adapt import as_compression_problem
from opt.problem.provenance import versions
from opt.runs.run_directory import RunDirectory
from opt.search.budget import Budget
from opt.search.engine import Search
from opt.search.scalarise import Scalariser

N_GEN = 200
REPEATS = 7


def search(problem: Problem, folder: str, *, n_gen: int = N_GEN, algo: str = "nsga2") -> Search:
    """A search with its run directory open, ready to run."""
    task = as_compression_problem(problem)
    objectives = [{"name": o.name} for o in task.objectives]
    directory = RunDirectory.create(Path(folder), "overhead", {"objectives": objectives})
    return Search(
        task,
        find_algorithm(algo),
        {},
        seed=1,
        budget=Budget(n_gen=n_gen),
        scalariser=Scalariser.of(task.objectives),
        recorder=directory,
    )


def plain(problem: Problem, *, seed: int) -> NSGA2:
    """Pymoo's NSGA-II with our operators, run by pymoo itself."""
    algorithm = nsga2(as_compression_problem(problem))
    return minimize(problem, algorithm, ("n_gen", N_GEN), seed=seed, copy_algorithm=False).algorithm


def stock(problem: Problem) -> None:
    """Pymoo exactly as its users call it."""
    minimize(problem, NSGA2(pop_size=100), ("n_gen", N_GEN), seed=1)


def cpu_seconds(function, *args) -> float:
    start = time.process_time()
    function(*args)
    return time.process_time() - start


def check_equal(problem: Problem) -> None:
    """Stop unless our loop and pymoo's give the same final population."""
    with tempfile.TemporaryDirectory() as folder:
        ours = search(problem, folder)
        ours.run()
        theirs = plain(problem, seed=ours.algorithm.seed)
        for key in ("X", "F"):
            a, b = ours.algorithm.pop.get(key), theirs.pop.get(key)
            if not np.array_equal(a, b):
                sys.exit(f"NOT EQUAL: the final populations differ in {key}")
    print("equal: final populations of 100 after 200 generations, X and F bit by bit")


class OnePoint(Problem):
    """A single-objective sphere: the archive is one point."""

    def __init__(self) -> None:
        super().__init__(n_var=5, n_obj=1, xl=-1.0, xu=1.0)

    def _evaluate(self, x, out, *args, **kwargs):
        out["F"] = (x**2).sum(axis=1)


def peak_bytes(n_gen: int) -> int:
    with tempfile.TemporaryDirectory() as folder:
        loop = search(OnePoint(), folder, n_gen=n_gen, algo="ga")
        loop.evaluator.cache_size = 5_000
        tracemalloc.start()
        loop.run()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    return peak


def main() -> None:
    """Check, time, print one row per work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    rows = []
    check_equal(ZDT1(n_var=30))
    print(f"{'work':44} {'ours [s]':>9} {'reference [s]':>14} {'ratio':>7}")
    for n_var in (10, 30):
        problem = ZDT1(n_var=n_var)
        ours, theirs = [], []
        for _ in range(REPEATS):
            with tempfile.TemporaryDirectory() as folder:
                ours.append(cpu_seconds(search(problem, folder).run))
            theirs.append(cpu_seconds(stock, problem))
        a, b = statistics.median(ours), statistics.median(theirs)
        name = f"20,000 evaluations of ZDT1, {n_var} variables"
        rows.append({"work": name, "ours_s": a, "reference_s": b, "ratio": a / b})
        print(f"{name:44} {a:9.3f} {b:14.3f} {a / b:7.3f}")
    few, many = peak_bytes(100), peak_bytes(400)
    rows.append(
        {"work": "peak memory, 400 against 100 generations", "ours": many, "reference": few, "ratio": many / few}
    )
    print(f"{'peak MB, 400 against 100 generations':44} {many / 1e6:9.2f} {few / 1e6:14.2f} {many / few:7.3f}")
    print(f"one thread; {versions()}; {platform.processor() or platform.machine()}; load {os.getloadavg()}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "versions": versions(), "load": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
