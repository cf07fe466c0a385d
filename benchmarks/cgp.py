"""The search of Cartesian genetic programming in C, on the four tasks that published systems were measured on.

    python benchmarks/cgp.py [--json FILE] [--repeats N] [--seconds S]

First checks on each task that scores equal a plain NumPy interpreter's on random genomes and on the genome that the
timed search ended with. Then times (1 + 4) on one thread in CPU seconds, mutation rate 1 %: candidates a second, gate
evaluations a second, and the share of gates that are active. int8 tasks are timed in both phases: while the error
decides, and from an error at the threshold on, where energy does.

The peers (compiled from their sources and measured on one machine, best of three) are figures from that measurement
and are not run here.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from rows_file import finish

from native.cgp import CostTable, DataSet, FunctionSet, Grid, Strategy, deduplicate, evaluate, random_genomes
from native.circuits.reference import cost, interpret

RATE, N_OFFSPRING = 0.01, 4


@dataclass(frozen=True)
class Task:
    """What is searched, and the rate that it has to reach: candidates or node evaluations a second."""

    name: str
    grid: Grid
    functions: FunctionSet
    data: DataSet
    threshold: float | None
    required: float
    unit: str


def main(argv: list[str] | None = None) -> int:
    """Check, time, print a row per task and phase; exit code 1 when a score differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="also write the rows to this file")
    parser.add_argument("--repeats", type=int, default=3, help="timed stretches of each; the best counts")
    parser.add_argument("--seconds", type=float, default=0.5, help="CPU seconds of a stretch")
    options = parser.parse_args(argv)
    rows = [row for task in tasks() for row in benchmark(task, options.repeats, options.seconds)]
    head = ("phase", "candidates/s", "node evals/s", "active", "required", "ratio")
    print(f"{'work':<52} {head[0]:<7} {head[1]:>13} {head[2]:>13} {head[3]:>7} {head[4]:>10} {head[5]:>7}")
    for row in rows:
        print(
            f"{row['work']:<52} {row['phase']:<7} {row['candidates_per_s']:>13.3g} {row['node_evals_per_s']:>13.3g} "
            f"{row['active_fraction']:>7.1%} {row['required']:>10.3g} {row['ratio']:>7.1f}"
        )
    return finish(rows, options.json, complaint="scores differ from the plain interpreter's")


def tasks() -> list[Task]:
    """The four tasks; weights are drawn as a trained layer's are spread."""
    rng = np.random.default_rng(0)

    def weights(n: int) -> np.ndarray:
        return np.clip(np.rint(rng.normal(0, 35, (1, n))), -127, 127).astype(np.int8)

    int8, filters = FunctionSet.int8(), DataSet(weights(9), weights(16))
    layer = weights(2550)
    nothing = np.zeros((1, 1), np.int8)
    unique, occurrences, _ = deduplicate(layer[0])
    x = rng.uniform(-1, 1, (10_000, 2))
    y = x[:, :1] ** 6 - 2 * x[:, :1] ** 4 + x[:, :1] ** 2 * x[:, 1:] + x[:, 1:] / (1 + x[:, :1] ** 2)
    samples = DataSet(x, y)
    floats = FunctionSet.float("add", "sub", "mul", "div")
    per_s = "candidates"
    return [
        Task("9 -> 16 int8, 10x10", Grid(9, 16, 10, 10), int8, filters, 16 * 400.0, 2 * 1.34e6, per_s),
        Task("9 -> 16 int8, 256x31", Grid(9, 16, 256, 31), int8, filters, 16 * 400.0, 20 * 8.1e3, per_s),
        Task(
            "1 -> 2550 int8, 256x31",
            Grid(1, 2550, 256, 31),
            int8,
            DataSet(nothing, layer),
            2550 * 400.0,
            10 * 7.9e3,
            per_s,
        ),
        Task(
            f"1 -> 2550 int8, 256x31, equal outputs as one ({len(unique)})",
            Grid(1, len(unique), 256, 31),
            int8,
            DataSet(nothing, unique, weights=occurrences),
            2550 * 400.0,
            10 * 7.9e3,
            per_s,
        ),
        *(
            Task(
                f"2 -> 1 float32, 10,000 samples, {n} nodes", Grid(2, 1, 1, n), floats, samples, None, 4e9, "node evals"
            )
            for n in (100, 1000)
        ),
    ]


def benchmark(task: Task, repeats: int, seconds: float) -> list[dict[str, Any]]:
    """One row per phase: equality first, then the best of the stretches."""
    equal = all(
        is_equal(task, genes) for genes in random_genomes(task.grid, task.functions, 20, np.random.default_rng(1))
    )
    rows = []
    for phase in ("error", "energy"):
        if phase == "energy" and task.threshold is None:
            continue
        # the first phase is measured where no error is low enough, the second from a circuit that is
        first = phase == "error"
        strategy = Strategy(
            task.grid,
            task.functions,
            task.data,
            seed=1,
            n_offspring=N_OFFSPRING,
            rate=RATE,
            threshold=None if first else task.threshold,
        )
        while not first and strategy.best.score["error"] > (task.threshold or 0.0):
            strategy.advance(1000)
        strategy.advance(500)
        chunk, best = 200, (0.0, 0.0, 0.0)
        for _ in range(repeats):
            before, start, spent = strategy.counts, time.process_time(), 0.0
            active, n_chunks = 0, 0
            while spent < seconds:
                active += strategy.advance(chunk).n_active
                n_chunks += 1
                spent = time.process_time() - start
            after = strategy.counts
            rate = (after.n_candidates - before.n_candidates) / spent
            nodes = (after.n_node_evals - before.n_node_evals) / spent
            share = active / n_chunks / task.grid.n_gates
            best = max(best, (rate, nodes, share), key=lambda row: row[0 if task.unit == "candidates" else 1])
        genome = strategy.best
        again = float(evaluate(genome.genes, task.grid, task.functions, task.data).error[0])
        equal &= is_equal(task, genome.genes) and genome.score["error"] == again
        rows.append(
            {
                "work": task.name,
                "phase": phase,
                "candidates_per_s": best[0],
                "node_evals_per_s": best[1],
                "active_fraction": best[2],
                "unit": task.unit,
                "required": task.required,
                "ratio": best[0 if task.unit == "candidates" else 1] / task.required,
                "neutral_fraction": strategy.counts.n_neutral / strategy.counts.n_candidates,
                "equal": equal,
                "cpu": platform.processor() or platform.machine(),
                "python": platform.python_version(),
            }
        )
    return rows


def is_equal(task: Task, genes: np.ndarray) -> bool:
    """Whether the C library's scores of a genome are the plain interpreter's: error and costs."""
    scores = evaluate(genes, task.grid, task.functions, task.data)
    values = interpret(genes, task.grid, task.functions, task.data.inputs)
    with np.errstate(all="ignore"):
        squares = (values.astype(np.float64) - task.data.outputs.astype(task.functions.dtype)) ** 2
    error = float((task.data.entry_weights() * squares).sum())
    expected = cost(genes, task.grid, task.functions, CostTable.default(task.functions.domain))
    tolerance = 0.0 if task.functions.domain == "int8" else 1e-5
    is_same = abs(scores.error[0] - error) <= tolerance * error or not (error < 1e30 and np.isfinite(scores.error[0]))
    return bool(is_same and all(np.isclose(scores[name][0], value, rtol=1e-12) for name, value in expected.items()))


if __name__ == "__main__":
    sys.exit(main())
