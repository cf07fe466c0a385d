"""Compress a network to a schedule of sizes, retrain each, and say what was lost.

    python -m problems.lowrank.retraining.prune_retrain --network lenet5 --data fashion-mnist --method alds,pca

Writes results.csv, a picture of accuracy over parameters and multiply-adds, and a checkpoint for each network, which
`load_reference(path)` makes a network of again. The same command again goes on where it was stopped.
"""

from __future__ import annotations

import copy
import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from torch import nn

from opt.console.command import execute
from opt.console.errors import UsageError, check_choice
from opt.console.option_groups import option_group
from opt.console.options import OptionParser
from opt.console.ranges import SEED, Count, Range, Seed
from opt.console.terminal import tell
from problems.data.data import Dataset, Split, load_dataset
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import Size
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.materialise import load_reference
from problems.lowrank.retraining.pipeline import (
    ALLOCATIONS,
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
from problems.networks.training.training import evaluate, one_thread
from problems.workloads.reference_networks import NetworkName, build_network, default_schedule, trained_network

_N_CALIBRATION = 512
# part of what makes a network: raise it when the same options make another one
_VERSION = 1
_MOST_RATIOS = 1000
_Ratio = Annotated[float, Range(0.0, 1.0, is_above=True)]


@option_group
class PruneRetrainOptions:
    """What is compressed, to which sizes, and how it is retrained.

    Args:
        network: Network to compress.
        data: Data set, as for the problems.
        data_dir: Folder of its files.
        method: How slices and ranks are chosen; one or several of alds, exact, data-max, data-sum, pca, l-rank,
            uniform, frobenius, nuclear, spectral.
        compensation: What calibration images give back before retraining.
        mode: What each network is made from: the original (retrain), the one before it (cascade), or slices and
            ranks of the one before with the weights of early training (cascade-rewind).
        spacing: Of the ratios.
        first: Largest share of the network kept.
        last: Least.
        n_ratios: How many.
        ratios: The shares themselves instead, as 0.5,0.3,0.1.
        size: What ratios are of.
        schedule: The short one, for one processor, or the published one of ResNets on CIFAR-10, 182 epochs.
        augment: Shift and mirror training images.
        start_epoch: Of the schedule, where retraining begins; by default its last fifth.
        repetitions: Networks, with seeds SEED, SEED + 1, ...
        seed: Of the first network and its retraining.
        n_train: Images to retrain on; by default all.
        precision: Of training.
        out: Folder of results and checkpoints.
    """

    network: NetworkName = "lenet5"
    data: str = "digits"
    data_dir: str | None = None
    method: str = "alds"
    compensation: Compensation = "none"
    mode: Mode = "retrain"
    spacing: Spacing = "geometric"
    first: _Ratio = 0.85
    last: _Ratio = 0.05
    n_ratios: Annotated[int, Range(1, _MOST_RATIOS)] = 6
    ratios: str | None = None
    size: Size = "parameters"
    schedule: Literal["short", "published"] = "short"
    augment: bool = False
    start_epoch: float | None = None
    repetitions: Annotated[int, Range(1, 10_000)] = 1
    seed: Seed = 0
    n_train: Count | None = None
    precision: Precision = "float32"
    out: Path = Path("runs/prune-retrain")

    def methods(self) -> list[str]:
        """The allocations, each once.

        Raises:
            UsageError: One that is none.
        """
        names = dict.fromkeys(part.strip() for part in self.method.split(","))
        return [check_choice("--method", name, ALLOCATIONS) for name in names]

    def keep_ratios(self) -> np.ndarray:
        """(n,) shares of the network to keep, falling.

        Raises:
            UsageError: They are none.
        """
        if self.ratios is None:
            return keep_ratios(self.spacing, self.first, self.last, self.n_ratios)
        try:
            values = np.array(sorted({float(t) for t in self.ratios.split(",")}, reverse=True))
        except ValueError:
            values = np.zeros(1)
        if not ((values > 0) & (values <= 1)).all() or len(values) > _MOST_RATIOS:
            raise UsageError(f"--ratios must be shares such as 0.5,0.3,0.1, got {self.ratios!r}")
        return values

    def start_of(self, schedule: Schedule) -> float:
        """Point of the schedule, in epochs, where retraining begins.

        Raises:
            UsageError: It lies outside the schedule, or between epochs where only whole ones are kept.
        """
        start = 0.8 * schedule.epochs if self.start_epoch is None else self.start_epoch
        if not 0 <= start <= schedule.epochs:
            raise UsageError(f"--start-epoch must lie between 0 and {schedule.epochs}, got {start}")
        if self.mode != "cascade-rewind" or start == int(start):
            return start
        if self.start_epoch is not None:
            raise UsageError(f"--start-epoch must be a whole number with --mode cascade-rewind, got {start}")
        return float(int(start))


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog="python -m problems.lowrank.retraining.prune_retrain",
        description="Compress a network to a schedule of sizes, retrain each, and say what was lost.",
    )
    parser.add_group(PruneRetrainOptions)
    asked = parser.group_of(parser.read(argv), PruneRetrainOptions)
    with one_thread():
        results = prune_retrain(asked)
    tell("\n".join(reductions_in_words(results.rows)))
    tell(f"results: {results.path}")
    tell(f"picture: {draw_trade_off(trade_off(results.rows), asked.out / 'trade-off.png', title=asked.network)}")
    return 0


