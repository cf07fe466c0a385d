"""Compress a network to a schedule of sizes, retrain each, and say what was lost.

    python -m problems.networks.lowrank.prune_retrain --network lenet5 --data fashion-mnist --mode cascade

Writes results.csv and a checkpoint for each network, which `load_reference(path)` makes a network of again.
"""

from __future__ import annotations

import argparse
import copy
import csv
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from opt import atomic
from opt.errors import UsageError
from problems.networks.checkpoints import load_weights, save_network
from problems.networks.data import Dataset, load_dataset
from problems.networks.lowrank.calibration import Compensation
from problems.networks.lowrank.pipeline import (
    Allocation,
    Compressed,
    Method,
    Mode,
    PruneRetrain,
    Spacing,
    keep_ratios,
    largest_reductions,
    run_pipeline,
)
from problems.networks.reference_networks import NETWORKS, build_network, default_schedule, trained_network
from problems.networks.sgd import Precision
from problems.networks.training import evaluate


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; its exit code."""
    asked = _parser().parse_args(argv)
    try:
        return _run(asked)
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    p = argparse.ArgumentParser(
        description="Compress a network to a schedule of sizes, retrain each, and say what was lost."
    )
    p.add_argument("--network", default="lenet5", choices=tuple(NETWORKS), help="network to compress")
    p.add_argument("--data", default="digits", help="data set, as for the problems")
    p.add_argument("--data-dir", default=None, help="folder of its files")
    p.add_argument("--method", default="alds", choices=get_args(Allocation), help="how slices and ranks are chosen")
    p.add_argument("--compensation", default="none", choices=get_args(Compensation), help="before retraining")
    p.add_argument("--mode", default="retrain", choices=get_args(Mode), help="what each network is made from")
    p.add_argument("--spacing", default="geometric", choices=get_args(Spacing), help="of the ratios")
    p.add_argument("--first", type=float, default=0.85, help="largest share of parameters kept")
    p.add_argument("--last", type=float, default=0.05, help="least")
    p.add_argument("--n-ratios", type=int, default=6, help="how many")
    p.add_argument("--ratios", default=None, help="the shares themselves instead, as 0.5,0.3,0.1")
    p.add_argument("--start-epoch", type=float, default=None, help="of the schedule; default: its last fifth")
    p.add_argument("--repetitions", type=int, default=1, help="networks, with seeds SEED, SEED + 1, ...")
    p.add_argument("--seed", type=int, default=0, help="of the first network and its retraining")
    p.add_argument("--n-train", type=int, default=None, help="images to retrain on; default all")
    p.add_argument("--precision", default="float32", choices=get_args(Precision), help="of training")
    p.add_argument("--out", type=Path, default=Path("runs/prune-retrain"), help="folder of results and checkpoints")
    return p


def _run(asked: argparse.Namespace) -> int:
    dataset = load_dataset(asked.data, data_dir=asked.data_dir)
    if asked.repetitions < 1:
        raise UsageError(f"--repetitions must be at least 1, got {asked.repetitions}")
    ratios = _ratios(asked)
    schedule = default_schedule(asked.network, dataset)
    start_epoch = 0.8 * schedule.epochs if asked.start_epoch is None else asked.start_epoch
    if not 0 <= start_epoch <= schedule.epochs:
        raise UsageError(f"--start-epoch must lie between 0 and {schedule.epochs}, got {start_epoch}")
    if asked.mode == "cascade-rewind" and start_epoch != int(start_epoch):
        start_epoch = float(int(start_epoch))  # weights are kept after whole epochs
    train = dataset.train if asked.n_train is None else dataset.train.subset(slice(0, asked.n_train))
    rows: list[dict[str, object]] = []
    bases = []
    for seed in range(asked.seed, asked.seed + asked.repetitions):
        original, rewind_to = _original(asked, dataset, seed, int(start_epoch))
        bases.append(evaluate(original, dataset.test.images, dataset.test.labels, batch_size=100)[1])
        pipeline = PruneRetrain(
            original,
            dataset.train.subset(slice(0, 512)).images,
            Method(asked.method, asked.compensation),
            schedule,
            start_epoch,
            precision=asked.precision,
        )
        total = sum(p.numel() for p in original.parameters())
        for made in run_pipeline(pipeline, ratios, train, seed=seed, mode=asked.mode, rewind_to=rewind_to):
            path = asked.out / f"{asked.network}-s{seed}-keep{made.keep_ratio:.4f}.safetensors"
            save_network(made.model, path, metadata=_metadata(asked, dataset, seed, made))
            accuracy = evaluate(made.fast, dataset.test.images, dataset.test.labels, batch_size=100)[1]
            rows.append(
                {
                    "seed": seed,
                    "keep_ratio": made.keep_ratio,
                    "kept": made.sizes["parameters"] / total,
                    **{str(k): v for k, v in made.sizes.items()},
                    "accuracy_before": made.accuracy_before(dataset.test),
                    "accuracy": accuracy,
                    "base_accuracy": bases[-1],
                    "checkpoint": path.name,
                }
            )
            print(
                f"seed {seed}  kept {made.sizes['parameters'] / total:.3f}  before {rows[-1]['accuracy_before']:.4f}  "
                f"after {accuracy:.4f}  of {bases[-1]:.4f}",
                flush=True,
            )
            _write_csv(asked.out / "results.csv", rows)
    numbers = [{k: float(r[k]) for k in ("keep_ratio", "kept", "accuracy")} for r in rows]  # type: ignore[arg-type]
    print("largest reduction of parameters within a loss of accuracy:")
    for delta, reduction in largest_reductions(numbers, base=float(np.mean(bases))).items():
        print(f"  {100 * delta:3.1f} points  {'none' if reduction is None else f'{100 * reduction:.1f} %'}")
    print(f"results: {asked.out / 'results.csv'}")
    return 0


def _ratios(asked: argparse.Namespace) -> np.ndarray:
    if asked.ratios is None:
        return keep_ratios(asked.spacing, asked.first, asked.last, asked.n_ratios)
    try:
        values = np.array(sorted((float(t) for t in asked.ratios.split(",")), reverse=True))
    except ValueError:
        values = np.zeros(1)
    if not ((values > 0) & (values <= 1)).all():
        raise UsageError(f"--ratios must be shares such as 0.5,0.3,0.1, got {asked.ratios!r}")
    return values


def _original(asked: argparse.Namespace, dataset: Dataset, seed: int, epoch: int) -> tuple[nn.Module, nn.Module | None]:
    """The trained network, and for cascade-rewind the same with the weights that it had after `epoch` epochs."""
    if asked.mode != "cascade-rewind":
        return trained_network(dataset, asked.network, seed=seed, precision=asked.precision)[0].eval(), None
    folder = asked.out / "epochs" / f"{asked.network}-s{seed}-{asked.precision}"
    early = build_network(asked.network, dataset, seed=seed)
    path = folder / f"epoch-{epoch}.safetensors"
    if epoch and not path.is_file():
        # trained here, not taken from the cache: only then are the epochs kept
        trained = trained_network(
            dataset, asked.network, seed=seed, precision=asked.precision, cache_dir=folder, keep_epochs=folder
        )[0]
    else:
        trained = trained_network(dataset, asked.network, seed=seed, precision=asked.precision, cache_dir=folder)[0]
    if epoch:
        load_weights(early, path)
    return trained.eval(), copy.deepcopy(early).eval()


def _metadata(asked: argparse.Namespace, dataset: Dataset, seed: int, made: Compressed) -> dict[str, object]:
    return {
        "network": asked.network,
        "input_shape": list(dataset.input_shape),
        "n_classes": dataset.n_classes,
        "data": asked.data,
        "seed": seed,
        "method": asked.method,
        "mode": asked.mode,
        "keep_ratio": made.keep_ratio,
        "choices": {name: None if c is None else [c.scheme, c.k, c.j] for name, c in made.choices.items()},
    }


def _write_csv(path: Path, rows: Sequence[dict[str, object]]) -> None:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]))
    writer.writeheader()
    writer.writerows(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, text.getvalue().encode())


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.exit(main())
