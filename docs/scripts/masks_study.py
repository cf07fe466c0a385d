"""The tables of docs/masks.md, on Fashion-MNIST.

    python docs/scripts/masks_study.py search --out DIR [--seeds N] [--only NAME,...]
    python docs/scripts/masks_study.py retrain --out DIR [--seeds N] [--only NAME,...]
    python docs/scripts/masks_study.py filters --out DIR [--seeds N]
    python docs/scripts/masks_study.py size --out DIR [--seeds N]
    python docs/scripts/masks_study.py tables --out DIR

`search`: LeNet-300-100 at its initial weights, 80 % dropped: ways of searching, and criteria.
`retrain`: its searched masks and those of criteria at 80 and 90 %, trained from the initial weights.
`filters`: filters of the strided CNN at a quarter of its width, at 50 to 80 %, trained.
`size`: the gap between the search images and the test set by the number of images.
`tables` prints what is there. Every finished cell is a line of DIR/PART.jsonl; what is there is not done again, so
that a study that was killed goes on. Where networks are trained, they see 10,000 images: the
rest of the training images are the search split.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
import torch
from scipy import stats

from opt import minimize
from problems.masking.mask_training import train_mask
from problems.masks import Masks
from problems.networks.training.schedule import Schedule

DATA = "fashion-mnist"
COLD = {"n_chains": 1, "start_temperature": 0.003, "end_ratio": 0.03}
FRESH = {"resample": 100, "images_from": "train"}
ALONE = {"slope_images": 0, "renew": 2, "momentum": 0.0}
SIGNED = {**FRESH, "weights": "signed"}

SEARCHES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    # row: (options of the problem, of the search)
    "thesis: accuracy, lagging average": (
        {"loss": "error", "largest_move": 1.0, "guided": False},
        {"algo": "sa-lagging", "n_eval": 8000},
    ),
    "accuracy, Metropolis, swaps": (
        {"loss": "error", "largest_move": 0.002, "guided": False},
        {"n_chains": 1, "start_temperature": 0.003, "end_ratio": 0.03, "n_eval": 8000},
    ),
    "smooth loss, Metropolis, swaps": ({"largest_move": 0.002, "guided": False}, {**COLD, "n_eval": 8000}),
    "smooth loss, guided swaps": (ALONE, {**COLD, "moves": "guided", "n_eval": 8000}),
    "the same, fresh images every 100": ({**FRESH, **ALONE}, {**COLD, "moves": "guided", "n_eval": 8000}),
    "slopes averaged over fresh images, 3,000": (FRESH, {**COLD, "moves": "guided", "n_eval": 3000}),
    "slopes averaged over fresh images": (FRESH, {**COLD, "moves": "guided", "n_eval": 8000}),
    "the same, signed constants": (SIGNED, {**COLD, "moves": "guided", "n_eval": 8000}),
    "the same from the MagSign mask": (
        {**SIGNED, "start": "magsign"},
        {**COLD, "start_temperature": 0.001, "moves": "guided", "n_eval": 8000},
    ),
}
FEWER_SEEDS = {"thesis: accuracy, lagging average": 3, "accuracy, Metropolis, swaps": 3}
CRITERIA = ("random", "snip", "grasp", "synflow", "magnitude", "magsign")

SPARSITIES = (0.8, 0.9)
RETRAIN = {"data": DATA, "references": "none", "n_search": 50_000, "final_epochs": 10, "lottery_epochs": 2}
RETRAINED = ("magsign", "lth", "magnitude", "snip", "synflow", "random")
EPOCHS = 6

FILTER_SPARSITIES = (0.5, 0.6, 0.7, 0.8)
CNN = {
    "data": DATA, "network": "strided-cnn", "width": 0.25, "level": "filters", "n_search": 50_000, "n_images": 512,
    "references": "none", "final_epochs": 3,
}  # fmt: skip
FILTER_CRITERIA = (
    ("random", "global"),
    ("magnitude", "normalised"),
    ("magsign", "normalised"),
    ("snip", "global"),
    ("synflow", "global"),
)
FILTER_EPOCHS = 3

Row = dict[str, Any]


class Cells:
    """Finished cells of a study, one JSON line each."""

    def __init__(self, out: Path, part: str) -> None:
        out.mkdir(parents=True, exist_ok=True)
        self.runs = out / "runs"
        self.file = out / f"{part}.jsonl"
        lines = self.file.read_text().splitlines() if self.file.exists() else []
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def make(self, key: Row, function: Callable[[], Row]) -> Row:
        """The cell `key`, read or computed."""
        for row in self.rows:
            if all(row.get(name) == value for name, value in key.items()):
                return row
        start = time.process_time()
        row = {**key, **function(), "cpu_s": time.process_time() - start}
        self.rows.append(row)
        with self.file.open("a") as file:
            file.write(json.dumps(row) + "\n")
        print(row if "mask" not in row else {k: v for k, v in row.items() if k != "mask"}, file=sys.stderr, flush=True)
        return row


def searched(problem: Masks, seed: int, runs: Path, *, algo: str = "sa", **options: Any) -> tuple[Row, np.ndarray]:
    """A search's figures, and its mask of least loss."""
    start = time.process_time()
    run = minimize(problem, algo, seed=seed, out=runs, keep=1, **options)
    seconds = time.process_time() - start
    best = run.front.iloc[0]
    mask = np.unpackbits(run.solution(best["id"])["mask_bits"], count=problem.layout.n).astype(bool)
    name = problem.objectives[0].name
    row = {
        "test": float(best["test_accuracy"]), "value": float(best[name]), "search_s": seconds,
        "n_eval": run.manifest["n_eval"], "run": run.path.name,
    }  # fmt: skip
    return row, mask


