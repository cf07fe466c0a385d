"""The tables of docs/ecomp.md from saved runs: the published method's setting, and fronts beside it.

    python docs/scripts/ecomp_tables.py RUN...

Runs of `sga` (the published method) give one row per setting of the weights; every other run gives
its front on held-out data at the published sizes and at those of L1 pruning. Solutions are chosen by
what the search saw, never by the test set: the lowest search error among those that are small enough.
"""

from __future__ import annotations

import statistics
import sys
from collections import defaultdict

import numpy as np
import pandas as pd

from opt import Run, load_run

N_IN, HIDDEN, N_OUT = 784, 256, 10

# Weights of (accuracy, dissimilarity, size): medians over ten published runs of test accuracy and width / 256.
PUBLISHED = {
    "0,2,1": (0.6765, 0.609),
    "1,0,0": (0.849, 0.881),
    "1,0,1": (0.824, 0.650),
    "1,2,0": (0.857, 0.859),
    "1,2,1": (0.847, 0.748),
    "0,2,0": (0.816, 0.814),
    "0,0,1": (0.13, 0.22),
}


def parameter_fraction(width: float) -> float:
    """Parameters of 784-h-h-10 with h = width * 256, as a fraction of the parent's."""

    def count(h: float) -> float:
        return N_IN * h + h + h * h + h + N_OUT * h + N_OUT

    return count(width * HIDDEN) / count(HIDDEN)


def published_rows(runs: list[Run]) -> None:
    """One row per setting: median of our runs of the published method beside the published median."""
    groups: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for run in runs:
        weights = run.manifest["request"]["weights"] or [o.weight for o in run.objectives]
        front = run.front
        fitness = sum(w * front[o.name] for w, o in zip(weights, run.objectives, strict=True))
        best = front.loc[fitness.idxmin()]
        groups[",".join(f"{w:g}" for w in weights)].append((best["test_accuracy"], best["width"]))
    print("| weights | published: accuracy at width | ours, median | ours, each run |")
    print("| --- | --- | --- | --- |")
    for weights, (accuracy, width) in PUBLISHED.items():
        found = groups.get(weights)
        if found:
            each = ", ".join(f"{a:.3f} at {w:.3f}" for a, w in sorted(found))
            middle = [statistics.median(column) for column in zip(*found, strict=True)]
            print(f"| {weights} | {accuracy:.3f} at {width:.3f} | {middle[0]:.3f} at {middle[1]:.3f} | {each} |")


def accuracy_within(table: pd.DataFrame, size: float) -> float:
    """Test accuracy of the solution with the least search error among those of at most `size`; NaN for none."""
    small = table[table["parameter_fraction"] <= size + 1e-9]
    return float(small.loc[small["error"].idxmin(), "test_accuracy"]) if len(small) else float("nan")


def front_rows(runs: list[Run]) -> None:
    """Held-out accuracy of fronts at given sizes, in parameters."""
    tables = [(run.manifest["algo"]["name"] + f" seed {run.manifest['seed']}", run.front) for run in runs]
    references = runs[0].references
    print("| parameters | published median | L1 pruning | L1 + refit | " + " | ".join(n for n, _ in tables) + " |")
    print("| --- " * (4 + len(tables)) + "|")
    sizes = {parameter_fraction(width): f"{accuracy:.3f} ({w})" for w, (accuracy, width) in PUBLISHED.items()}
    for size in sorted([*sizes, *(parameter_fraction(w) for w in (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.7))]):
        cells = [f"{size:.3f}", sizes.get(size, "")]
        for name in ("L1 pruning", "L1 pruning + refit"):
            curve = references[references["reference"] == name].sort_values("parameter_fraction")
            cells.append(f"{np.interp(size, curve['parameter_fraction'], curve['test_accuracy']):.3f}")
        cells += [f"{accuracy_within(front, size):.3f}" for _, front in tables]
        print("| " + " | ".join(cells) + " |")


def main() -> None:
    """Print the tables of the given runs."""
    runs = [load_run(path) for path in sys.argv[1:]]
    published = [run for run in runs if run.manifest["algo"]["name"] == "sga"]
    others = [run for run in runs if run.manifest["algo"]["name"] != "sga"]
    if published:
        published_rows(published)
    if others:
        print()
        front_rows(others)


if __name__ == "__main__":
    main()
