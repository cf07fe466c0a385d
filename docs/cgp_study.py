"""The tables of docs/cgp.md: the named data sets, each with the strategy in C, on one int8 LeNet-5.

    python docs/cgp_study.py [--only TASK] [--share X] [--data NAME]

Each row is a data set, a grid and a threshold: error, energy, gates of the runs' circuits, the network's test accuracy
with the computed weights put back, and CPU seconds of a run. --share scales the generations.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from opt import Run, minimize
from problems.cgp import CGP

# task, options of the problem, runs, generations of the strategy
ROWS: tuple[tuple[str, dict[str, Any], int, int], ...] = (
    ("single_filter", {"costs": "published"}, 30, 5_000_000),
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


def best(run: Run) -> dict[str, Any]:
    """The front's circuit that the strategy ended with: of those at the threshold the cheapest."""
    front = run.front
    within = front[front["error"] <= run.manifest["threshold"] * (1 + 1e-12)]
    chosen = within.sort_values("energy_pj") if len(within) else front.sort_values("error")
    return chosen.iloc[0].to_dict()


def study(task: str, options: dict[str, Any], n_runs: int, generations: int, *, data: str, out: Path) -> str:
    rows, seconds, base = [], [], 0.0
    for seed in range(1, n_runs + 1):
        # the kernels in turn: a result for one of them alone would say little
        kernel = (seed - 1) % 6 if "filter" in task or task in ("grid_size", "zero_outer") else 0
        problem = CGP(task=task, data=data, kernel=kernel, **options)
        start = time.process_time()
        run = minimize(
            problem, "cgp-es", n_gen=1_000_000, seed=seed, generations=generations,
            chunk=max(generations // 100, 1), out=out,
        )  # fmt: skip
        seconds.append(time.process_time() - start)
        run.manifest["threshold"] = problem.threshold
        rows.append(best(run))
        base = float(run.references["test_accuracy"].iloc[0])
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
    with tempfile.TemporaryDirectory() as out:
        for task, more, n_runs, generations in ROWS:
            if options.only in (None, task):
                n = max(1000, int(options.share * generations))
                print(study(task, more, n_runs, n, data=options.data, out=Path(out)), flush=True)


if __name__ == "__main__":
    main()