def search_accuracy(problem: Masks, mask: np.ndarray) -> float:
    """Accuracy on the images that the search began with."""
    from operators.masks import MaskGenome
    from problems.masking.logit_losses import error_rate

    problem._show(problem._first_examples())
    (logits,) = problem._network_on.logits([MaskGenome.from_mask(mask)])
    return 1 - error_rate(logits, problem._shown.targets.numpy())


def search_part(cells: Cells, n_seeds: int, only: list[str] | None) -> None:
    for seed in range(n_seeds):
        for name, (of_problem, of_search) in SEARCHES.items():
            if seed >= FEWER_SEEDS.get(name, n_seeds) or (only and not any(o in name for o in only)):
                continue

            def cell(of_problem: Row = of_problem, of_search: Row = of_search, seed: int = seed) -> Row:
                problem = Masks(data=DATA, network_seed=seed, references="none", **of_problem)
                row, mask = searched(problem, seed, cells.runs, **of_search)
                return {**row, "on_search": search_accuracy(problem, mask)}

            cells.make({"name": name, "seed": seed}, cell)
        for weights in ("given", "signed"):
            for name in CRITERIA:
                if only and not any(o in f"{name}, {weights} weights" for o in only):
                    continue

                def cell(weights: str = weights, name: str = name, seed: int = seed) -> Row:
                    problem = Masks(data=DATA, network_seed=seed, weights=weights, references=name)
                    (reference,) = problem.references()
                    assert reference.X is not None
                    return {"test": problem.test(reference.X[0])["accuracy"]}

                cells.make({"name": f"{name}, {weights} weights", "seed": seed}, cell)


def size_part(cells: Cells, n_seeds: int) -> None:
    for seed in range(n_seeds):
        for slopes, options in (("other images", {}), ("the same images", ALONE)):
            for n_images in (250, 500, 1000, 2000, 4000):

                def cell(n_images: int = n_images, options: Row = options, seed: int = seed) -> Row:
                    problem = Masks(data=DATA, network_seed=seed, references="none", n_images=n_images, **options)
                    row, mask = searched(problem, seed, cells.runs, **COLD, moves="guided", n_eval=4000)
                    return {**row, "on_search": search_accuracy(problem, mask)}

                cells.make({"slopes": slopes, "n_images": n_images, "seed": seed}, cell)


