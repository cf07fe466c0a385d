"""The study behind docs/alds.md: every method on every parent, without retraining and with it.

    python docs/scripts/alds_study.py one-shot --network resnet20 --out study     every method at every budget
    python docs/scripts/alds_study.py search   --network resnet20 --out study     loss as an objective
    python docs/scripts/alds_study.py retrain  --network lenet5 --epochs 1,2      with a short retraining
    python docs/scripts/alds_study.py report   --out study                        tables and pictures
    python docs/scripts/alds_study.py amounts  --study runs/alds-retraining       those of docs/alds-retraining.yaml

Each of the first three writes a row a network into study/KIND-NETWORK.csv as it goes, and goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

import opt
from problems.alds import ALDS
from problems.data.data import Dataset, load_dataset
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import SIZES, Size
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.heuristic import PublishedHeuristic
from problems.lowrank.ladder import Ladder
from problems.lowrank.materialise import load_decomposed, taken_together
from problems.lowrank.retraining.pipeline import Method, PruneRetrain, retrained
from problems.lowrank.retraining.retraining_plot import differences_table, draw_amounts, draw_trade_off, results_table
from problems.lowrank.rivals.filters import filter_thresholding, magnitude_pruning, provable_filter_pruning
from problems.lowrank.rivals.pruned_network import pruned_sizes
from problems.lowrank.rivals.rivals import decomposition_allocators
from problems.networks.storage.checkpoints import load_weights, save_network
from problems.networks.training.training import evaluate
from problems.workloads.reference_networks import build_network, default_schedule, trained_network

BUDGETS = (0.5, 0.3, 0.2, 0.1)
PRECISION: dict[str, Any] = {"lenet5": "float32", "resnet20": "bfloat16", "vgg": "bfloat16"}

N_TEST = 2_000
N_CALIBRATION = 256
SEARCH_IMAGES = {"lenet5": 10_000, "resnet20": 2_000, "vgg": 2_000}

SEARCHES = tuple(itertools.product(("parameters", "macs"), BUDGETS))


class Rows:
    """A CSV file of results, written row by row; what it holds already is not computed again."""

    def __init__(self, path: Path, keys: tuple[str, ...]) -> None:
        self.path, self.keys = path, keys
        path.parent.mkdir(parents=True, exist_ok=True)
        self.known: set[tuple[str, ...]] = set()
        if path.is_file():
            with path.open() as file:
                self.known = {tuple(row[k] for k in keys) for row in csv.DictReader(file)}

    def has(self, **row: Any) -> bool:
        return tuple(str(row[k]) for k in self.keys) in self.known

    def add(self, **row: Any) -> None:
        is_new = not self.path.is_file()
        with self.path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if is_new:
                writer.writeheader()
            writer.writerow(row)
        self.known.add(tuple(str(row[k]) for k in self.keys))
        print(" ".join(f"{k}={v}" for k, v in row.items()), flush=True)


Networks = Iterator[tuple[int, nn.Module]]


def parents(
    dataset: Dataset, name: str, seeds: Sequence[int], checkpoint: str | None = None
) -> Iterator[tuple[int, nn.Module]]:
    if checkpoint is not None:
        model = build_network(name, dataset)
        load_weights(model, checkpoint)
        yield 0, model.eval()
        return
    for seed in seeds:
        yield seed, trained_network(dataset, name, seed=seed, precision=PRECISION[name])[0].eval()


def one_shot(dataset: Dataset, name: str, networks: Networks, out: Path) -> None:
    rows = Rows(out / f"one-shot-{name}.csv", ("parent", "method", "compensation", "limited", "budget"))
    test = dataset.test.subset(slice(0, N_TEST))
    images = test.images.contiguous(memory_format=torch.channels_last)
    calibration = dataset.train.subset(slice(0, N_CALIBRATION)).images
    for parent, model in networks:
        network = DecomposableNetwork(model, calibration)
        limits: dict[Size, tuple[str, ...]] = {
            "parameters": (),
            "macs": ("PCA", "ALDS", "least sum of errors on data"),
        }
        if not rows.has(parent=parent, method="parent", compensation="none", limited="parameters", budget=1.0):
            loss, accuracy = evaluate(model, images, test.labels, batch_size=100)
            whole = network.whole
            rows.add(
                parent=parent,
                method="parent",
                compensation="none",
                limited="parameters",
                budget=1.0,
                parameters=whole.parameters,
                macs=whole.macs,
                accuracy=accuracy,
                loss=loss,
                seconds=0.0,
            )
        for size, only in limits.items():
            total = network.table().total(size)
            for method, (make, compensations) in methods(network, size).items():
                if only and method not in only:
                    continue
                for budget in BUDGETS:
                    for compensation in compensations if size == "parameters" else ("none", "refit"):
                        key = {
                            "parent": parent, "method": method, "compensation": compensation, "limited": size,
                            "budget": budget,
                        }  # fmt: skip
                        if rows.has(**key):
                            continue
                        start = time.process_time()
                        made = make(budget * total, compensation)
                        if made is None:
                            continue
                        compressed, sizes = made
                        seconds = time.process_time() - start
                        loss, accuracy = evaluate(compressed, images, test.labels, batch_size=100)
                        rows.add(
                            **key,
                            parameters=sizes["parameters"],
                            macs=sizes["macs"],
                            accuracy=accuracy,
                            loss=loss,
                            seconds=round(seconds, 3),
                        )


Made = tuple[nn.Module, dict[Size, int]] | None
Maker = Callable[[float, Compensation], Made]


def methods(network: DecomposableNetwork, size: Size) -> dict[str, tuple[Maker, tuple[Compensation, ...]]]:
    """Every method by name: how it makes a network for a budget, and with which compensations."""
    paper, data = network.table("spectral"), network.table("data")
    heuristic, exact = PublishedHeuristic(paper, size), Ladder(paper, size)
    largest, total = Ladder(data, size), Ladder(data, size, aggregate="sum")

    def from_choices(allocate: Callable[[float], Any], *, on_data: bool) -> Maker:
        def make(budget: float, compensation: Compensation) -> Made:
            choices = allocate(budget)
            if choices is None:
                return None
            x = paper.row(choices)[None]
            compressed = network.compress(choices, on_data=on_data, compensation=compensation).dense
            return compressed, {s: int(paper.sizes(x, s)[0]) for s in SIZES}

        return make

    def from_pruning(prune: Callable[..., nn.Module | None], *, is_structured: bool) -> Maker:
        def make(budget: float, compensation: Compensation) -> Made:
            pruned = prune(network, budget, size=size)
            return None if pruned is None else (pruned, pruned_sizes(network, pruned, is_structured=is_structured))

        return make

    def by(ladder: Ladder) -> Callable[[float], Any]:
        return lambda b: ladder.table.choices(ladder.allocate(b)) if b >= ladder.smallest else None

    def published(budget: float) -> Any:
        x = heuristic.allocate(budget, np.random.default_rng(0))
        return None if x is None else paper.choices(x)

    none: tuple[Compensation, ...] = ("none",)
    every: tuple[Compensation, ...] = ("none", "batch-norm", "refit")
    has_norms = any(layer.norm is not None for layer in network.layers)
    used = every if has_norms else ("none", "refit")
    ends: tuple[Compensation, ...] = ("none", "refit")
    found: dict[str, tuple[Maker, tuple[Compensation, ...]]] = {}
    for rival, allocate in decomposition_allocators(network, size).items():
        is_pca = rival == "PCA"
        found[rival] = (from_choices(allocate, on_data=is_pca), used if is_pca else none)
    found["ALDS"] = (from_choices(published, on_data=False), used)
    found["exact, paper's error"] = (from_choices(by(exact), on_data=False), ends)
    found["exact, error on data"] = (from_choices(by(largest), on_data=True), ends)
    found["least sum of errors on data"] = (from_choices(by(total), on_data=True), used)
    found["FT"] = (from_pruning(filter_thresholding, is_structured=True), none)
    found["PFP"] = (from_pruning(provable_filter_pruning, is_structured=True), none)
    found["magnitude"] = (from_pruning(magnitude_pruning, is_structured=False), none)
    return found


def search(dataset: Dataset, name: str, networks: Networks, out: Path, n_eval: int) -> None:
    """NSGA-II on cross-entropy and size within each budget; the best on the search split is tested."""
    rows = Rows(out / f"search-{name}.csv", ("parent", "limited", "budget"))
    test = dataset.test.subset(slice(0, N_TEST))
    images = test.images.contiguous(memory_format=torch.channels_last)
    for parent, model in networks:
        checkpoint = out / "parents" / f"{name}-{parent}.safetensors"
        save_network(model, checkpoint)
        for limited, budget in SEARCHES:
            if rows.has(parent=parent, limited=limited, budget=budget):
                continue
            start = time.process_time()
            problem = ALDS(
                data=dataset.name,
                network=name,  # type: ignore[arg-type]
                checkpoint=str(checkpoint),
                n_search=SEARCH_IMAGES[name],
                n_test=100,
                goal="loss",
                measure="data",
                size=limited,  # type: ignore[arg-type]
                budget=budget,
                compensation="refit",
                n_calibration=N_CALIBRATION,
                rivals=False,
            )
            run = opt.minimize(problem, "nsga2", seed=parent, n_eval=n_eval, pop_size=8, out=out / "runs", keep=200)
            best = run.front.loc[run.front["loss"].idxmin()]
            found = load_decomposed(model, run.path / "solutions" / f"{best['id']}.safetensors")
            dense = taken_together(found, model)
            loss, accuracy = evaluate(dense, images, test.labels, batch_size=100)
            rows.add(
                parent=parent,
                method="search",
                compensation="refit",
                limited=limited,
                budget=budget,
                parameters=int(best["n_parameters"]),
                macs=int(best["n_macs"]),
                accuracy=accuracy,
                loss=loss,
                seconds=round(time.process_time() - start, 1),
            )


def retrain(
    dataset: Dataset, name: str, networks: Networks, out: Path, epochs: Sequence[float], n_images: int | None
) -> None:
    """Every budget from the original, with the published allocation and with ours, and a short retraining."""
    rows = Rows(out / f"retrain-{name}.csv", ("parent", "method", "budget", "epochs"))
    test = dataset.test.subset(slice(0, N_TEST))
    train = dataset.train if n_images is None else dataset.train.subset(slice(0, n_images))
    schedule = default_schedule(name, len(dataset.train))
    calibration = dataset.train.subset(slice(0, N_CALIBRATION)).images
    chosen: dict[str, Method] = {
        "ALDS": Method("alds"),
        "PCA": Method("pca"),
        "exact, paper's error": Method("exact"),
        "least sum of errors on data, refit": Method("data-sum", compensation="refit"),
    }
    for parent, model in networks:
        for length, (method, how), budget in itertools.product(epochs, chosen.items(), BUDGETS):
            if rows.has(parent=parent, method=method, budget=budget, epochs=length):
                continue
            start = time.process_time()
            pipeline = PruneRetrain(
                model, calibration, how, schedule, start_epoch=schedule.epochs - length, precision=PRECISION[name]
            )
            result = retrained(pipeline, budget, train, seed=parent)
            loss, accuracy = evaluate(result.fast, test.images, test.labels, batch_size=100)
            rows.add(
                parent=parent,
                method=method,
                budget=budget,
                parameters=result.sizes["parameters"],
                macs=result.sizes["macs"],
                before=result.accuracy_before(test),
                accuracy=accuracy,
                loss=loss,
                epochs=length,
                images=len(train),
                seconds=round(time.process_time() - start, 1),
            )


TITLES = {
    "lenet5": "LeNet-5 without retraining, parameters limited",
    "resnet20": "ResNet-20 without retraining, parameters limited",
}
_SUM = "least sum of errors on data"
DIFFERENCES = (
    ((_SUM, "none"), ("PCA", "none")),
    ((_SUM, "refit"), ("PCA", "none")),
    ((_SUM, "refit"), ("PCA", "refit")),
    ((_SUM, "refit"), ("ALDS", "none")),
    (("search", "refit"), ("PCA", "none")),
    (("search", "refit"), ("PCA", "refit")),
    (("search", "refit"), (_SUM, "refit")),
)


def report(out: Path) -> None:
    for path in sorted(out.glob("one-shot-*.csv")):
        name = path.stem.removeprefix("one-shot-")
        frames = [pd.read_csv(p) for p in (path, out / f"search-{name}.csv") if p.is_file()]
        keys = ["parent", "method", "compensation", "limited", "budget"]
        frame = pd.concat(frames, ignore_index=True).drop_duplicates(keys)
        for limited in ("parameters", "macs"):
            print(f"\n### {name}, without retraining, {limited} kept\n")
            print(results_table(frame, limited, BUDGETS))
        print(f"\n### {name}, differences on the same parents\n")
        print(differences_table(frame, DIFFERENCES, BUDGETS))
        print("written:", draw_trade_off(frame, out / f"trade-off-{name}.png", title=TITLES.get(name, name)))
    for path in sorted(out.glob("retrain-*.csv")):
        frame = pd.read_csv(path).assign(compensation="none", limited="parameters")
        for length, rows in frame.groupby("epochs"):
            print(f"\n### {path.stem.removeprefix('retrain-')}, {length:g} epochs on {rows['images'].max()} images\n")
            print(results_table(rows, "parameters", BUDGETS))


AMOUNTS_METHODS = {
    ("spectral", "alds"): "ALDS",
    ("spectral", "alds-exact"): "least sum of the paper's errors",
    ("spectral", "alds-rival"): "PCA's ranks, SVD factors",
    ("data", "alds"): "ALDS on data + refit",
    ("data", "alds-exact"): "least sum of errors on data + refit",
    ("data", "alds-rival"): "PCA + refit",
}


def amounts(study: Path) -> None:
    """Of each run of the study the network of least error on the search split within each budget."""
    rows = []
    for folder in sorted(path for path in study.iterdir() if (path / "manifest.json").is_file()):
        run = opt.load_run(folder)
        options = run.manifest["problem"]["parameters"]
        for budget in BUDGETS:
            within = run.front[run.front["parameters"] <= budget]
            if len(within):
                best = within.loc[within["error"].idxmin()]
                rows.append(
                    {
                        "parent": run.manifest["seed"],
                        "method": AMOUNTS_METHODS[options["measure"], run.manifest["algo"]["name"]],
                        "compensation": "none",
                        "limited": "parameters",
                        "budget": budget,
                        "epochs": options["retrain"],
                        "accuracy": best["test_accuracy"],
                    }
                )
    frame = pd.DataFrame(rows)
    for length, group in frame.groupby("epochs"):
        print(f"\n### {length:g} epochs of retraining\n")
        print(results_table(group, "parameters", BUDGETS))
    print("written:", draw_amounts(frame, study / "amounts.png"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("one-shot", "search", "retrain", "report", "amounts"))
    parser.add_argument("--network", default="lenet5", choices=tuple(PRECISION))
    parser.add_argument("--parents", default="0,1,2,3,4", help="seeds of the parents")
    parser.add_argument("--data", default="fashion-mnist")
    parser.add_argument("--n-eval", type=int, default=24)
    parser.add_argument("--epochs", default="1", help="lengths of a retraining, the end of the schedule, as 0.5,1,2")
    parser.add_argument("--checkpoint", default=None, help="one parent from a file instead of trained ones")
    parser.add_argument("--images", type=int, default=None, help="training images of a retraining, by default all")
    parser.add_argument("--out", type=Path, default=Path("study"))
    parser.add_argument("--study", type=Path, default=Path("runs/alds-retraining"), help="for amounts")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    if asked.kind == "report":
        report(asked.out)
        return
    if asked.kind == "amounts":
        if not any(asked.study.glob("*/manifest.json")):
            parser.error(f"--study must be a folder of finished runs, got {asked.study}; run docs/alds-retraining.yaml")
        amounts(asked.study)
        return
    dataset = load_dataset(asked.data)
    networks = parents(dataset, asked.network, [int(s) for s in asked.parents.split(",")], asked.checkpoint)
    if asked.kind == "one-shot":
        one_shot(dataset, asked.network, networks, asked.out)
    elif asked.kind == "search":
        search(dataset, asked.network, networks, asked.out, asked.n_eval)
    else:
        lengths = [float(part) for part in asked.epochs.split(",")]
        retrain(dataset, asked.network, networks, asked.out, lengths, asked.images)


if __name__ == "__main__":
    main()
