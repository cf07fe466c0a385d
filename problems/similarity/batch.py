"""Populations of networks evaluated together: refitted, run on images, and compared with their parent.

Arrays are numpy's, not torch's: on one thread its products of small matrices are as fast, those of a
matrix with its own transpose twice as fast, and genomes are numpy arrays already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import scipy.special
import torch

from operators.networks import NetworkGenome, ParentNetwork
from operators.networks.genome import inherited_corner
from opt.console.errors import check_choice
from problems.networks.embeddings.dissimilarity import SimilarityName, similarity_to
from problems.similarity.refit import Moments, solve

RefitTarget = Literal["mixture", "logits", "labels"]

# Networks whose embeddings are held at once.
_CHUNK = 32
# Weight of the parent's mistakes in the mixture target; measured best of 2, 5, 10, 20 on held-out images.
_CORRECTION = 5.0


@dataclass(frozen=True, slots=True)
class Phenotype:
    """A network's float32 arrays, ready to run.

    Args:
        first_ids: The neurons of the parent's first layer that this network's first layer is cut
            from, or None when `weights[0]` and `biases[0]` hold it whole.
        weights: One (n_out, n_in) array per linear layer. Where `first_ids` is given, `weights[0]` is what must be
            added to the top-left corner of the parent's rows: (r, c), or None where nothing changed.
        biases: One (n_out,) array per linear layer; `biases[0]` likewise.
    """

    first_ids: np.ndarray | None
    weights: tuple[np.ndarray | None, ...]
    biases: tuple[np.ndarray | None, ...]
    widths: tuple[int, ...]


def inherited(genome: NetworkGenome, network: ParentNetwork) -> Phenotype:
    """The phenotype that holds exactly the genome's own weights."""
    ids, weight, bias = genome.ids[0], genome.weights[0], genome.biases[0]
    # A full explicit matrix is multiplied as it is; a corner costs less as a correction of the parent's activations.
    is_cut = weight is None or 2 * weight.size < ids.size * network.n_inputs
    if is_cut:
        weight = None if weight is None else weight - inherited_corner(genome.ids, 0, network, *weight.shape)
        bias = None if bias is None else bias - network.biases[0][ids]
    else:
        weight, bias = genome.layer(0, network)
    layers = [genome.layer(k, network) for k in range(1, len(genome.weights))]
    return Phenotype(
        first_ids=ids if is_cut else None,
        weights=(weight, *(weight for weight, _ in layers)),
        biases=(bias, *(bias for _, bias in layers)),
        widths=genome.widths,
    )


