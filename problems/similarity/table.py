"""A set of examples with what the parent's first layer gives for them, on which networks are run and judged.

Arrays are numpy's, not torch's: on one thread its products of small matrices are as fast, those of a
matrix with its own transpose twice as fast, and genomes are numpy arrays already.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from operators.networks import NetworkGenome, ParentNetwork
from operators.networks.genome import inherited_corner
from problems.data.examples import Examples
from problems.networks.layers.chain_graph import RELU, Activation
from problems.workloads.workload import Workload

ArrayActivation = Callable[[np.ndarray], np.ndarray]
"""(h, n) to (h, n), which may be written over."""


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


class OutputJudge:
    """What a workload says of outputs on some examples.

    Args:
        workload: Its loss and metrics.
        answer: From the last layer's outputs, (n, n_outputs), to what the network returns; None where that is the same.
        examples: What is answered.
    """

    def __init__(self, workload: Workload, answer: Callable[[torch.Tensor], Any] | None, examples: Examples) -> None:
        self.workload, self.answer, self.examples = workload, answer, examples

    def part(self, start: int, stop: int) -> OutputJudge:
        """The same for examples start..stop-1."""
        return OutputJudge(self.workload, self.answer, self.examples.subset(slice(start, stop)))

    def outputs(self, values: np.ndarray) -> torch.Tensor:
        """What is judged, (n, ...), of the last layer's outputs, (n_outputs, n)."""
        with torch.no_grad():
            given = torch.from_numpy(np.ascontiguousarray(values.T))
            return self.workload.picked(given if self.answer is None else self.answer(given))

    def values(self, values: np.ndarray) -> dict[str, float]:
        """The loss and every metric of the last layer's outputs, (n_outputs, n), by name."""
        return self.workload.judge_outputs(self.outputs(values), self.examples)

    def quality(self, values: np.ndarray) -> float:
        """What is minimised of them."""
        return self.workload.quality(self.values(values))


class ExampleTable:
    """One set of examples with the activations of the parent's first layer, which networks look up.

    Activations are held neuron by neuron, (n_neurons, n_examples): a network's first layer is then a
    choice of rows.

    Args:
        network: The parent.
        features: (n_examples, n_inputs) float32: what the first layer gets.
        labels: (n_examples,) integers, or other targets where `judge` is given.
        activations: One behind each hidden layer; None takes ReLU.
        judge: What is said of outputs; None counts the outputs whose highest is the label's.
    """

    def __init__(
        self,
        network: ParentNetwork,
        features: np.ndarray,
        labels: np.ndarray,
        *,
        activations: Sequence[Activation] | None = None,
        judge: OutputJudge | None = None,
    ) -> None:
        if features.ndim != 2 or features.shape[1] != network.n_inputs:
            raise ValueError(f"features must have shape (n, {network.n_inputs}), got {features.shape}.")
        self.network, self.judge = network, judge
        self.activations = [_on_arrays(f) for f in activations or [RELU] * len(network.widths)]
        self.features = np.asarray(features, dtype=np.float32)
        self.labels = np.asarray(labels)
        self.first_linear = affine(network.weights[0], self.features.T, network.biases[0])
        self.first = self.activations[0](self.first_linear.copy())

    @property
    def n_examples(self) -> int:
        """Number of examples."""
        return len(self.features)

    def part(self, start: int, stop: int) -> ExampleTable:
        """The table of examples start..stop-1, sharing this one's memory."""
        table = object.__new__(ExampleTable)
        table.network, table.activations = self.network, self.activations
        table.judge = None if self.judge is None else self.judge.part(start, stop)
        table.features, table.labels = self.features[start:stop], self.labels[start:stop]
        table.first, table.first_linear = self.first[:, start:stop], self.first_linear[:, start:stop]
        return table

    def quality(self, outputs: np.ndarray) -> float:
        """What is minimised of the last layer's outputs, (n_outputs, n): mostly the share of wrong classes."""
        if self.judge is not None:
            return self.judge.quality(outputs)
        wrong = outputs.argmax(axis=0) != self.labels
        if np.isnan(outputs).any():
            wrong |= np.isnan(outputs).any(axis=0)
        return np.count_nonzero(wrong) / self.n_examples

    def first_layer(self, phenotype: Phenotype, out: np.ndarray | None = None) -> np.ndarray:
        """(width, n_examples) activations of a network's first hidden layer."""
        ids, weight, bias = phenotype.first_ids, phenotype.weights[0], phenotype.biases[0]
        if ids is None:
            return self.activations[0](affine(weight, self.features.T, bias, out))
        is_changed = weight is not None or bias is not None
        # Without mode="clip", take copies twice to leave `out` alone on an error; ids are the parent's own.
        layer = np.take(self.first_linear if is_changed else self.first, ids, axis=0, out=out, mode="clip")
        if weight is not None:
            layer[: weight.shape[0]] += weight @ self.features[:, : weight.shape[1]].T
        if bias is not None:
            layer += bias[:, None]
        return self.activations[0](layer) if is_changed else layer

    def forward(
        self, phenotype: Phenotype, out: Sequence[np.ndarray] | None = None
    ) -> tuple[list[np.ndarray], np.ndarray]:
        """Run one network.

        Args:
            phenotype: The network.
            out: One contiguous (width, n_examples) array per hidden layer to write its activations to.

        Returns:
            Activations of the hidden layers, (width, n_examples) each, and logits (n_outputs, n_examples).
        """
        places: Sequence[np.ndarray | None] = [None] * len(phenotype.widths) if out is None else out
        hidden = [self.first_layer(phenotype, places[0])]
        inner = zip(phenotype.weights[1:-1], phenotype.biases[1:-1], places[1:], self.activations[1:], strict=True)
        for weight, bias, place, activation in inner:
            hidden.append(activation(affine(weight, hidden[-1], bias, place)))
        return hidden, affine(phenotype.weights[-1], hidden[-1], phenotype.biases[-1])


def as_arrays(
    phenotype: Phenotype, genome: NetworkGenome, network: ParentNetwork
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Copies of the phenotype's weights and biases, the first layer's written out: one pair per linear layer."""
    weights, biases = list(phenotype.weights), list(phenotype.biases)
    if phenotype.first_ids is not None:
        weights[0], biases[0] = genome.layer(0, network)
    return [np.array(weight) for weight in weights], [np.array(bias) for bias in biases]


def affine(weight: Any, activations: np.ndarray, bias: Any, out: np.ndarray | None = None) -> np.ndarray:
    """(n_out, n) weight @ activations + bias."""
    out = np.matmul(weight, activations, out=out)
    out += bias[:, None]
    return out


def _relu(values: np.ndarray) -> np.ndarray:
    """ReLU, in place."""
    return np.maximum(values, 0.0, out=values)


@dataclass(frozen=True)
class _OnArrays:
    """An activation of torch's on arrays with the examples along the last axis, in place."""

    activation: Activation

    def __call__(self, values: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            values[...] = self.activation(torch.from_numpy(values).T).T.numpy()
        return values


def _on_arrays(activation: Activation) -> ArrayActivation:
    return _relu if activation is RELU else _OnArrays(activation)
