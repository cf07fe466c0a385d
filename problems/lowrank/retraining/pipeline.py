"""Compress, retrain, and again: the published pipeline over a schedule of ratios, for any way to allocate."""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
from torch import Tensor, nn

from opt.console.errors import UsageError, check_choice
from problems.data.data import Split
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import SIZES, Choice, Size
from problems.lowrank.decomposed_network import DecomposableNetwork
from problems.lowrank.heuristic import PublishedHeuristic
from problems.lowrank.ladder import Aggregate, Ladder
from problems.lowrank.materialise import taken_together
from problems.lowrank.retraining.retraining import Retraining
from problems.lowrank.rivals.rivals import RIVALS, decomposition_allocators
from problems.lowrank.spectra import Measure
from problems.networks.training.descent import Precision
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import evaluate

Mode = Literal["retrain", "cascade", "cascade-rewind"]
Spacing = Literal["geometric", "linear", "harmonic", "cubic"]

Choices = dict[str, Choice | None]


@dataclasses.dataclass(frozen=True)
class Method:
    """How a network is decomposed for a budget.

    Args:
        allocation: The published heuristic (alds), the exact least maximum of the paper's error (exact) or of the
            error on data (data-max), the least sum of squared errors on data (data-sum), PCA, L-Rank, uniform SVD, or
            SVD with one energy for all layers (frobenius, nuclear, spectral).
        compensation: What calibration images give back before retraining.
    """

    allocation: str
    compensation: Compensation = "none"

    @property
    def on_data(self) -> bool:
        """Whether the factors are those that are optimal on data."""
        return self.allocation in ("data-max", "data-sum", "pca")

    def allocate(self, network: DecomposableNetwork, budget: float, size: Size, seed: int) -> Choices:
        """Slices and ranks for a budget.

        Raises:
            UsageError: The budget is too small for the method.
        """
        allocate = ALLOCATIONS[check_choice("allocation", self.allocation, ALLOCATIONS)]
        choices = allocate(network, budget, size, seed)
        if choices is None:
            raise UsageError(f"{self.allocation} finds no decomposition of {budget:.0f} {size} or fewer; keep more")
        return choices


def _published(network: DecomposableNetwork, budget: float, size: Size, seed: int) -> Choices | None:
    table = network.table("spectral")
    x = PublishedHeuristic(table, size).allocate(budget, np.random.default_rng(seed))
    return None if x is None else table.choices(x)


def _exact(
    network: DecomposableNetwork, budget: float, size: Size, seed: int, *, measure: Measure, aggregate: Aggregate
) -> Choices | None:
    ladder = Ladder(network.table(measure), size, aggregate=aggregate)
    return ladder.table.choices(ladder.allocate(budget)) if budget >= ladder.smallest else None


def _rival(network: DecomposableNetwork, budget: float, size: Size, seed: int, *, name: str) -> Choices | None:
    return decomposition_allocators(network, size)[RIVALS[name]](budget)


ALLOCATIONS: dict[str, Callable[[DecomposableNetwork, float, Size, int], Choices | None]] = {
    "alds": _published,
    "exact": functools.partial(_exact, measure="spectral", aggregate="max"),
    "data-max": functools.partial(_exact, measure="data", aggregate="max"),
    "data-sum": functools.partial(_exact, measure="data", aggregate="sum"),
    **{name: functools.partial(_rival, name=name) for name in ("pca", "l-rank", "uniform")},
    **{name: functools.partial(_rival, name=name) for name in ("frobenius", "nuclear", "spectral")},
}
"""`(network, budget, size, seed) -> choices`, None where the budget is too small, by name."""

SPACINGS: dict[str, Callable[[float, float, int], np.ndarray]] = {
    "geometric": np.geomspace,
    "linear": np.linspace,
    "harmonic": lambda first, last, n: 1 / np.linspace(1 / first, 1 / last, n),
    "cubic": lambda first, last, n: np.linspace(first ** (1 / 3), last ** (1 / 3), n) ** 3,
}
"""`(first, last, n) -> ratios`, by name."""


def keep_ratios(spacing: Spacing, first: float, last: float, n: int) -> np.ndarray:
    """(n,) shares of the network to keep, from `first` down to `last`.

    Args:
        spacing: Equal factors (geometric), equal steps (linear), equal steps of 1 / ratio (harmonic), or of its cube
            root (cubic).
        first: Largest share kept.
        last: Least.
        n: How many.
    """
    if not 0 < last <= first <= 1 or n < 1:
        raise UsageError(f"keep ratios must fall from first to last within 0 < r <= 1, got {first} to {last}, {n}")
    return SPACINGS[check_choice("spacing", spacing, SPACINGS)](first, last, n)


@dataclasses.dataclass(frozen=True)
class PruneRetrain:
    """What is compressed and how it is retrained.

    Args:
        original: The trained network.
        calibration: (n, ...) images for what is measured on data.
        method: How it is decomposed.
        schedule: The training schedule.
        start_epoch: Point of it that retraining begins at; its end trains nothing.
        precision: As in `train_sgd`.
        augment: As in `train_sgd`.
        size: What ratios are of.
    """

    original: nn.Module
    calibration: Tensor
    method: Method
    schedule: Schedule
    start_epoch: float
    precision: Precision = "float32"
    augment: bool = False
    size: Size = "parameters"


