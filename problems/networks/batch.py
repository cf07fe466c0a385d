"""Populations of networks evaluated together: refitted, run on images, and compared with their parent."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
import torch
from torch import Tensor

from operators.networks import NetworkGenome, ParentNetwork
from operators.networks.genome import inherited_corner
from problems.networks.refit import Moments, solve
from problems.networks.similarity import SIMILARITIES, Similarity

SimilarityName = Literal["gaussian", "student", "distance"]
RefitTarget = Literal["mixture", "logits", "labels"]

# Networks whose embeddings are held at once.
_CHUNK = 64
# Weight of the parent's mistakes in the mixture target; measured best of 2, 5, 10, 20 on held-out images.
_CORRECTION = 5.0


@dataclass(frozen=True, slots=True)
class Phenotype:
    """A network's arrays, ready to run.

    Args:
        first_ids: The neurons of the parent's first layer that this network's first layer is cut
            from, or None when `weights[0]` and `biases[0]` hold it whole.
        weights: One (n_out, n_in) tensor per linear layer. Where `first_ids` is given, `weights[0]` is what must be
            added to the top-left corner of the parent's rows: (r, c), or empty where nothing changed.
        biases: One (n_out,) tensor per linear layer; `biases[0]` likewise.
        widths: Neurons per hidden layer.
    """

    first_ids: Tensor | None
    weights: tuple[Tensor, ...]
    biases: tuple[Tensor, ...]
    widths: tuple[int, ...]


def inherited(genome: NetworkGenome, network: ParentNetwork) -> Phenotype:
    """The phenotype that holds exactly the genome's own weights."""
    ids, weight, bias = genome.ids[0], genome.weights[0], genome.biases[0]
    # A full explicit matrix is multiplied as it is; a corner costs less as a correction of the parent's activations.
    is_cut = weight is None or 2 * weight.size < ids.size * network.n_inputs
    if is_cut:
        first_weight = (
            _EMPTY if weight is None else _tensor(weight - inherited_corner(genome.ids, 0, network, *weight.shape))
        )
        first_bias = _EMPTY if bias is None else _tensor(bias - network.biases[0][ids[: bias.size]])
    else:
        first_weight, first_bias = map(_tensor, genome.layer(0, network))
    layers = [tuple(map(_tensor, genome.layer(k, network))) for k in range(1, len(genome.weights))]
    return Phenotype(
        first_ids=torch.from_numpy(ids.astype(np.int64)) if is_cut else None,
        weights=(first_weight, *(weight for weight, _ in layers)),
        biases=(first_bias, *(bias for _, bias in layers)),
        widths=genome.widths,
    )


class ImageTable:
    """One set of images with the activations of the parent's first layer, which networks look up.

    Activations are held neuron by neuron, (n_neurons, n_images): a network's first layer is then a
    choice of rows.

    Args:
        network: The parent.
        images: (n_images, n_inputs) float32.
        labels: (n_images,) int64.
    """

    def __init__(self, network: ParentNetwork, images: Tensor, labels: Tensor) -> None:
        if images.ndim != 2 or images.shape[1] != network.n_inputs:
            raise ValueError(f"images must have shape (n, {network.n_inputs}), got {tuple(images.shape)}.")
        self.network = network
        self.images = images.float()
        self.labels = labels.long()
        weight, bias = _tensor(network.weights[0]), _tensor(network.biases[0])
        self.first_linear = _affine(weight, self.images.T, bias)
        self.first = self.first_linear.relu()

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.images)

    def part(self, start: int, stop: int) -> ImageTable:
        """The table of images start..stop-1, sharing this one's memory."""
        table = object.__new__(ImageTable)
        table.network = self.network
        table.images, table.labels = self.images[start:stop], self.labels[start:stop]
        table.first, table.first_linear = self.first[:, start:stop], self.first_linear[:, start:stop]
        return table

    def first_layer(self, phenotype: Phenotype, out: Tensor | None = None) -> Tensor:
        """(width, n_images) activations of a network's first hidden layer."""
        weight, bias = phenotype.weights[0], phenotype.biases[0]
        if phenotype.first_ids is None:
            return _affine(weight, self.images.T, bias, out).relu_()
        if not weight.numel() and not bias.numel():
            return torch.index_select(self.first, 0, phenotype.first_ids, out=out)
        layer = torch.index_select(self.first_linear, 0, phenotype.first_ids, out=out)
        if weight.numel():
            layer[: weight.shape[0]].addmm_(weight, self.images[:, : weight.shape[1]].T)
        layer[: len(bias)] += bias[:, None]
        return layer.relu_()

    def forward(self, phenotype: Phenotype, out: Sequence[Tensor] | None = None) -> tuple[list[Tensor], Tensor]:
        """Run one network.

        Args:
            phenotype: The network.
            out: One contiguous (width, n_images) tensor per hidden layer to write its activations to.

        Returns:
            Activations of the hidden layers, (width, n_images) each, and logits (n_outputs, n_images).
        """
        places: Sequence[Tensor | None] = out or [None] * len(phenotype.widths)
        hidden = [self.first_layer(phenotype, places[0])]
        for weight, bias, place in zip(phenotype.weights[1:-1], phenotype.biases[1:-1], places[1:], strict=True):
            hidden.append(_affine(weight, hidden[-1], bias, place).relu_())
        return hidden, _affine(phenotype.weights[-1], hidden[-1], phenotype.biases[-1])


