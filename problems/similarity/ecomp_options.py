"""EComp's options: the parent, its comparison with its children, their variation, their refit."""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

from opt.console.errors import UsageError
from opt.console.option_groups import option_group
from opt.console.parameters import ArgumentsOf
from opt.console.ranges import Epochs, Range, Seed, Share
from opt.files.cache_folder import in_home
from problems.data.data import Dataset
from problems.data.data_options import SearchDataOptions
from problems.networks.architectures.fully_connected import FullyConnected, load_fully_connected
from problems.networks.embeddings.dissimilarity import SimilarityName
from problems.similarity.least_squares import RefitTarget
from problems.workloads.of_dataset import workload_of
from problems.workloads.own_workload import own_workload, workload_function
from problems.workloads.parents import trained_parent
from problems.workloads.workload import Workload

_OF_BOTH = ("workload", "workload_arguments", "parent_seed")
"""Options of a parent that a workload of the user's knows too."""

Size = Literal["parameters", "width", "macs", "bytes"]
Initial = Literal["mixed", "l1", "widths", "greedy", "random"]


@option_group
class ParentOptions:
    """The trained network whose neurons every candidate's descend from.

    Args:
        parent: Trained network to compress, a safetensors checkpoint; by default one is trained and kept.
        hidden: Width of both hidden layers of a parent that is trained; by default 64 on digits, else 256.
        parent_epochs: At most so many epochs of training for the parent.
        parent_seed: Seed of the parent's weights and training.
        workload: Network, data, loss and metrics of your own in place of all these: FILE.py:NAME or package.module:NAME
            of a `Workload` or a function that returns one. Arguments of the function are options of their own,
            --problem.workload.NAME; --help shows them beside it.
        workload_arguments: The same arguments together, as a mapping by name.
    """

    parent: str | None = None
    hidden: Annotated[int, Range(1, 10_000)] | None = None
    parent_epochs: Epochs = 20
    parent_seed: Seed = 0
    workload: Annotated[Any, ArgumentsOf(workload_function, "workload_arguments")] = None
    workload_arguments: dict[str, Any] | None = None

    def workload_on(self, data: SearchDataOptions) -> Workload:
        """The user's own workload, or a parent on the data set.

        Raises:
            UsageError: It cannot be had, or is asked in two ways.
        """
        if self.workload is None:
            if self.workload_arguments:
                raise UsageError("workload_arguments are for a function that workload names; give that too")
            dataset = data.load()
            return workload_of(self.load(dataset), dataset)
        for group in (self, data):
            for field in dataclasses.fields(group):
                if field.name not in _OF_BOTH and getattr(group, field.name) != field.default:
                    raise UsageError(f"a workload brings its own network and data; leave out --problem.{field.name}")
        workload = own_workload(self.workload, seed=self.parent_seed, arguments=self.workload_arguments)
        # networks are evaluated as numpy's arrays, which lie on the processor
        return workload if workload.device.type == "cpu" else workload.to("cpu")

    def load(self, dataset: Dataset) -> FullyConnected:
        """The network to compress: read, or trained and kept.

        Raises:
            UsageError: It cannot be read, or does not fit the data.
        """
        if self.parent is not None:
            return _checked_parent(load_fully_connected(in_home(self.parent)), self.parent, dataset)
        width = self.hidden or (64 if dataset.name == "digits" else 256)
        model, _ = trained_parent(
            dataset,
            widths=(width, width),
            seed=self.parent_seed,
            epochs=self.parent_epochs,
            # A small set needs small batches, or its epochs are too few steps.
            batch_size=min(100, max(10, len(dataset.train) // 100)),
        )
        return model


def _checked_parent(model: FullyConnected, path: str, dataset: Dataset) -> FullyConnected:
    n_inputs, n_outputs = model.widths[0], model.widths[-1]
    if n_inputs != dataset.n_inputs or n_outputs != dataset.n_classes or not model.hidden_widths:
        raise UsageError(
            f"parent {path} maps {n_inputs} inputs to {n_outputs} classes through hidden layers {model.hidden_widths}, "
            f"but {dataset.name} has {dataset.n_inputs} inputs and {dataset.n_classes} classes; check parent and data."
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
