"""Layer-wise choice of circuits: which layers compute their weights and by which; accuracy against energy."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.fronts.archive import nondominated
from opt.problem import CompressionProblem, Objective, Reference, minimise
from problems.circuits.grid import WEIGHT_ERROR
from problems.circuits.layer_circuits import LayerCircuit, LayerCircuits, known_circuits
from problems.circuits.network import state_arrays, with_codes
from problems.circuits.options import GateOptions, Int8NetworkOptions, LayerSearchOptions
from problems.data.data import Dataset
from problems.data.sets.data_options import DataOptions
from problems.networks.evaluation.classification import classification
from problems.networks.evaluation.staged import StagedNetwork
from problems.networks.layers.prunable import prunable_layers, select_layers
from problems.networks.layers.quantised import int8_weights

LOADED = "all weights loaded"

_LARGEST_ENUMERATED = 8_192


class CGPLayers(CompressionProblem):
    """Which layers compute their weights, and by which circuit: error against the energy of getting the weights.

    For each layer circuits are evolved beforehand, one for each threshold, and kept; a candidate chooses for each
    layer one of them, or to load its weights. Where the choices can be enumerated the exact front stands beside
    the search.

    Args:
        data: The data set, `DataOptions`.
        network: The network whose weights are computed, `Int8NetworkOptions`.
        layers: Layers that may compute their weights, shell patterns separated by commas.
        thresholds: Root mean squared errors, one circuit a layer for each.
        search: The search for each layer's circuits, `LayerSearchOptions`.
        gates: What gates compute and cost, `GateOptions`.
    """

    objectives: Sequence[Objective] = (
        Objective("error", minimise, unit="fraction", weight=1.0, worst=1.0),
        Objective("energy_pj", minimise, unit="pJ"),
    )

    @flat_options
    def __init__(
        self,
        *,
        data: DataOptions,
        network: Int8NetworkOptions,
        layers: str = "*",
        thresholds: str = "0,2,5,11",
        search: LayerSearchOptions,
        gates: GateOptions,
    ) -> None:
        # what needs no network is checked before one is trained
        levels, pj_per_byte = _thresholds(thresholds), gates.pj_per_byte
        circuits = LayerCircuits(
            rows=search.rows, cols=search.cols, n_gen=search.generations, seed=search.circuit_seed,
            functions=gates.function_set(), costs=gates.cost_table(),
        )  # fmt: skip
        examples = network.examples_of(data)
        self.dataset: Dataset = examples.as_images()
        self.model = network.network_on(examples)
        self.names = select_layers(self.model, layers, example=self.dataset.search.images[:2])
        self.weights = int8_weights(self.model)
        self.circuits: list[list[LayerCircuit]] = [
            known_circuits(circuits, name, self.weights[name], levels) for name in self.names
        ]
        self._energy = [
            _energies(self.weights[name].codes.size, choices, pj_per_byte)
            for name, choices in zip(self.names, self.circuits, strict=True)
        ]
        self.loading_pj = float(sum(energy[0] for energy in self._energy))
        error, energy = CGPLayers.objectives
        self.objectives = (
            error,
            Objective(energy.name, minimise, unit="pJ", weight=0.1 / self.loading_pj, worst=self.loading_pj),
        )
        n = np.array([len(choices) for choices in self.circuits])
        super().__init__(n_var=len(n), representation="integer", xl=np.zeros(len(n), dtype=np.int64), xu=n)
        split = self.dataset.search
        self._network = StagedNetwork(self.model, self.names, split.images, split.labels, self._tensors)
        self._n_images = len(split)
        self._exact: np.ndarray | None = None

    def _tensors(self, layer: int, choice: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a layer for one choice, (1,) int64."""
        name = self.names[layer]
        bias = prunable_layers(self.model)[name].bias
        codes = self.circuits[layer][choice[0] - 1].codes if choice[0] else None
        return self.weights[name].weight(codes), None if bias is None else bias.detach()

    # -- search -------------------------------------------------------------------------------

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Error on the search split and energy of (n, n_layers) choices: (n, 2) float64."""
        with torch.no_grad():
            right = self._network.n_right([np.ascontiguousarray(X[:, k : k + 1]) for k in range(X.shape[1])])
        return np.column_stack([1 - right / self._n_images, self.energy_pj(X)])

    def energy_pj(self, X: np.ndarray) -> np.ndarray:
        """(n,) energy of loading or computing all weights."""
        return sum((energy[X[:, k]] for k, energy in enumerate(self._energy)), np.zeros(len(X)))

    # -- solutions ----------------------------------------------------------------------------

    def codes(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Codes of the layers that are computed."""
        by_layer = zip(self.names, self.circuits, x, strict=True)
        return {name: choices[k - 1].codes for name, choices, k in by_layer if k}

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network with the computed weights in their places."""
        return with_codes(self.model, self.weights, self.codes(x))

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, and the `genome` of each circuit as `NAME.genome`, (n_genes,) int32."""
        state = state_arrays(self.decode(x))
        by_layer = zip(self.names, self.circuits, x, strict=True)
        return state | {f"{name}.genome": choices[k - 1].genome for name, choices, k in by_layer if k}

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Energy saved, layers computed, gates, and for each layer the threshold of its circuit, or "loaded"."""
        energy = float(self.energy_pj(x[None])[0])
        circuits = [choices[k - 1] if k else None for choices, k in zip(self.circuits, x, strict=True)]
        row: dict[str, Any] = {
            "saving": 1 - energy / self.loading_pj,
            "n_computed": sum(c is not None for c in circuits),
            "n_gates": sum(c.n_gates for c in circuits if c is not None),
        }
        parts = zip(self.names, circuits, strict=True)
        return row | {name: "loaded" if c is None else f"{c.threshold:g}" for name, c in parts}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy, top-5 accuracy and mean cross-entropy on the test set."""
        split = self.dataset.test
        return classification(self.decode(x), split.images, split.labels)._asdict()

    def data_fingerprint(self) -> str:
        """Digest of the images, the network's weights and the circuits'."""
        digest = hashlib.sha256(self.dataset.fingerprint.encode())
        for name, choices in zip(self.names, self.circuits, strict=True):
            digest.update(self.weights[name].codes.tobytes())
            for circuit in choices:
                digest.update(circuit.codes.tobytes())
        return digest.hexdigest()

    # -- what is known ------------------------------------------------------------------------

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """The exact front on the search split, (m, 2), where all choices can be enumerated; else None."""
        if self._exact is None and np.prod(self.xu + 1.0) <= _LARGEST_ENUMERATED:
            X = np.array(list(itertools.product(*(range(int(n) + 1) for n in self.xu))), dtype=np.int64)
            F = self.evaluate(X)
            self._exact = F[nondominated(F)]
        return self._exact

    def references(self) -> list[Reference]:
        """All weights loaded, and for each threshold every layer computed by its circuit."""
        references = [Reference(LOADED, X=np.zeros((1, self.n_var), dtype=np.int64))]
        most = int(self.xu.max())
        everywhere = [np.minimum(np.full(self.n_var, k), self.xu) for k in range(1, most + 1)]
        return [*references, Reference("one threshold everywhere", X=np.array(everywhere, dtype=np.int64))]


def _energies(n_weights: int, circuits: Sequence[LayerCircuit], pj_per_byte: float) -> np.ndarray:
    """(n_circuits + 1,) pJ of a layer: loaded, then by each circuit, whose inputs must still be loaded."""
    return np.array([n_weights * pj_per_byte, *(c.energy_pj + c.n_loaded * pj_per_byte for c in circuits)])


def _thresholds(text: str) -> tuple[float, ...]:
    try:
        levels = tuple(float(part) for part in text.split(","))
    except ValueError:
        levels = ()
    if not levels or not all(t in WEIGHT_ERROR for t in levels) or len(set(levels)) < len(levels):
        limits = f"from 0 to {WEIGHT_ERROR.high:g}"
        raise UsageError(f"thresholds must be different numbers {limits}, such as 0,2,5,11, got {text!r}")
    return levels