class ImageTable:
    """One set of images with the activations of the parent's first layer, which networks look up.

    Activations are held neuron by neuron, (n_neurons, n_images): a network's first layer is then a
    choice of rows.

    Args:
        network: The parent.
        images: (n_images, n_inputs) float32.
        labels: (n_images,) integers.
    """

    def __init__(self, network: ParentNetwork, images: np.ndarray, labels: np.ndarray) -> None:
        if images.ndim != 2 or images.shape[1] != network.n_inputs:
            raise ValueError(f"images must have shape (n, {network.n_inputs}), got {images.shape}.")
        self.network = network
        self.images = np.asarray(images, dtype=np.float32)
        self.labels = np.asarray(labels)
        self.first_linear = _affine(network.weights[0], self.images.T, network.biases[0])
        self.first = np.maximum(self.first_linear, 0.0)

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

    def first_layer(self, phenotype: Phenotype, out: np.ndarray | None = None) -> np.ndarray:
        """(width, n_images) activations of a network's first hidden layer."""
        ids, weight, bias = phenotype.first_ids, phenotype.weights[0], phenotype.biases[0]
        if ids is None:
            return _relu(_affine(weight, self.images.T, bias, out))
        is_changed = weight is not None or bias is not None
        # Without mode="clip", take copies twice to leave `out` alone on an error; ids are the parent's own.
        layer = np.take(self.first_linear if is_changed else self.first, ids, axis=0, out=out, mode="clip")
        if weight is not None:
            layer[: weight.shape[0]] += weight @ self.images[:, : weight.shape[1]].T
        if bias is not None:
            layer += bias[:, None]
        return _relu(layer) if is_changed else layer

    def forward(
        self, phenotype: Phenotype, out: Sequence[np.ndarray] | None = None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Run one network.

        Args:
            phenotype: The network.
            out: One contiguous (width, n_images) array per hidden layer to write its activations to.

        Returns:
            Activations of the hidden layers, (width, n_images) each, and logits (n_outputs, n_images).
        """
        places: Sequence[np.ndarray | None] = [None] * len(phenotype.widths) if out is None else out
        hidden = [self.first_layer(phenotype, places[0])]
        for weight, bias, place in zip(phenotype.weights[1:-1], phenotype.biases[1:-1], places[1:], strict=True):
            hidden.append(_relu(_affine(weight, hidden[-1], bias, place)))
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
        self._losses = [
            similarity_to(torch.from_numpy(np.ascontiguousarray(layer.T)), loss=similarity, perplexity=perplexity)
            for layer in hidden
        ]
        # Embeddings of one chunk, written over by the next: fresh memory costs a page fault every 4 kB.
        self._points = [np.empty(0, dtype=np.float32) for _ in hidden]

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
        widths = np.array([phenotype.widths for phenotype in phenotypes])
        points = [self._room(k, n, width) for k, width in enumerate(widths.max(axis=0).tolist())]
        # All images are points: activations go to their place among the others at once.
        is_direct = self.n_points == table.n_images
        error = np.empty(n)
        for i, phenotype in enumerate(phenotypes):
            places = [padded[i, :width] for padded, width in zip(points, phenotype.widths, strict=True)]
            for padded, width in zip(points, phenotype.widths, strict=True):
                padded[i, width:] = 0.0
            hidden, logits = table.forward(phenotype, places if is_direct else None)
            error[i] = np.count_nonzero(logits.argmax(axis=0) != table.labels) / table.n_images
            if not is_direct:
                for place, layer in zip(places, hidden, strict=True):
                    place[...] = layer[:, : self.n_points]
        dissimilarity = np.zeros(n)
        for loss, padded, width in zip(self._losses, points, widths.T, strict=True):
            dissimilarity += loss(torch.from_numpy(padded).transpose(1, 2), widths=torch.from_numpy(width)).numpy()
        return error, dissimilarity

    def _room(self, k: int, n: int, width: int) -> np.ndarray:
        """(n, width, n_points) uninitialised float32 for layer k's embeddings."""
        size = n * width * self.n_points
        if self._points[k].size < size:
            self._points[k] = np.empty(size, dtype=np.float32)
        return self._points[k][:size].reshape(n, width, self.n_points)


def as_arrays(
    phenotype: Phenotype, genome: NetworkGenome, network: ParentNetwork
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies of the phenotype's weights and biases, the first layer's written out: one pair per linear layer."""
    weights, biases = list(phenotype.weights), list(phenotype.biases)
    if phenotype.first_ids is not None:
        weights[0], biases[0] = genome.layer(0, network)
    return [np.array(weight) for weight in weights], [np.array(bias) for bias in biases]


def classify(table: ImageTable, phenotype: Phenotype) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in nats of one network on a table's images."""
    _, logits = table.forward(phenotype)
    accuracy = np.mean(logits.argmax(axis=0) == table.labels)
    log_probabilities = scipy.special.log_softmax(logits.astype(np.float64), axis=0)
    return float(accuracy), float(-log_probabilities[table.labels, np.arange(table.n_images)].mean())


REFIT_TARGETS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mixture": lambda logits, labels: logits + _CORRECTION * (labels - scipy.special.softmax(logits, axis=0)),
    "logits": lambda logits, labels: logits,
    "labels": lambda logits, labels: labels,
}
"""`(parent's logits, one-hot labels) -> outputs to fit`, (classes, n) each, by name."""


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
        # What layer k > 0 is fitted to: the parent's pre-activations, and the target at the end.
        self.targets = [
            _affine(weight, below, bias)
            for weight, bias, below in zip(parent.weights[1:-1], parent.biases[1:-1], hidden[:-1], strict=True)
        ]
        labels = np.eye(self.network.n_outputs, dtype=np.float32)[table.labels].T
        self.targets.append(REFIT_TARGETS[check_choice("target", target, REFIT_TARGETS)](logits, labels))
        self._first_moments = _moments(hidden[0], self.targets[0])

    def __call__(self, genome: NetworkGenome) -> Phenotype:
        """The genome's network with every layer but the first refitted."""
        phenotype = inherited(genome, self.network)
        is_parents = phenotype.first_ids is not None and phenotype.weights[0] is phenotype.biases[0] is None
        weights, biases = [phenotype.weights[0]], [phenotype.biases[0]]
        activations = self.table.first_layer(phenotype)
        last = len(self.targets)
        for k, target in enumerate(self.targets, start=1):
            neurons = None if k == last else genome.ids[k].astype(np.int64)
            if k == 1 and is_parents:
                weight, bias = solve(self._first_moments, genome.ids[0], outputs=neurons)
            else:
                goal = target if neurons is None else target[neurons]
                weight, bias = solve(_moments(activations, goal), np.arange(len(activations)))
            weights.append(weight.astype(np.float32))
            biases.append(bias.astype(np.float32))
            if k < last:
                activations = _relu(_affine(weights[-1], activations, biases[-1]))
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
    return [_forward_selection(layer, goal) for layer, goal in zip(hidden, refit.targets, strict=True)]


def _forward_selection(activations: np.ndarray, target: np.ndarray) -> np.ndarray:
    a = (activations - activations.mean(axis=1, keepdims=True)).astype(np.float64)
    t = (target - target.mean(axis=1, keepdims=True)).astype(np.float64)
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


def _moments(activations: np.ndarray, target: np.ndarray) -> Moments:
    """Normal equations of fitting targets (t, n) from activations (h, n) and a constant.

    Sums in float32, twice as fast as float64; the ridge is far above its rounding.
    """
    h, n = activations.shape
    augmented = np.ones((h + 1, n), dtype=np.float32)
    augmented[:-1] = activations
    gram, cross = (augmented @ augmented.T).astype(np.float64), (augmented @ target.T).astype(np.float64)
    # A neuron that is zero on every image would make the system singular.
    np.einsum("ii->i", gram)[:-1] += 1e-7 * n
    return Moments(gram, cross, n)


def _affine(weight: Any, activations: np.ndarray, bias: Any, out: np.ndarray | None = None) -> np.ndarray:
    """(n_out, n) weight @ activations + bias."""
    out = np.matmul(weight, activations, out=out)
    out += bias[:, None]
    return out


def _relu(values: np.ndarray) -> np.ndarray:
    """ReLU, in place."""
    return np.maximum(values, 0.0, out=values)