def packed(mask: np.ndarray) -> str:
    return np.packbits(mask).tobytes().hex()


def trained(problem: Masks, mask: np.ndarray, epochs: int, seed: int, *, lr: float) -> Row:
    """The mask trained from the initial weights, filters cut out."""
    state = problem.model.state_dict()
    _, done = train_mask(
        problem.model,
        state,
        problem.space,
        mask,
        problem.dataset,
        schedule=Schedule.in_thirds(epochs, lr=lr),
        seed=seed,
    )
    parameters, macs = problem.space.cost(mask)
    return {"test": done.curve[-1]["test_accuracy"], "curve": [r["test_accuracy"] for r in done.curve],
            "parameters": parameters, "macs": macs}  # fmt: skip


def retrain_part(cells: Cells, n_seeds: int, only: list[str] | None) -> None:
    fresh = {"resample": 100}
    searches: dict[str, tuple[Row, Row]] = {
        "search at initial weights from MagSign": (
            {**fresh, "start": "magsign"},
            {**COLD, "start_temperature": 0.001, "moves": "guided", "n_eval": 1500},
        ),
        "search at 10 epochs from magnitude": (
            {**fresh, "epochs": 10, "start": "magnitude"},
            {**COLD, "start_temperature": 0.0005, "moves": "guided", "n_eval": 1000},
        ),
        "search at initial weights": (fresh, {**COLD, "moves": "guided", "n_eval": 2500}),
    }
    for seed in range(n_seeds):
        for sparsity in SPARSITIES:
            for name in (*searches, *RETRAINED):
                if only and not any(o in name for o in only):
                    continue

                def cell(name: str = name, sparsity: float = sparsity, seed: int = seed) -> Row:
                    of_problem, of_search = searches.get(name, ({}, {}))
                    problem = Masks(network_seed=seed, sparsity=sparsity, **RETRAIN, **of_problem)
                    if name in searches:
                        found, mask = searched(problem, seed, cells.runs, **of_search)
                        found = {"untrained": found["test"], "search_s": found["search_s"]}
                    else:
                        assert problem.n_kept is not None
                        mask, found = problem.criteria.mask(name, problem.n_kept), {}
                    return {**found, **trained(problem, mask, EPOCHS, seed, lr=0.1), "mask": packed(mask)}

                cells.make({"name": name, "sparsity": sparsity, "seed": seed}, cell)


def filters_part(cells: Cells, n_seeds: int) -> None:
    for seed in range(n_seeds):
        whole = Masks(network_seed=seed, sparsity=0.5, **CNN)
        everything = np.ones(whole.layout.n, dtype=bool)
        cells.make(
            {"name": "whole network", "sparsity": 0.0, "seed": seed},
            lambda problem=whole, seed=seed, mask=everything: trained(problem, mask, FILTER_EPOCHS, seed, lr=0.1),
        )
        for sparsity in FILTER_SPARSITIES:
            for name, scope in FILTER_CRITERIA:

                def cell(name: str = name, scope: str = scope, sparsity: float = sparsity, seed: int = seed) -> Row:
                    problem = Masks(network_seed=seed, sparsity=sparsity, scope=scope, **CNN)
                    assert problem.n_kept is not None
                    mask = problem.criteria.mask(name, problem.n_kept)
                    return {**trained(problem, mask, FILTER_EPOCHS, seed, lr=0.1), "mask": packed(mask)}

                cells.make({"name": name, "sparsity": sparsity, "seed": seed}, cell)
            for epochs in (0, 1, 3):

                def cell(epochs: int = epochs, sparsity: float = sparsity, seed: int = seed) -> Row:
                    problem = Masks(network_seed=seed, sparsity=sparsity, epochs=epochs, guided=False, **CNN)
                    found, mask = searched(problem, seed, cells.runs, **{**COLD, "start_temperature": 0.01}, n_eval=600)
                    row = {**trained(problem, mask, FILTER_EPOCHS, seed, lr=0.1), "mask": packed(mask)}
                    return {**row, "untrained": found["test"], "search_s": found["search_s"]}

                cells.make({"name": f"search, K = {epochs}", "sparsity": sparsity, "seed": seed}, cell)


