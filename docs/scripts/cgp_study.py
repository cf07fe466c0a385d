"""The tables of docs/cgp.md: the named data sets, each with the strategy in C, on one int8 LeNet-5.

    python docs/scripts/cgp_study.py [--only TASK] [--share X] [--data NAME]

Each row is a data set, a grid and a threshold: error, energy, gates of the runs' circuits, the network's test accuracy
with the computed weights put back, and CPU seconds of a run. --share scales the generations.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from problems.cgp import CGP

# task, options of the problem, runs, generations of the strategy
ROWS: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("single_filter", {"costs": "published"}, 30, 3_000_000),
    ("grid_size", {"costs": "published", "rows": 3, "cols": 3}, 6, 5_000_000),
    ("grid_size", {"costs": "published", "rows": 10, "cols": 10}, 6, 5_000_000),
    ("reversed_single_filter", {}, 6, 5_000_000),
    ("zero_outer", {}, 6, 200_000),
    ("single_channel", {"threshold": 0.0}, 3, 10_000_000),
    ("single_channel", {"threshold": 1.44}, 3, 10_000_000),
    ("single_channel", {"threshold": 35.0}, 3, 1_000_000),
    ("layer_bypass", {"threshold": 0.0}, 3, 10_000_000),
    ("layer_bypass", {"threshold": 2.0}, 3, 10_000_000),
    ("layer_bypass", {"threshold": 5.0}, 3, 10_000_000),
    ("layer_bypass", {"threshold": 11.0}, 3, 10_000_000),
    ("all_layers", {"threshold": 1.0}, 3, 10_000_000),
    ("no_input", {"threshold": 0.0}, 3, 20_000_000),
)


def study(task: str, options: dict[str, Any], n_runs: int, generations: int, *, data: str) -> str:
    rows, seconds, base = [], [], 0.0
    problems: dict[int, CGP] = {}
    for seed in range(1, n_runs + 1):
        # the kernels in turn: a result for one of them alone would say little
        kernel = (seed - 1) % 6 if "filter" in task or task in ("grid_size", "zero_outer") else 0
        if kernel not in problems:
            problems[kernel] = CGP(task=task, data=data, kernel=kernel, **options)
        problem = problems[kernel]
        start = time.process_time()
        # one gene at a time sometimes stays in a pit of a small grid; on a large one it is the faster by far
        is_small = problem.layout.n_gates <= 100
        how = {"mutation": "uniform", "rate": 0.05} if is_small else {"mutation": "single"}
        strategy = problem.strategy(seed=seed, **how)
        strategy.advance(generations)
        seconds.append(time.process_time() - start)
        x = strategy.best.genes.astype(np.int64)
        tested = {f"test_{name}": value for name, value in problem.test(x).items()}
        rows.append({"error": float(strategy.best.score["error"]), **problem.describe(x), **tested})
        if not base:
            base = float(problem.references()[0].test[0]["accuracy"])
    error = np.array([r["error"] for r in rows])
    energy = np.array([r["circuit_pj"] for r in rows])
    accuracy = 100 * np.array([r["test_accuracy"] for r in rows])
    cells = (
        task,
        f"{problem.layout.rows}x{problem.layout.cols}",
        f"{options.get('threshold', problem.task.threshold):g}",
        f"{n_runs}",
        f"{int((error <= problem.threshold * (1 + 1e-12)).sum())}",
        f"{np.median([r['mse'] for r in rows]):.4g}",
        f"{np.median(energy):.4g} ({energy.min():.4g}-{energy.max():.4g})",
        "relative" if options.get("costs") else "pJ",
        f"{rows[0]['loading_pj']:.4g}",
        f"{min(r['n_gates'] for r in rows)}-{max(r['n_gates'] for r in rows)}",
        f"{100 * base:.2f}",
        f"{accuracy.min():.2f}-{accuracy.max():.2f}",
        f"{np.median(seconds):.1f}",
    )
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description="The tables of docs/cgp.md.")
    parser.add_argument("--only", help="one task")
    parser.add_argument("--share", type=float, default=1.0, help="of the generations")
    parser.add_argument("--data", default="fashion-mnist", help="data set that LeNet-5 is trained on")
    options = parser.parse_args()
    print(
        "| task | grid | t | runs | within t | median mse | median energy (range) | unit | loading [pJ] | gates "
        "| int8 [%] | computed [%] | CPU of a run [s] |\n|" + " --- |" * 13
    )
    for task, more, n_runs, generations in ROWS:
        if options.only in (None, task):
            n = max(1000, int(options.share * generations))
            print(study(task, more, n_runs, n, data=options.data), flush=True)


if __name__ == "__main__":
    main()
