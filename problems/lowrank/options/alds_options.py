"""ALDS' options: the network, its decomposition, what judges it, its retraining, the rivals beside it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import nn

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.ranges import Count, Range
from problems.data.examples import ImageExamples
from problems.data.sets.example_set import ExampleSet
from problems.lowrank.calibration import Compensation
from problems.lowrank.choices import Size
from problems.lowrank.goals import Goal
from problems.lowrank.layer_matrices import Scheme
from problems.lowrank.retraining.retraining import OWN_SCHEDULE, FurtherTraining, Retraining, RetrainingByRecipe
from problems.lowrank.spectra import Measure
from problems.networks.training.descent import Precision
from problems.workloads.further_training import needed_recipe
from problems.workloads.network_options import TrainedNetworkOptions
from problems.workloads.trained_networks import schedule_of, trained
from problems.workloads.workload import Workload


@option_group
class DecomposedNetworkOptions(TrainedNetworkOptions):
    """The network that is decomposed.

    Args:
        precision: Of trainings: float32, or bfloat16, which takes half the time where the processor has it.
    """

    FORMER_NETWORKS: ClassVar[Mapping[str, str]] = {
        "lenet5": "lenet-5-padded",
        "resnet20": "resnet-20",
        "vgg": "vgg-small",
    }

    network: str = "lenet-5-padded"
    precision: Precision = "float32"

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The network, trained or read, in evaluation mode; its weights are fixed.

        Raises:
            UsageError: As `trained`.
        """
        network = trained(
            self.network,
            data,
            seed=self.network_seed,
            epochs=self.epochs,
            checkpoint=self.checkpoint,
            precision=self.precision,
        )
        return network.requires_grad_(False)

    @classmethod
    def of_former(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names of now; epochs were of a user's own network alone."""
        present = super().of_former(recorded)
        if recorded.get("network") in cls.FORMER_NETWORKS and recorded.get("model") is None:
            present["epochs"] = None
        return present


@option_group
class DecompositionOptions:
    """How layers are decomposed, and by what error they are compared.

    Args:
        layers: Layers to decompose, shell patterns of names separated by commas; by default all that can be.
        measure: Error of a layer: the paper's (spectral), times sqrt(k), the true residual's, Frobenius, nuclear, or
            that of its outputs on calibration examples (data); the last also chooses the factors.
        schemes: How a kernel is shared between the factors: wholly in the first (spatial, as in the paper), or any
            of the four ways (all).
        compensation: What the calibration examples, without targets, give back to a decomposed network: nothing, its
            batch-norm statistics, or these and each decoder's least-squares fit to the original's outputs (refit).
        n_calibration: Training examples for what is measured on data.
    """

    layers: str | None = None
    measure: Measure = "spectral"
    schemes: Literal["spatial", "all"] = "spatial"
    compensation: Compensation = "none"
    n_calibration: Annotated[int, Range(2, 10**9)] = 512

    def __post_init__(self) -> None:
        if self.measure == "data" and self.schemes == "all":
            raise UsageError("measure data knows the spatial scheme only; leave schemes at spatial, or take frobenius")

    @property
    def numbers(self) -> tuple[Scheme, ...]:
        """The schemes by number."""
        return (0, 1, 2, 3) if self.schemes == "all" else (0,)


@option_group
class JudgingOptions:
    """What a search sees of a decomposed network.

    Args:
        goal: What a search sees beside the size: the largest relative error of a layer (bound), the decomposed
            network's share of wrong answers on the search split (accuracy; of a workload its first metric), its
            cross-entropy there (loss, or the workload's; on few examples it tells networks apart where shares of wrong
            answers tie or differ by chance), or bound and accuracy (both).
        size: Second objective: parameters, multiply-adds (macs) or bytes kept, or parameters and multiply-adds (both).
        budget: Largest size, as a fraction of the network (the first of two sizes); by default none.
    """

    goal: Goal = "bound"
    size: Literal["parameters", "macs", "bytes", "both"] = "parameters"
    budget: Annotated[float, Range(0.0, is_above=True)] | None = None

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The sizes that are objectives."""
        return ("parameters", "macs") if self.size == "both" else (self.size,)


@option_group
class RetrainingOptions:
    """How every network is trained further before it is judged.

    Args:
        retrain: Epochs that every network is trained further before it is judged, the end of its training schedule, or
            by the workload's recipe; 0 for none. Rival methods are retrained alike.
        n_retrain: Training examples for it, the first of them; by default all.
    """

    retrain: Annotated[float, Range(0.0)] = 0.0
    n_retrain: Count | None = None

    def of(self, network: DecomposedNetworkOptions, workload: Workload) -> FurtherTraining | None:
        """The retraining of what is made from a network; None where there is none.

        A network on images is trained to the end of its schedule, another and a workload of the user's by its recipe.

        Raises:
            UsageError: It is longer than the training's schedule; or the workload has no recipe.
        """
        if not self.retrain:
            return None
        if not isinstance(workload.train, ImageExamples):
            recipe = needed_recipe(workload, "--problem.retrain")
            if self.retrain != int(self.retrain):
                raise UsageError(f"retrain must be whole epochs of the workload's recipe, got {self.retrain}")
            return RetrainingByRecipe(
                workload.network, workload, recipe, int(self.retrain), network.network_seed, n_examples=self.n_retrain
            )
        images = workload.train.split
        schedule = schedule_of(network.network, len(images)) or OWN_SCHEDULE
        if not 0 < self.retrain <= schedule.epochs:
            raise UsageError(
                f"retrain must lie between 0 and the schedule's {schedule.epochs} epochs, got {self.retrain}"
            )
        used = images if self.n_retrain is None else images.subset(slice(0, self.n_retrain))
        start = schedule.epochs - self.retrain
        return Retraining(workload.network, used, schedule, start, network.network_seed, precision=network.precision)


@option_group
class RivalOptions:
    """Which known methods stand beside the search.

    Args:
        rivals: Whether rival methods stand beside the front: uniform SVD, one energy for all layers, PCA, L-Rank; and,
            where accuracy is searched, filters by norm (FT), PFP and weights by magnitude.
        rival_budgets: Points of each rival's curve.
    """

    rivals: bool = True
    rival_budgets: Annotated[int, Range(1, 1000)] = 8

    @property
    def n(self) -> int:
        """Points of each rival's curve; 0 for no rivals."""
        return self.rival_budgets if self.rivals else 0
