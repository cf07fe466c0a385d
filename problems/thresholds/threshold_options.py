"""The threshold search's options: the network, what is pruned by which scores, how candidates begin and change."""

from __future__ import annotations

from typing import Annotated, Literal

from torch import nn

from opt.console.option_groups import option_group
from opt.console.ranges import Range
from problems.data.data import Dataset
from problems.thresholds.masking import Scope
from problems.thresholds.scores import ScoreName
from problems.workloads.network_options import TrainedNetworkOptions
from problems.workloads.own_network import network_of_choice

Size = Literal["weights", "macs", "both"]
Scale = Literal["share", "threshold"]
Initial = Literal["stratified", "nested", "log", "uniform"]
Crossover = Literal["blend", "mean", "sbx"]
Mutation = Literal["gaussian", "log"]

_EPOCHS, _EPOCHS_ON_DIGITS = 5, 30


@option_group
class PrunedNetworkOptions(TrainedNetworkOptions):
    """The network whose weights are pruned.

    Args:
        model: Network to prune, as package.module:function without arguments; by default snowfall.
        checkpoint: Its weights, a safetensors file; by default it is trained (snowfall once for each seed, then kept).
        model_seed: Seed of the network's weights and training; same-as-run makes each run prune another network.
        epochs: Epochs of training, where the network is trained; by default 5, as published, and 30 on digits.
    """

    def load(self, dataset: Dataset) -> nn.Module:
        """The network, trained or read, in evaluation mode.

        Raises:
            UsageError: As `network_of_choice`.
        """
        epochs = self.epochs or (_EPOCHS_ON_DIGITS if dataset.name == "digits" else _EPOCHS)
        return network_of_choice(
            dataset, model=self.model, checkpoint=self.checkpoint, seed=self.model_seed, epochs=epochs
        )


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