def prune_retrain(asked: PruneRetrainOptions) -> Results:
    """Every network of every method and seed; each is told in a line.

    Raises:
        UsageError: An option makes no sense with the others, or a budget is too small for a method.
    """
    SEED.check("--seed", asked.seed + asked.repetitions - 1)
    ratios, methods = asked.keep_ratios(), asked.methods()
    dataset = load_dataset(asked.data, data_dir=asked.data_dir)
    schedule = PUBLISHED_CIFAR if asked.schedule == "published" else default_schedule(asked.network, len(dataset.train))
    start_epoch = asked.start_of(schedule)
    train = dataset.train if asked.n_train is None else dataset.train.subset(slice(0, asked.n_train))
    results = Results(asked.out)
    for seed in range(asked.seed, asked.seed + asked.repetitions):
        original, rewind_to = _original(asked, dataset, schedule, seed, int(start_epoch))
        calibration = dataset.train.subset(slice(0, _N_CALIBRATION)).images
        for method in methods:
            pipeline = PruneRetrain(
                original,
                calibration,
                Method(method, asked.compensation),
                schedule,
                start_epoch,
                precision=asked.precision,
                augment=asked.augment,
                size=asked.size,
            )
            _one_series(asked, dataset, pipeline, ratios, train, seed, rewind_to, results)
    return results


def _one_series(
    asked: PruneRetrainOptions,
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


def _original(
    asked: PruneRetrainOptions, dataset: Dataset, schedule: Schedule, seed: int, epoch: int
) -> tuple[nn.Module, nn.Module | None]:
    """The trained network, and for cascade-rewind the same with the weights that it had after `epoch` epochs."""
    train = functools.partial(
        trained_network,
        dataset,
        asked.network,
        seed=seed,
        schedule=schedule,
        precision=asked.precision,
        augment=asked.augment,
    )
    if asked.mode != "cascade-rewind":
        return train()[0].eval(), None
    key = hashlib.sha256(f"{dataclasses.asdict(schedule)} {asked.augment} {dataset.fingerprint}".encode()).hexdigest()
    folder = asked.out / "epochs" / f"{asked.network}-s{seed}-{asked.precision}-{key[:8]}"
    early = build_network(asked.network, dataset, seed=seed)
    path = folder / f"epoch-{epoch}.safetensors"
    if epoch and not path.is_file():
        # epochs are kept by a training only: what is in the cache is trained anew
        for file in folder.glob("*.safetensors"):
            file.unlink()
    trained = train(cache_dir=folder, keep_epochs=folder)[0]
    if epoch:
        load_weights(early, path)
    return trained.eval(), copy.deepcopy(early).eval()


def _made_as(
    asked: PruneRetrainOptions,
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
    execute(main)