class Measurement:
    """Error and dissimilarity of networks on one image table.

    Args:
        table: The images, of which the first `n_points` are the points of the dissimilarity.
        n_points: Number of points, at least 3.
        similarity: Name of the loss.
        perplexity: Perplexity of the losses that have one.
    """

    def __init__(self, table: ImageTable, *, n_points: int, similarity: SimilarityName, perplexity: float) -> None:
        self.table = table
        self.n_points = min(n_points, table.n_images)
        parent = inherited(table.network.genome(), table.network)
        hidden, _ = table.part(0, self.n_points).forward(parent)
        losses = [_similarity(similarity, layer.T, perplexity) for layer in hidden]
        self._losses: list[Similarity] = losses

    def __call__(self, phenotypes: Sequence[Phenotype]) -> tuple[np.ndarray, np.ndarray]:
        """Measure n networks.

        Args:
            phenotypes: The networks.

        Returns:
            (n,) fractions of images that are classified wrongly and (n,) dissimilarities to the
            parent, summed over the hidden layers; float64.
        """
        parts = [self._measure(phenotypes[start : start + _CHUNK]) for start in range(0, len(phenotypes), _CHUNK)]
        if not parts:
            return np.empty(0), np.empty(0)
        return np.concatenate([error for error, _ in parts]), np.concatenate([loss for _, loss in parts])

    def _measure(self, phenotypes: Sequence[Phenotype]) -> tuple[np.ndarray, np.ndarray]:
        table, n = self.table, len(phenotypes)
        widths = torch.tensor([phenotype.widths for phenotype in phenotypes])
        points = [torch.zeros(n, int(widths[:, k].max()), self.n_points) for k in range(len(self._losses))]
        # All images are points: activations go to their place among the others at once.
        is_direct = self.n_points == table.n_images
        wrong = torch.empty(n, dtype=torch.int64)
        for i, phenotype in enumerate(phenotypes):
            places = [padded[i, :width] for padded, width in zip(points, phenotype.widths, strict=True)]
            hidden, logits = table.forward(phenotype, places if is_direct else None)
            wrong[i] = (logits.argmax(dim=0) != table.labels).sum()
            if not is_direct:
                for place, layer in zip(places, hidden, strict=True):
                    place.copy_(layer[:, : self.n_points])
        dissimilarity = torch.zeros(n, dtype=torch.float64)
        for k, (loss, padded) in enumerate(zip(self._losses, points, strict=True)):
            dissimilarity += loss(padded.transpose(1, 2), widths=widths[:, k])
        return wrong.double().numpy() / table.n_images, dissimilarity.numpy()


