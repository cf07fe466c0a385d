"""Compress a network to a schedule of sizes, retrain each, and say what was lost.

    python -m problems.lowrank.retraining.prune_retrain --network lenet5 --data fashion-mnist --method alds,pca

Writes results.csv, a picture of accuracy over parameters and multiply-adds, and a checkpoint for each network, which
`load_reference(path)` makes a network of again. The same command again goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from torch import nn

from opt.console.command import execute
from opt.console.errors import UsageError, nearest
from opt.console.options import OptionParser
from opt.console.ranges import COUNT, SEED, Range
from opt.console.terminal import tell
from problems.data.data import Dataset, Split, load_dataset
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import SIZES
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.materialise import load_reference
from problems.lowrank.retraining.pipeline import (
    Allocation,
    Method,
    Mode,
    PruneRetrain,
    Spacing,
    keep_ratios,
    run_pipeline,
)
from problems.lowrank.retraining.pipeline_results import Results, in_words, reductions_in_words, trade_off
from problems.lowrank.retraining.retraining_plot import draw_trade_off
from problems.networks.storage.checkpoints import load_weights, save_network
from problems.networks.training.descent import Precision
from problems.networks.training.schedule import PUBLISHED_CIFAR, Schedule
from problems.networks.training.training import evaluate
from problems.workloads.reference_networks import NETWORKS, build_network, default_schedule, trained_network

_N_CALIBRATION = 512
_RANGES = {
    "first": Range(0.0, 1.0, is_above=True),
    "last": Range(0.0, 1.0, is_above=True),
    "n_ratios": Range(1, 1000),
    "repetitions": Range(1, 10_000),
    "seed": SEED,
    "n_train": COUNT,
}
# part of what makes a network: raise it when the same options make another one
_VERSION = 1


def main(argv: Sequence[str]) -> int:
    """The command."""
    return _run(_parser().read(argv))


def _parser() -> OptionParser:
    p = OptionParser(
        prog="python -m problems.lowrank.retraining.prune_retrain",
        description="Compress a network to a schedule of sizes, retrain each, and say what was lost.",
    )
    p.add_argument("--network", default="lenet5", choices=tuple(NETWORKS), help="network to compress")
    p.add_argument("--data", default="digits", help="data set, as for the problems")
    p.add_argument("--data-dir", default=None, help="folder of its files")
    known = ", ".join(get_args(Allocation))
    p.add_argument("--method", default="alds", help=f"how slices and ranks are chosen; one or several of {known}")
    p.add_argument("--compensation", default="none", choices=get_args(Compensation), help="before retraining")
    p.add_argument("--mode", default="retrain", choices=get_args(Mode), help="what each network is made from")
    p.add_argument("--spacing", default="geometric", choices=get_args(Spacing), help="of the ratios")
    p.add_argument("--first", type=float, default=0.85, help="largest share of parameters kept")
    p.add_argument("--last", type=float, default=0.05, help="least")
    p.add_argument("--n-ratios", type=int, default=6, help="how many")
    p.add_argument("--ratios", default=None, help="the shares themselves instead, as 0.5,0.3,0.1")
    p.add_argument("--size", default="parameters", choices=SIZES, help="what ratios are of")
    p.add_argument(
        "--schedule",
        default="short",
        choices=("short", "published"),
        help="short, for one processor, or the published one of ResNets on CIFAR-10, 182 epochs",
    )
    p.add_argument("--augment", action="store_true", help="shift and mirror training images")
    p.add_argument("--start-epoch", type=float, default=None, help="of the schedule; default: its last fifth")
    p.add_argument("--repetitions", type=int, default=1, help="networks, with seeds SEED, SEED + 1, ...")
    p.add_argument("--seed", type=int, default=0, help="of the first network and its retraining")
    p.add_argument("--n-train", type=int, default=None, help="images to retrain on; default all")
    p.add_argument("--precision", default="float32", choices=get_args(Precision), help="of training")
    p.add_argument("--out", type=Path, default=Path("runs/prune-retrain"), help="folder of results and checkpoints")
    return p


def _run(asked: argparse.Namespace) -> int:
    for name, allowed in _RANGES.items():
        allowed.check(f"--{name.replace('_', '-')}", getattr(asked, name))
    SEED.check("--seed", asked.seed + asked.repetitions - 1)
    ratios, methods = _ratios(asked), _methods(asked.method)
    dataset = load_dataset(asked.data, data_dir=asked.data_dir)
    schedule = PUBLISHED_CIFAR if asked.schedule == "published" else default_schedule(asked.network, dataset)
    start_epoch = 0.8 * schedule.epochs if asked.start_epoch is None else asked.start_epoch
    if not 0 <= start_epoch <= schedule.epochs:
        raise UsageError(f"--start-epoch must lie between 0 and {schedule.epochs}, got {start_epoch}")
    if asked.mode == "cascade-rewind" and start_epoch != int(start_epoch):
        if asked.start_epoch is not None:
            raise UsageError(f"--start-epoch must be a whole number with --mode cascade-rewind, got {start_epoch}")
        start_epoch = float(int(start_epoch))
    train = dataset.train if asked.n_train is None else dataset.train.subset(slice(0, asked.n_train))
    results = Results(asked.out)
    for seed in range(asked.seed, asked.seed + asked.repetitions):
        original, rewind_to = _original(asked, dataset, schedule, seed, int(start_epoch))
        calibration = dataset.train.subset(slice(0, _N_CALIBRATION)).images
        for method in methods:
            how = Method(method, asked.compensation)
            pipeline = PruneRetrain(
                original,
                calibration,
                how,
                schedule,
                start_epoch,
                precision=asked.precision,
                augment=asked.augment,
                size=asked.size,
            )
            _one_series(asked, dataset, pipeline, ratios, train, seed, rewind_to, results)
    tell("\n".join(reductions_in_words(results.rows)))
    tell(f"results: {results.path}")
    tell(f"picture: {draw_trade_off(trade_off(results.rows), asked.out / 'trade-off.png', title=asked.network)}")
    return 0


def _one_series(
    asked: argparse.Namespace,
    dataset: Dataset,
    pipeline: PruneRetrain,
    ratios: np.ndarray,
    train: Split,
    seed: int,
    rewind_to: nn.Module | None,
    results: Results,
) -> None:
    """Every ratio of one method on one network; those that are there already are not made again."""
    method, test = pipeline.method.allocation, dataset.test
    base = evaluate(pipeline.original, test.images, test.labels, batch_size=100)[1]
    whole = DecomposableNetwork(pipeline.original, pipeline.calibration).whole

    def file_name(ratio: float) -> str:
        parts = [Path(asked.data).name, asked.network, method, asked.mode, f"s{seed}", f"keep{ratio:.6g}"]
        return "-".join(parts if asked.compensation == "none" else [*parts, asked.compensation]) + ".safetensors"

    def made_as(ratio: float) -> dict[str, object]:
        before = [] if asked.mode == "retrain" else [float(r) for r in ratios if r > ratio]
        return _made_as(asked, dataset, pipeline, len(train), seed, ratio, before)

    start, left = None, [float(r) for r in ratios]
    while left and (row := results.known(made_as(left[0]), file_name(left[0]))) is not None:
        tell(f"{in_words(row)}  (made before)", flush=True)
        start = load_reference(asked.out / row["checkpoint"])
        left = left[1:]
    for made in run_pipeline(pipeline, left, train, seed=seed, mode=asked.mode, rewind_to=rewind_to, start=start):
        path = asked.out / file_name(made.keep_ratio)
        choices = {name: None if c is None else [c.scheme, c.k, c.j] for name, c in made.choices.items()}
        save_network(made.model, path, metadata=made_as(made.keep_ratio) | {"choices": choices})
        row = {
            "data": asked.data,
            "network": asked.network,
            "method": method,
            "compensation": asked.compensation,
            "mode": asked.mode,
            "seed": seed,
            "keep_ratio": made.keep_ratio,
            "kept": made.sizes["parameters"] / whole.parameters,
            **{str(k): v for k, v in made.sizes.items()},
            "accuracy_before": made.accuracy_before(test),
            "accuracy": evaluate(made.fast, test.images, test.labels, batch_size=100)[1],
            "base_accuracy": base,
            "base_parameters": whole.parameters,
            "base_macs": whole.macs,
            "checkpoint": path.name,
        }
        results.add(row)
        tell(in_words(row), flush=True)


def _methods(text: str) -> list[Allocation]:
    known = get_args(Allocation)
    names = list(dict.fromkeys(part.strip() for part in text.split(",")))
    for name in names:
        if name not in known:
            raise UsageError(f"--method must be among {', '.join(known)}, got {name!r}{nearest(name, known)}")
    return names  # type: ignore[return-value]


def _ratios(asked: argparse.Namespace) -> np.ndarray:
    if asked.ratios is None:
        return keep_ratios(asked.spacing, asked.first, asked.last, asked.n_ratios)
    try:
        values = np.array(sorted({float(t) for t in asked.ratios.split(",")}, reverse=True))
    except ValueError:
        values = np.zeros(1)
    if not ((values > 0) & (values <= 1)).all() or len(values) > _RANGES["n_ratios"].high:
        raise UsageError(f"--ratios must be shares such as 0.5,0.3,0.1, got {asked.ratios!r}")
    return values


def _original(
    asked: argparse.Namespace, dataset: Dataset, schedule: Schedule, seed: int, epoch: int
) -> tuple[nn.Module, nn.Module | None]:
    """The trained network, and for cascade-rewind the same with the weights that it had after `epoch` epochs."""
    options = {"seed": seed, "schedule": schedule, "precision": asked.precision, "augment": asked.augment}
    if asked.mode != "cascade-rewind":
        return trained_network(dataset, asked.network, **options)[0].eval(), None
    key = hashlib.sha256(f"{dataclasses.asdict(schedule)} {asked.augment} {dataset.fingerprint}".encode()).hexdigest()
    folder = asked.out / "epochs" / f"{asked.network}-s{seed}-{asked.precision}-{key[:8]}"
    early = build_network(asked.network, dataset, seed=seed)
    path = folder / f"epoch-{epoch}.safetensors"
    if epoch and not path.is_file():
        # epochs are kept by a training only: what is in the cache is trained anew
        for kept in folder.glob("*.safetensors"):
            kept.unlink()
    trained = trained_network(dataset, asked.network, cache_dir=folder, keep_epochs=folder, **options)[0]
    if epoch:
        load_weights(early, path)
    return trained.eval(), copy.deepcopy(early).eval()


def _made_as(
    asked: argparse.Namespace,
    dataset: Dataset,
    pipeline: PruneRetrain,
    n_train: int,
    seed: int,
    ratio: float,
    before: Sequence[float],
) -> dict[str, object]:
    """Everything that makes a network of the pipeline, in plain values; a checkpoint's metadata."""
    schedule = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(pipeline.schedule).items()}
    return {
        "version": _VERSION,
        "network": asked.network,
        "input_shape": list(dataset.input_shape),
        "n_classes": dataset.n_classes,
        "data": asked.data,
        "fingerprint": dataset.fingerprint,
        "n_train": n_train,
        "seed": seed,
        "method": pipeline.method.allocation,
        "compensation": pipeline.method.compensation,
        "mode": asked.mode,
        "precision": pipeline.precision,
        "start_epoch": float(pipeline.start_epoch),
        "schedule": schedule,
        "augment": pipeline.augment,
        "size": pipeline.size,
        "after": list(before),
        "keep_ratio": ratio,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    execute(main)
