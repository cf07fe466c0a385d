"""The mask search's options: the network, its places, what judges a mask, how masks begin and change, criteria."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from torch import nn

from operators.masks import GuidedSwap, MaskGenome, MaskLayout
from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.ranges import COUNT, EPOCHS, Count, Epochs, Range
from problems.data.data import Dataset
from problems.data.examples import Examples
from problems.data.sets.example_set import ExampleSet
from problems.masking.channels import ChannelSpace
from problems.masking.criterion_masks import check_criterion, named_criteria
from problems.masking.logit_losses import Loss
from problems.masking.selection import MaskScope
from problems.masking.space import MaskSpace, WeightSpace
from problems.masking.training_plans import RecipeTraining, ScheduledTraining, TrainingPlan
from problems.networks.architectures.lottery_networks import Init
from problems.networks.architectures.named_networks import build_network, is_named
from problems.networks.layers.compressible import Compressible, compressible_layers
from problems.networks.layers.prunable import select_layers
from problems.networks.storage.checkpoints import load_weights
from problems.networks.training.schedule import Schedule
from problems.workloads.further_training import needed_recipe
from problems.workloads.network_options import NetworkOptions
from problems.workloads.trained_networks import check_fits
from problems.workloads.workload import Workload

Level = Literal["weights", "filters"]
Size = Literal["kept", "parameters", "macs"]

_LEAST_FILTERS = 1
_FREE_LEAST = 0.02
_FINAL_EPOCHS = 10
SEEN = 32
"""Examples that show which layers run, and how often."""


@option_group
class MaskedNetworkOptions(NetworkOptions):
    """The network that is masked, and its initial weights.

    Args:
        checkpoint: Its initial weights, of safetensors or of torch.save; by default they are drawn.
        width: Factor on the number of neurons and filters of the networks that take one; by default their own, 1.
        bias: Whether their layers have biases, which are never masked singly; by default only convolutional ones do.
        init: Initial weights of these networks: torch's uniform distribution (by default), or Glorot's normal one.
        network_seed: Seed of the network's weights and trainings; same-as-run makes each run mask another network.
        device: Where network and examples lie: the processor, cpu.
    """

    FORMER_NETWORKS: ClassVar[Mapping[str, str]] = {"lenet-5": "lenet-5-same"}

    network: str = "lenet-300-100"
    width: Annotated[float, Range(0.0, 32.0, is_above=True)] | None = None
    bias: bool | None = None
    init: Init | None = None

    def __post_init__(self) -> None:
        if self.device != "cpu":
            raise UsageError(
                f"masks are evaluated by exact sums on the processor; leave out --problem.device, got {self.device}"
            )

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The network at its initial weights, in evaluation mode.

        Raises:
            UsageError: No such network, or the checkpoint is not its.
        """
        options = {"width": self.width, "bias": self.bias, "init": self.init}
        network = build_network(self.network, data, seed=self.network_seed, **options)
        if self.checkpoint is not None:
            load_weights(network, self.checkpoint)
        check_fits(network, data, self.network)
        return network.requires_grad_(False).eval()

    @classmethod
    def of_former(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names of now; every network had a width, and ours alone used it."""
        present = super().of_former(recorded)
        if "model" in recorded and not is_named(recorded["model"]):
            present |= {"width": None, "bias": None, "init": None}
        return present


@option_group
class PlacesOptions:
    """What the places of a mask stand for, and how many are kept.

    Args:
        level: Masks of single weights, or of filters and neurons with all that hangs on them.
        layers: Layers to mask, shell patterns of names separated by commas; by default all of them.
        sparsity: Share of places that is dropped, or free (null): then the size is an objective.
        per_layer: Whether each layer keeps the same share; otherwise only the sum is fixed.
        size: Size objective where sparsity is free: weights or filters kept, parameters, or multiply-adds.
    """

    level: Level = "weights"
    layers: str | None = None
    sparsity: Annotated[float, Range(0.0, 1.0, is_above=True, is_below=True)] | None = 0.8
    per_layer: bool = False
    size: Size = "kept"

    def space(self, work: Workload, compressible: Compressible) -> MaskSpace:
        """The places of a workload's network; a few of its examples are run to find them.

        Args:
            work: The network and its examples.
            compressible: The layers whose single weights may be masked.

        Raises:
            UsageError: No layer is as the patterns say, or its channels cannot go.
        """
        network = work.network
        with work.undisturbed(network):
            if self.level == "filters":
                return ChannelSpace(network, self.layers, work.train.subset(slice(0, 2)).inputs, work.picked)
            few = work.train.subset(slice(0, SEEN)).inputs
            compressible.check()
            names = select_layers(network, self.layers or "*", example=few, layers=compressible.layers)
            return WeightSpace(network, names, few)

    def layout(self, space: MaskSpace) -> MaskLayout:
        """The places by layer, and how few of each must stay."""
        return MaskLayout(space.sizes, _LEAST_FILTERS if self.level == "filters" else 0, self.per_layer)

    def n_kept(self, layout: MaskLayout) -> int | None:
        """How many places every mask keeps; None where that is free.

        Raises:
            UsageError: Fewer than must stay.
        """
        n_kept = None if self.sparsity is None else layout.n - int(layout.n * self.sparsity)
        least = _least(layout)
        if (layout.n if n_kept is None else n_kept) < least:
            raise UsageError(
                f"sparsity {self.sparsity} leaves {n_kept} of {layout.n} {self.level}; at least {least} must stay."
            )
        return n_kept

    def bounds(self, layout: MaskLayout) -> tuple[int, int]:
        """Fewest and most places of a mask."""
        n_kept = self.n_kept(layout)
        return (n_kept, n_kept) if n_kept else (max(_least(layout), round(_FREE_LEAST * layout.n)), layout.n)


def _least(layout: MaskLayout) -> int:
    return max(len(layout.sizes) * layout.least, 1)


@option_group
class JudgingOptions:
    """What masks are judged by: which weights they are put on, after which training, on which images.

    Args:
        epochs: Epochs of training behind the weights that masks are judged on; 0 judges the initial ones.
        weights: Judge the weights as they are (given), or their sign times the layer's standard deviation (signed).
        loss: What is minimised: cross-entropy of scaled logits (scaled), of raw ones (cross-entropy), or the error; by
            default scaled, and of a workload its own loss. The error of a workload is that of its first metric.
        train_steps: Steps of training of each masked network before it is judged; 0 for none.
        n_images: Images of it that masks are judged on, the first so many.
        resample: Generations after which others are drawn, from the search split; 0 for never. The last population is
            then judged once more on the whole split.
        images_from: Draw them from the search split, or from the training images (train).
    """

    epochs: Annotated[int, Range(0, EPOCHS.high)] = 0
    weights: Literal["given", "signed"] = "given"
    loss: Loss | None = None
    train_steps: Annotated[int, Range(0, 1_000_000)] = 0
    n_images: Count = 2000
    resample: Annotated[int, Range(0, COUNT.high)] = 0
    images_from: Literal["search", "train"] = "search"

    def pool(self, work: Workload) -> Examples:
        """The examples that those of a mask are drawn from."""
        return work.train if self.images_from == "train" else work.search


@option_group
class MoveOptions:
    """How masks begin and change.

    Args:
        start: First masks: random, or those of a criterion and its surroundings: random, magnitude, magsign, lth, snip,
            grasp, synflow, or any other that `references` takes.
        largest_move: Places that a full step exchanges, as a share of those kept; annealing's
            steps are shares of that. By default 0.02 of the weights and 0.2 of the filters; the thesis begins with 1.
        guided: Whether swaps guided by the objective's slope are among the moves.
        slope_images: Images that a slope is taken on, others for each mask, from where `images_from` says; 0 for those
            that masks are judged on.
        renew: Accepted moves between two slopes.
        pressure: Most candidates that a guided move draws for each place that it takes.
        momentum: Share of the old slope that a new one keeps.
    """

    start: str = "random"
    largest_move: Annotated[float, Range(0.0, 1.0, is_above=True)] | None = None
    guided: bool = True
    slope_images: Annotated[int, Range(0, COUNT.high)] = 1000
    renew: Count = 1
    pressure: Annotated[float, Range(1.0, 1e9)] = 64.0
    momentum: Annotated[float, Range(0.0, 1.0, is_below=True)] = 0.9

    def __post_init__(self) -> None:
        check_criterion(self.start)

    def guided_swap(
        self, layout: MaskLayout, largest: int, slope: Callable[[MaskGenome], np.ndarray], stamp: Callable[[], int]
    ) -> GuidedSwap:
        """The move that follows the slope of the objective, of at most `largest` places; see `GuidedSwap`."""
        return GuidedSwap(
            layout, largest, slope, stamp, renew=self.renew, pressure=self.pressure, momentum=self.momentum
        )

    def largest(self, level: Level, layout: MaskLayout, n_kept: int | None) -> int:
        """Places that a full step exchanges; where masks keep `n_kept`, no more than there are on either side."""
        share = self.largest_move or (0.02 if level == "weights" else 0.2)
        most = layout.n if n_kept is None else min(n_kept, layout.n - n_kept)
        return max(1, round(share * most))


@option_group
class CriteriaOptions:
    """Masks of known criteria, beside the search's and at its start.

    Args:
        references: Criteria whose masks stand beside the result, separated by commas; all, or none.
        scope: How criteria compare layers: all scores together, the same share of each layer, or scores divided by
            their layer's mean.
        final_epochs: Epochs of the training to the final weights that criteria look at; by default 10, and none of a
            workload, whose network is trained.
        lottery_epochs: Epochs of each round of the criterion lth.
    """

    references: str = "random,magnitude,magsign,snip,grasp,synflow"
    scope: MaskScope = "global"
    final_epochs: Epochs | None = None
    lottery_epochs: Epochs = 3

    def __post_init__(self) -> None:
        self.names()

    def names(self) -> list[str]:
        """The criteria of `references`.

        Raises:
            UsageError: One that is none.
        """
        return named_criteria(self.references)

    def n_final_epochs(self, work: Workload) -> int:
        """Epochs to the final weights; 0 where the network is trained."""
        if self.final_epochs is None:
            return _FINAL_EPOCHS if work.dataset is not None else 0
        return self.final_epochs

    def that_fit(self, misfit: Callable[[str], str], *, start: str) -> tuple[list[str], dict[str, str]]:
        """References that can be had, and reasons why the others cannot.

        Args:
            misfit: Why a criterion says nothing of the network, or "".
            start: The criterion that the search begins with, or random.

        Raises:
            UsageError: The start, or one that was asked for by its name, cannot be had.
        """
        misfits = {name: misfit(name) for name in self.names()}
        asked = [] if self.references in (CriteriaOptions.references, "all") else list(misfits)
        for name in asked if start == "random" else [*asked, start]:
            if reason := misfit(name):
                raise UsageError(f"criterion {name} {reason}")
        left_out = {name: reason for name, reason in misfits.items() if reason}
        return [name for name in misfits if name not in left_out], left_out


def layers_of(work: Workload) -> Compressible:
    """The layers of a workload's network whose single weights may be masked."""
    with work.undisturbed(work.network):
        return compressible_layers(work.network, work.train.subset(slice(0, SEEN)).inputs)


def training_plan(work: Workload, judging: JudgingOptions, criteria: CriteriaOptions, *, seed: int) -> TrainingPlan:
    """How networks of a workload are trained.

    Args:
        work: The network and its examples.
        judging: Which weights are judged.
        criteria: What else trains.
        seed: Of trainings.

    Raises:
        UsageError: Something is to be trained, and the workload does not say how.
    """
    if work.dataset is not None:
        schedule = _schedule(work.dataset, max(criteria.n_final_epochs(work), judging.epochs))
        return ScheduledTraining(work.dataset, schedule, seed, work.picked)
    asked = {
        "epochs": judging.epochs,
        "train_steps": judging.train_steps,
        "final_epochs": criteria.final_epochs,
        "lottery_epochs": criteria.lottery_epochs != CriteriaOptions.lottery_epochs,
    }
    for option in (name for name, is_asked in asked.items() if is_asked):
        recipe = needed_recipe(work, f"--problem.{option}")
        if option == "train_steps" and recipe.train is not None:
            raise UsageError("--problem.train_steps counts steps, and the workload's recipe is a function of its own")
    return RecipeTraining(work, work.recipe, seed)


def _schedule(dataset: Dataset, epochs: int) -> Schedule:
    # a small set needs small batches, or its epochs are too few steps
    batch_size = min(128, max(10, len(dataset.train) // 100))
    return Schedule.in_thirds(epochs, lr=0.1 if batch_size == 128 else 0.05, batch_size=batch_size)
