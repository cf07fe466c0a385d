"""EComp's options: the parent, its comparison with its children, their variation, their refit."""

from __future__ import annotations

from typing import Annotated, Literal

from opt.console.option_groups import option_group
from opt.console.ranges import Epochs, Range, Seed, Share
from problems.networks.embeddings.dissimilarity import SimilarityName
from problems.similarity.batch import RefitTarget

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
    """

    parent: str | None = None
    hidden: Annotated[int, Range(1, 10_000)] | None = None
    parent_epochs: Epochs = 20
    parent_seed: Seed = 0


@option_group
class ComparisonOptions:
    """What candidates are judged by.

    Args:
        similarity: Loss between hidden representations: Gaussian or Student-t neighbourhoods; the published loss of
            whole distance matrices (distance); or the same over pairs of points alone (pair-distance).
        perplexity: Effective number of neighbours in the neighbourhoods.
        similarity_points: Search images whose representations are compared.
        size: What the size objective counts, as a fraction of the parent's; width is the mean over layers.
        batch_size: Search images a generation, another batch each time, as published; by default all of them always.
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
        refit_target: What the output layer is refitted to: the parent's logits, labels, or logits corrected
            where the parent is wrong (mixture).
        n_refit: Training images that refit and greedy seeds use.
        finetune_steps: Gradient steps on training images for the solutions of the final front; the search has none.
    """

    refit: bool = True
    refit_target: RefitTarget = "mixture"
    n_refit: Annotated[int, Range(10, 10**9)] = 20_000
    finetune_steps: Annotated[int, Range(0, 1_000_000)] = 0