def as_arrays(
    phenotype: Phenotype, genome: NetworkGenome, network: ParentNetwork
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """The phenotype's weights and biases as float32 arrays, one pair per linear layer."""
    weights = [weight.numpy() for weight in phenotype.weights]
    biases = [bias.numpy() for bias in phenotype.biases]
    if phenotype.first_ids is not None:
        weights[0], biases[0] = genome.layer(0, network)
    return weights, biases


def classify(table: ImageTable, phenotype: Phenotype) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in nats of one network on a table's images."""
    _, logits = table.forward(phenotype)
    loss = torch.nn.functional.cross_entropy(logits.T, table.labels)
    return float((logits.argmax(dim=0) == table.labels).double().mean()), float(loss)


class LeastSquaresRefit:
    r"""Rewrites the layers behind a network's first hidden layer by least squares, without gradient steps.

    A hidden layer's neurons are fitted to what the same neurons of the parent compute before their
    ReLU, from the activations that are left:  min_W ||W [A; 1] - Z||^2 + ridge ||W||^2. As layer 2
    of every network sees a subset of the parent's first-layer activations, its normal equations are
    a submatrix of one Gram matrix, computed once; it costs only a solve. The output layer is fitted
    to `target`.

    Args:
        table: Images that the refit may use: training images.
        target: "logits", the parent's; "labels", one-hot; "mixture", logits + 5 (one-hot - softmax(logits)): the
            parent's logits, pushed where it is wrong.
    """

    def __init__(self, table: ImageTable, *, target: RefitTarget = "mixture") -> None:
        self.table = table
        self.network = table.network
        parent = inherited(self.network.genome(), self.network)
        hidden, logits = table.forward(parent)
        labels = torch.nn.functional.one_hot(table.labels, self.network.n_outputs).T.float()
        targets = {
            "logits": lambda: logits,
            "labels": lambda: labels,
            "mixture": lambda: logits + _CORRECTION * (labels - logits.softmax(dim=0)),
        }
        if target not in targets:
            raise ValueError(f"target must be one of {sorted(targets)}, got {target!r}.")
        # What layer k > 0 is fitted to: the parent's pre-activations, and the target at the end.
        self._targets = [
            _affine(weight, below, bias)
            for weight, bias, below in zip(parent.weights[1:-1], parent.biases[1:-1], hidden[:-1], strict=True)
        ]
        self._targets.append(targets[target]())
        self._first_moments = _moments(hidden[0], self._targets[0])

    def __call__(self, genome: NetworkGenome) -> Phenotype:
        """The genome's network with every layer but the first refitted."""
        phenotype = inherited(genome, self.network)
        weights, biases = [phenotype.weights[0]], [phenotype.biases[0]]
        activations = self.table.first_layer(phenotype)
        last = len(self._targets)
        for k, target in enumerate(self._targets, start=1):
            neurons = None if k == last else genome.ids[k].astype(np.int64)
            if k == 1 and phenotype.first_ids is not None:
                weight, bias = solve(self._first_moments, genome.ids[0], outputs=neurons)
            else:
                goal = target if neurons is None else target[torch.from_numpy(neurons)]
                weight, bias = solve(_moments(activations, goal), np.arange(len(activations)))
            weights.append(torch.from_numpy(weight).float())
            biases.append(torch.from_numpy(bias).float())
            if k < last:
                activations = _affine(weights[-1], activations, biases[-1]).relu_()
        return Phenotype(phenotype.first_ids, tuple(weights), tuple(biases), genome.widths)


def greedy_rankings(table: ImageTable, *, target: RefitTarget = "mixture") -> list[np.ndarray]:
    """Neurons of each hidden layer of the parent in the order of greedy least squares.

    Each step takes the neuron whose addition lowers most the squared error of predicting, linearly,
    what the next layer computes (before its ReLU; the refit's target after the last hidden layer).

    Args:
        table: Training images.
        target: The refit's target.

    Returns:
        One permutation of the neurons per hidden layer, most useful first.

    Source: orthogonal least squares, Chen, Billings and Luo 1989, doi:10.1080/00207178908953472.
    """
    refit = LeastSquaresRefit(table, target=target)
    hidden, _ = table.forward(inherited(table.network.genome(), table.network))
    return [_forward_selection(layer, goal) for layer, goal in zip(hidden, refit._targets, strict=True)]


def _forward_selection(activations: Tensor, target: Tensor) -> np.ndarray:
    a = (activations - activations.mean(dim=1, keepdim=True)).numpy().astype(np.float64)
    t = (target - target.mean(dim=1, keepdim=True)).numpy().astype(np.float64)
    gram, cross = a @ a.T, a @ t.T
    floor = 1e-6 * gram.trace() / len(gram) + np.finfo(float).tiny
    order: list[int] = []
    for _ in range(len(gram)):
        residual = gram.diagonal()
        # Error that the neuron would take away; nearly dependent neurons come last, in their order.
        gain = np.where(residual > floor, (cross**2).sum(axis=1) / (residual + floor), -1.0)
        gain[order] = -2.0
        k = int(np.argmax(gain))
        order.append(k)
        column, row, pivot = gram[:, k].copy(), cross[k].copy(), gram[k, k] + floor
        gram = gram - np.outer(column, column / pivot)
        cross = cross - np.outer(column, row / pivot)
    return np.array(order)


def _moments(activations: Tensor, target: Tensor) -> Moments:
    """Normal equations of fitting targets (t, n) from activations (h, n) and a constant.

    Sums in float32, twice as fast as float64; the ridge is far above its rounding.
    """
    augmented = torch.cat([activations, torch.ones(1, activations.shape[1])])
    gram, cross = augmented @ augmented.T, augmented @ target.T
    # A neuron that is zero on every image would make the system singular.
    gram.diagonal()[:-1].add_(1e-7 * activations.shape[1])
    return Moments(gram.double().numpy(), cross.double().numpy(), activations.shape[1])


def _affine(weight: Tensor, activations: Tensor, bias: Tensor, out: Tensor | None = None) -> Tensor:
    return torch.addmm(bias[:, None], weight, activations, out=out)


def _tensor(array: np.ndarray) -> Tensor:
    """A tensor on the array's memory, for reading only: genomes are immutable."""
    return torch.from_numpy(array)


def _silence_read_only_warning() -> None:
    """Torch warns once per process about a tensor on read-only memory, which is never written here."""
    array = np.zeros(1, dtype=np.float32)
    array.flags.writeable = False
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(array)


def _similarity(name: SimilarityName, embeddings: Tensor, perplexity: float) -> Similarity:
    loss = SIMILARITIES.get(name)
    if loss is None:
        raise ValueError(f"similarity must be one of {sorted(SIMILARITIES)}, got {name!r}.")
    if name == "distance":
        return loss(embeddings)
    return cast(type, loss)(embeddings, perplexity=perplexity)


_EMPTY = torch.empty(0)
_silence_read_only_warning()
