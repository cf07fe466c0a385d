"""The table of docs/threshold.md: how much of the exact front each way of searching attains.

Ten snowfall networks, trained from ten seeds. On each: the exact front, and every algorithm with the
same number of evaluations and the network's seed as its own; single-objective ones optimise the
published fitness. A search's front is everything nondominated that it evaluated, on the search split.
Its hypervolume (reference point: no right answer, nothing removed) is set against the exact front's.
Means over networks have 95 % t intervals.

    python docs/scripts/threshold_study.py [--models N] [--n-eval N] [--json FILE]
    python docs/scripts/threshold_study.py --several-layers [--models N] [--n-eval N]

The second form prunes all three weight layers with NSGA-II and sets the front against the exact front of the
last layer alone, both in fractions of all 1,689 weights.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from scipy import stats

from opt import Run, minimize
from opt.fronts.archive import hypervolume, nondominated
from opt.problem.provenance import versions
from problems.threshold import Threshold

WORST = np.ones(2)
PUBLISHED: dict[str, Any] = {"scale": "threshold", "initial": "log", "crossover": "mean"}
TRUNCATION: dict[str, Any] = {"immigrants_from": "box", "mutation_prob": 0.0, "scalarise": "problem"}
SEARCHES: tuple[tuple[str, str, dict[str, Any], dict[str, Any]], ...] = (
    # row, algorithm, options of the problem, options of the search beside its budget
    ("NSGA-II", "nsga2", {}, {}),
    ("NSGA-II of DEAP", "deap-nsga2", {}, {}),
    ("GA", "ga", {}, {"scalarise": "problem"}),
    ("simulated annealing", "sa", {}, {"scalarise": "problem"}),
    ("published setting", "truncation", PUBLISHED, TRUNCATION),
    ("published setting, its 30 generations", "truncation", PUBLISHED, {**TRUNCATION, "n_gen": 30}),
    ("random, one in each stratum of ranks", "random", {}, {}),
    ("random, uniform thresholds", "random", {"scale": "threshold", "initial": "uniform"}, {}),
)
SCORES = ("magnitude", "rms", "std")


def test_errors(problem: Threshold, counts: np.ndarray) -> np.ndarray:
    return np.array([1 - row["accuracy"] for row in problem._tested(counts)])


def removable(error: np.ndarray, kept: np.ndarray, base: float) -> float:
    """Largest share of weights removed at no more than one point of accuracy below the unpruned network."""
    return float(1 - kept[error <= base + 0.01 + 1e-12].min())


def exact_rows(model: int, options: dict[str, Any]) -> dict[str, dict[str, float]]:
    """The exact front of each score, on the search split, and of the same masks on the test set."""
    rows = {}
    for score in SCORES:
        problem = Threshold(network_seed=model, score=score, **options)
        every = problem.masks.chain(0)[:, None]
        F = problem._objectives(every)
        on_test = np.column_stack([test_errors(problem, every), F[:, 1]])
        front = nondominated(F)
        rows[score] = {
            "hypervolume": hypervolume(F, WORST),
            "test_hypervolume": hypervolume(on_test, WORST),
            "front_on_test": hypervolume(on_test[front], WORST),
            "n_front": int(front.sum()),
            "removable": removable(F[:, 0], F[:, 1], F[0, 0]),
            "test_removable": removable(on_test[:, 0], F[:, 1], on_test[0, 0]),
            "accuracy": 1 - F[0, 0],
            "test_accuracy": 1 - on_test[0, 0],
        }
    return rows


def searched(run: Run, exact: dict[str, float]) -> dict[str, float]:
    front = run.front
    on_test = np.column_stack([1 - front["test_accuracy"], front["kept"]])
    return {
        "share": run.manifest["hypervolume"] / exact["hypervolume"],
        "test_share": hypervolume(on_test, WORST) / exact["front_on_test"],
        "n_eval": run.manifest["n_eval"],
        "n_front": len(front),
    }


def grid(problem: Threshold, n: int, exact: dict[str, float]) -> dict[str, float]:
    """Evenly spaced thresholds, n of them, from 0 to the largest weight."""
    counts = problem.masks.counts_at(np.linspace(0.0, problem.masks.largest, n))
    F = problem._objectives(counts)
    on_test = np.column_stack([test_errors(problem, counts), F[:, 1]])[nondominated(F)]
    return {
        "share": hypervolume(F, WORST) / exact["hypervolume"],
        "test_share": hypervolume(on_test, WORST) / exact["front_on_test"],
        "n_eval": len(np.unique(counts)),
        "n_front": int(nondominated(F).sum()),
    }


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % t interval."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values) if len(values) > 1 else float("nan")
    return float(np.mean(values)), float(half)


def compare(n_models: int, n_eval: int, data: str, out: str) -> dict[str, Any]:
    """Every way of searching on every network."""
    options = {"data": data}
    exact: dict[str, list[dict[str, float]]] = {}
    found: dict[str, list[dict[str, float]]] = {}
    for model in range(n_models):
        rows = exact_rows(model, options)
        for name, row in rows.items():
            exact.setdefault(name, []).append(row)
        yardstick = rows["magnitude"]
        for name, algo, of_problem, of_search in SEARCHES:
            problem = Threshold(network_seed=model, **options, **of_problem)
            budget = {} if "n_gen" in of_search else {"n_eval": n_eval}
            run = minimize(problem, algo, seed=model, out=out, keep=0, **budget, **of_search)
            found.setdefault(name, []).append(searched(run, yardstick))
        problem = Threshold(network_seed=model, **options)
        for n in (n_eval, 100):
            found.setdefault(f"{n} thresholds, evenly spaced", []).append(grid(problem, n, yardstick))
        print(f"model {model} done", file=sys.stderr, flush=True)
    return {"exact": exact, "searches": found}


def print_tables(result: dict[str, Any]) -> None:
    print("| search | evaluations | solutions | share of the exact hypervolume [%] | least | on test [%] |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, rows in result["searches"].items():
        share, half = interval([100 * r["share"] for r in rows])
        test, test_half = interval([100 * r["test_share"] for r in rows])
        n_eval, n_front = (np.mean([r[k] for r in rows]) for k in ("n_eval", "n_front"))
        least = 100 * min(r["share"] for r in rows)
        print(
            f"| {name} | {n_eval:.0f} | {n_front:.0f} | {share:.2f} ± {half:.2f} | {least:.2f} | "
            f"{test:.2f} ± {test_half:.2f} |"
        )
    print()
    print("| score | exact, search | the same on test | exact on test | points | removable [%] | on test [%] |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for name, rows in result["exact"].items():
        cells = [interval([r[k] for r in rows]) for k in ("hypervolume", "front_on_test", "test_hypervolume")]
        shares = [interval([100 * r[k] for r in rows]) for k in ("removable", "test_removable")]
        points = [r["n_front"] for r in rows]
        text = " | ".join(f"{mean:.3f} ± {half:.3f}" for mean, half in cells)
        percent = " | ".join(f"{mean:.1f} ± {half:.1f}" for mean, half in shares)
        print(f"| {name} | {text} | {min(points)}-{max(points)} | {percent} |")
    accuracies = [r["test_accuracy"] for r in next(iter(result["exact"].values()))]
    print(f"\ntest accuracy of the {len(accuracies)} networks: {min(accuracies):.4f} to {max(accuracies):.4f}")


def several_layers(n_models: int, n_eval: int, data: str, out: str, initial: str) -> list[dict[str, Any]]:
    """All weight layers pruned at once, against the exact front of the last layer alone."""
    rows = []
    for model in range(n_models):
        problem = Threshold(data=data, network_seed=model, layers="*", initial=initial)
        alone = Threshold(data=data, network_seed=model)
        n_all, n_last = problem._n_weights.sum(), alone._n_weights.sum()
        exact = alone.pareto_front()
        assert exact is not None
        exact = np.column_stack([exact[:, 0], (exact[:, 1] * n_last + n_all - n_last) / n_all])
        cpu = time.process_time()
        run = minimize(problem, "nsga2", seed=model, n_eval=n_eval, pop_size=300, out=out, keep=0)
        F = run.front[["error", "kept"]].to_numpy(float)
        # errors are whole images: half an image parts equal from different
        half = 0.5 / len(problem.workload.search.split)
        best = np.array([F[F[:, 1] <= kept + 1e-12, 0].min(initial=2.0) for kept in exact[:, 1]])
        dominated = best <= exact[:, 0] + half
        strictly = dominated & (
            (best < exact[:, 0] - half) | [bool((F[F[:, 0] <= e + half, 1] < k - 1e-9).any()) for e, k in exact]
        )
        rows.append(
            {
                "model": model,
                "n_eval": run.manifest["n_eval"],
                "n_front": len(F),
                "hypervolume": hypervolume(F, WORST),
                "last_layer_exact": hypervolume(exact, WORST),
                "weakly_dominated": float(dominated.mean()),
                "dominated": float(strictly.mean()),
                "largest_excess_error": float(np.max(best - exact[:, 0])),
                "n_exact": len(exact),
                "cpu_s": time.process_time() - cpu,
            }
        )
        print(rows[-1], flush=True)
    return rows


def main() -> None:
    """Search, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", type=int, default=10, help="networks, from seeds 0, 1, ... (default: 10)")
    parser.add_argument("--n-eval", type=int, default=600, help="evaluations of distinct masks (default: 600)")
    parser.add_argument("--data", default="fashion-mnist", help="data set (default: fashion-mnist)")
    parser.add_argument("--several-layers", action="store_true", help="prune all layers instead")
    parser.add_argument("--initial", default="nested", choices=("nested", "stratified"), help="its first population")
    parser.add_argument("--out", help="folder for the run directories (default: a temporary one)")
    parser.add_argument("--json", type=Path, help="also write every figure here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        common = (arguments.models, arguments.n_eval, arguments.data, arguments.out or temporary)
        result: Any
        if arguments.several_layers:
            result = several_layers(*common, arguments.initial)
        else:
            result = compare(*common)
            print_tables(result)
    print(f"one thread; {versions()}; load {os.getloadavg()}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"result": result, "versions": versions(), "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
