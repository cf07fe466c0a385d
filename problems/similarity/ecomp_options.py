"""EComp's options: the parent, its comparison with its children, their variation, their refit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from torch import nn

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.ranges import Range, Share
from opt.files.cache_folder import in_home
from problems.data.sets.data_options import DataOptions
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.fully_connected import FullyConnected, load_fully_connected
from problems.networks.architectures.named_networks import MLP, build_network
from problems.networks.embeddings.dissimilarity import SimilarityName
from problems.similarity.least_squares import RefitTarget
from problems.similarity.parent_chain import parent_chain
from problems.workloads.network_options import TrainedNetworkOptions
from problems.workloads.of_dataset import workload_of
from problems.workloads.trained_networks import trained
from problems.workloads.workload import Workload

Size = Literal["parameters", "width", "macs", "bytes"]
Initial = Literal["mixed", "l1", "widths", "greedy", "random"]


@option_group
class ParentOptions(TrainedNetworkOptions):
    """The trained network whose neurons every candidate's descend from.

    Args:
        network: The parent, mlp-W-W of any widths; by default mlp-64-64 on digits, else mlp-256-256.
        epochs: At most so many epochs of its training; by default 20.
        device: Where network and examples lie: the processor, cpu.
    """

    FORMER: ClassVar[Mapping[str, str]] = {
        "parent": "checkpoint",
        "hidden": "network mlp-W-W",
        "parent_epochs": "epochs",
        "parent_seed": "network_seed",
    }

    network: str | None = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.device != "cpu":
            raise UsageError(
                f"networks are evaluated as arrays on the processor; leave out --problem.device, got {self.device}"
            )

    def workload_on(self, data: DataOptions) -> Workload:
        """The user's own workload, or a parent on the data set; on the processor.

        Raises:
            UsageError: It cannot be had, or is asked in two ways.
        """
        workload = super().workload_on(data)
        return workload if workload.device.type == "cpu" else workload.to("cpu")

    def name_on(self, data: ExampleSet) -> str:
        """The parent's name on a data set."""
        return self.network or ("mlp-64-64" if data.name == "digits" else "mlp-256-256")

    def network_on(self, data: ExampleSet) -> nn.Module:
        """The parent, trained or read, in evaluation mode.

        Raises:
            UsageError: It cannot be had, or does not fit the data.
        """
        if self.checkpoint is not None and self.network is None:
            path = in_home(self.checkpoint)
            return checked_parent(load_fully_connected(path), self.checkpoint, data).eval()
        name = self.name_on(data)
        if MLP.fullmatch(name) is None:  # a network that is no chain of linear layers is refused before it is trained
            parent_chain(workload_of(build_network(name, data, seed=self.network_seed), data))
        return trained(
            name, data, seed=self.network_seed, epochs=self.epochs, checkpoint=self.checkpoint
        )  # fmt: skip

    @classmethod
    def of_former(cls, recorded: dict[str, Any]) -> dict[str, Any]:
        """Recorded options under the names of now."""
        present = dict(recorded)
        if "hidden" in recorded:
            width = present.pop("hidden")
            present["network"] = None if width is None else f"mlp-{width}-{width}"
        if present.get("parent") is not None:  # its widths are in its file, and it was not trained
            present |= {"network": None, "parent_epochs": None}
        names = {"parent": "checkpoint", "parent_epochs": "epochs", "parent_seed": "network_seed"}
        return {names.get(name, name): value for name, value in present.items()}


def checked_parent(model: FullyConnected, path: str, data: ExampleSet) -> FullyConnected:
    """A parent of a file, whose widths are its own.

    Raises:
        UsageError: It does not fit the data.
    """
    n_inputs, n_outputs = model.widths[0], model.widths[-1]
    if n_inputs != math.prod(data.input_shape) or n_outputs != data.n_outputs or not model.hidden_widths:
        raise UsageError(
            f"parent {path} maps {n_inputs} inputs to {n_outputs} classes through hidden layers {model.hidden_widths}, "
            f"but {data.name} has {math.prod(data.input_shape)} inputs and {data.n_outputs} classes; check checkpoint "
            "and data."
        )
    return model


@option_group
class ComparisonOptions:
    """What candidates are judged by.

    Args:
        similarity: Loss between hidden representations: Gaussian or Student-t neighbourhoods; the published loss of
            whole distance matrices (distance); or the same over pairs of points alone (pair-distance).
        perplexity: Effective number of neighbours in the neighbourhoods.
        similarity_points: Search examples whose representations are compared.
        size: What the size objective counts, as a fraction of the parent's; width is the mean over layers.
        batch_size: Search examples a generation, another batch each time, as published; by default all of them always.
    """

    similarity: SimilarityName = "gaussian"
    perplexity: Annotated[float, Range(1.0, is_above=True)] = 30.0
    similarity_points: Annotated[int, Range(3, 20_000)] = 256
    size: Size = "parameters"
    batch_size: Annotated[int, Range(3, 10**9)] | None = None


@option_group
class VariationOptions:
    """How candidates begin and change.

    Args:
        crossover: Neuron by neuron (aligned), or the published exchange of matrix corners (block).
        mutation: Neurons removed, inserted and exchanged (neurons), or the published weight noise (noise).
        merge: Share of moves of the neurons mutation that merge neurons; refitted layers gain nothing from it.
        initial: First population: L1-pruned at one rate for all layers (l1, as published) or with separate
            widths (widths), in the order of greedy least squares (greedy), random neurons (random), or the
            last three in turn (mixed).
        smallest: Smallest width of a layer, as a fraction of the parent's; not for l1, block and noise.
    """

    crossover: Literal["aligned", "block"] = "aligned"
    mutation: Literal["neurons", "noise"] = "neurons"
    merge: Share = 0.0
    initial: Initial = "mixed"
    smallest: Annotated[float, Range(1e-6, 1.0)] = 0.03


@option_group
class RefitOptions:
    """What the layers behind the remaining neurons are given back.

    Args:
        refit: Whether the layers behind the first are refitted by least squares.
        refit_target: What the output layer is refitted to: the parent's logits, the targets (labels), or logits
            corrected where the parent is wrong (mixture).
        n_refit: Training examples that refit and greedy seeds use.
        finetune_steps: Gradient steps on training examples for the solutions of the final front; the search has none.
    """

    refit: bool = True
    refit_target: RefitTarget = "mixture"
    n_refit: Annotated[int, Range(10, 10**9)] = 20_000
    finetune_steps: Annotated[int, Range(0, 1_000_000)] = 0