@dataclasses.dataclass(frozen=True)
class Compressed:
    """One network of the pipeline.

    Args:
        keep_ratio: The share that was asked for.
        before: Before retraining, in the form that is quick to evaluate.
        fast: After retraining, likewise.
        model: After retraining, of ordinary layers.
        choices: Of each layer.
        sizes: Of the network.
    """

    keep_ratio: float
    before: nn.Module
    fast: nn.Module
    model: nn.Module
    choices: Choices
    sizes: dict[Size, int]

    def accuracy_before(self, split: Split) -> float:
        """Accuracy before retraining."""
        return evaluate(self.before, split.images, split.labels, batch_size=100)[1]


def retrained(
    pipeline: PruneRetrain,
    keep_ratio: float,
    train: Split,
    *,
    seed: int,
    start: nn.Module | None = None,
    rewound: nn.Module | None = None,
) -> Compressed:
    """Decompose for one ratio and retrain.

    Args:
        pipeline: What and how.
        keep_ratio: Share of the original's size to keep.
        train: Images to retrain on.
        seed: Of the heuristic's draws and of the order of the images.
        start: Network of the original's shape whose slices and ranks are chosen; None for the original.
        rewound: Network of the same shape whose weights are then decomposed instead; None for `start`.
    """
    source = DecomposableNetwork(start or pipeline.original, pipeline.calibration)
    budget = keep_ratio * source.table().total(pipeline.size)
    choices = pipeline.method.allocate(source, budget, pipeline.size, seed)
    weights = source if rewound is None else DecomposableNetwork(rewound, pipeline.calibration)
    decomposition = weights.compress(
        choices, on_data=pipeline.method.on_data, compensation=pipeline.method.compensation
    )
    table = source.table()
    x = table.row(choices)[None]
    retraining = Retraining(
        pipeline.original,
        train,
        pipeline.schedule,
        pipeline.start_epoch,
        seed,
        precision=pipeline.precision,
        augment=pipeline.augment,
    )
    trained = retraining.decomposed(decomposition)
    return Compressed(
        keep_ratio,
        decomposition.dense,
        trained.dense,
        trained.materialise(),
        choices,
        {s: int(table.sizes(x, s)[0]) for s in SIZES},
    )


def run_pipeline(
    pipeline: PruneRetrain,
    ratios: Sequence[float] | np.ndarray,
    train: Split,
    *,
    seed: int,
    mode: Mode = "retrain",
    rewind_to: nn.Module | None = None,
    start: nn.Module | None = None,
) -> Iterator[Compressed]:
    """One network for each ratio, largest first.

    Args:
        pipeline: What and how.
        ratios: Shares of the original's size, falling.
        train: Images to retrain on.
        seed: As in `retrained`.
        mode: Each from the original (retrain), each from the one before it (cascade), or slices and ranks chosen on
            the one before while the weights are those of early in training (cascade-rewind).
        rewind_to: The original's network with the weights of `start_epoch`, for cascade-rewind.
        start: What the first of them is made from in a cascade, of ordinary layers, as `Compressed.model`; None for
            the original.
    """
    if mode == "cascade-rewind" and rewind_to is None:
        raise ValueError("mode cascade-rewind needs rewind_to, the network as it was at start_epoch.")
    before = None if start is None or mode == "retrain" else taken_together(start, pipeline.original)
    for ratio in ratios:
        made = retrained(
            pipeline,
            float(ratio),
            train,
            seed=seed,
            start=before,
            rewound=rewind_to if mode == "cascade-rewind" else None,
        )
        if mode != "retrain":
            before = taken_together(made.model, pipeline.original)
        yield made


def largest_reductions(
    rows: Sequence[dict[str, float]], *, base: float, deltas: Sequence[float] = (0.0, 0.005, 0.01, 0.02, 0.03)
) -> dict[float, float | None]:
    """For each loss of accuracy the largest reduction of parameters whose mean loss stays within it.

    Args:
        rows: `keep_ratio`, `accuracy` and `kept` (the share that was reached) of every network of every repetition.
        base: Mean accuracy of the uncompressed networks.
        deltas: Losses of accuracy, as fractions.

    Returns:
        By delta 1 - kept, the mean over repetitions; None where no ratio stays within it.
    """
    grouped = {
        ratio: list(group)
        for ratio, group in itertools.groupby(
            sorted(rows, key=lambda r: r["keep_ratio"]), key=lambda r: r["keep_ratio"]
        )
    }
    mean: Callable[[list[dict[str, float]], str], float] = lambda g, key: float(np.mean([r[key] for r in g]))  # noqa: E731
    out: dict[float, float | None] = {}
    for delta in deltas:
        within = [1 - mean(g, "kept") for g in grouped.values() if base - mean(g, "accuracy") <= delta + 1e-12]
        out[delta] = max(within, default=None)
    return out
