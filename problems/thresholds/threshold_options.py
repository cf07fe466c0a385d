"""The threshold search's options: the network, what is pruned by which scores, how candidates begin and change."""

from __future__ import annotations

from typing import Annotated, Literal

from opt.console.option_groups import option_group
from opt.console.ranges import Range
from problems.thresholds.masking import Scope
from problems.thresholds.scores import ScoreName
from problems.workloads.network_options import TrainedNetworkOptions

Size = Literal["weights", "macs", "both"]
Scale = Literal["share", "threshold"]
Initial = Literal["stratified", "nested", "log", "uniform"]
Crossover = Literal["blend", "mean", "sbx"]
Mutation = Literal["gaussian", "log"]


@option_group
class PrunedNetworkOptions(TrainedNetworkOptions):
    """The network whose weights are pruned, by default snowfall, the published one."""

    network: str = "snowfall"


@option_group
class PruningOptions:
    """Which weights go at a threshold.

    Args:
        layers: Layers to prune, shell patterns of names separated by commas; by default the one that runs last.
        scope: One threshold for each layer, or for each output channel (each class, in the last layer).
        score: What is compared with a threshold: |w| (magnitude), |w| rms(input) (rms), or |w| std(input) while
            the bias takes over the mean of what is removed (std).
        n_calibration: Training images that the inputs' rms, mean and std are taken from.
        size: Second objective: weights kept, multiply-adds kept, or both as two objectives.
    """

    layers: str | None = None
    scope: Scope = "layer"
    score: ScoreName = "magnitude"
    n_calibration: Annotated[int, Range(1, 10**9)] = 10_000
    size: Size = "weights"


@option_group
class VariationOptions:
    """What candidates are, how they begin and change; `variation` has what each name stands for.

    Args:
        scale: Variables are shares of removed weights from 0 to 1, or the thresholds themselves, from 1e-6.
        initial: First population: evenly spread with one in each stratum (stratified), the same behind the front of
            the last layer alone, whose masks are evaluated beforehand (nested), log-spaced in base 16 as published
            (log), or uniform.
        crossover: Uniform in the parents' widened box (blend), their mean (published), or simulated binary (sbx).
        mutation: Gaussian steps of many sizes, or factors (log).
    """

    scale: Scale = "share"
    initial: Initial = "stratified"
    crossover: Crossover = "blend"
    mutation: Mutation = "gaussian"