# -- tables -----------------------------------------------------------------------------------


def interval(values: pd.Series) -> str:
    """Mean and half-width of its 95 % t interval."""
    n = len(values)
    if n < 2:
        return f"{values.mean():.4f}"
    return f"{values.mean():.4f} ± {stats.t.ppf(0.975, n - 1) * values.sem():.4f}"


def print_tables(out: Path) -> None:
    for file in sorted(out.glob("*.jsonl")):
        rows = pd.DataFrame([json.loads(line) for line in file.read_text().splitlines()])
        print(f"\n## {file.stem} ({rows.cpu_s.sum() / 60:.1f} CPU minutes)\n")
        if file.stem in ("search", "size"):
            if file.stem == "size":
                rows["images, slopes on"] = rows["n_images"].map("{:,}".format) + ", " + rows["slopes"]
            key = "name" if file.stem == "search" else "images, slopes on"
            print(f"| {key} | seeds | test | on its images | evaluations | CPU of the search [s] |")
            print("| --- | ---: | ---: | ---: | ---: | ---: |")
            for name, part in rows.groupby(key, sort=False):
                searches = part.dropna(subset=["n_eval"]) if "n_eval" in part else part.iloc[:0]
                more = (
                    f"{searches.on_search.mean():.3f} | {searches.n_eval.mean():.0f} | {searches.search_s.mean():.1f}"
                    if len(searches)
                    else " | | "
                )
                print(f"| {name} | {len(part)} | {interval(part.test)} | {more} |")
            continue
        sparsities = sorted(rows.sparsity.unique())
        print(
            "| mask | "
            + " | ".join(f"{100 * s:.0f} %" for s in sparsities)
            + " |\n| --- |"
            + " ---: |" * len(sparsities)
        )
        for name, part in rows.groupby("name", sort=False):
            cells = [interval(part[part.sparsity == s].test) if (part.sparsity == s).any() else "" for s in sparsities]
            print(f"| {name} | " + " | ".join(cells) + " |")
        against_criteria(rows, sparsities)


def against_criteria(rows: pd.DataFrame, sparsities: list[float]) -> None:
    """Differences of searched masks from criteria, seed by seed."""
    print("\n| difference, paired by seed | " + " | ".join(f"{100 * s:.0f} %" for s in sparsities) + " |")
    print("| --- |" + " ---: |" * len(sparsities))
    table = rows.pivot_table(index=["sparsity", "seed"], columns="name", values="test")
    for search in [n for n in table if n.startswith("search")]:
        for criterion in [n for n in ("magsign", "lth", "magnitude") if n in table]:
            difference = (table[search] - table[criterion]).dropna()
            cells = [interval(difference[s]) if s in difference.index else "" for s in sparsities]
            print(f"| {search} - {criterion} | " + " | ".join(cells) + " |")


def main() -> None:
    """Compute or print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=("search", "retrain", "filters", "size", "tables"))
    parser.add_argument("--out", type=Path, required=True, help="folder of finished cells")
    parser.add_argument("--seeds", type=int, default=5, help="networks, from seeds 0, 1, ... (default: 5)")
    parser.add_argument("--only", help="rows of search or retrain whose name holds one of these, separated by commas")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.part == "tables":
        print_tables(arguments.out)
        return
    cells = Cells(arguments.out, arguments.part)
    only = arguments.only.split(",") if arguments.only else None
    if arguments.part in ("search", "retrain"):
        {"search": search_part, "retrain": retrain_part}[arguments.part](cells, arguments.seeds, only)
    else:
        {"filters": filters_part, "size": size_part}[arguments.part](cells, arguments.seeds)
    print(f"load {os.getloadavg()}", file=sys.stderr)


if __name__ == "__main__":
    main()
