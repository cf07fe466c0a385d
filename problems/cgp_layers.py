"""Layer-wise choice of circuits: which layers compute their weights and by which; accuracy against energy."""

from __future__ import annotations

import dataclasses
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
from opt.problem import Objective, Reference, minimise
from problems.circuits.grid import WEIGHT_ERROR
from problems.circuits.layer_circuits import LayerCircuit, LayerCircuits, known_circuits
from problems.circuits.network import int8_layers, measured, state_arrays, with_codes
from problems.circuits.options import GateOptions, Int8NetworkOptions, LayerSearchOptions
from problems.data.sets.data_options import DataOptions
from problems.networks.layers.prunable import prunable_layers, select_layers
from problems.workloads.layerwise_quality import LayerwiseQuality
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import with_tensors

LOADED = "all weights loaded"

_LARGEST_ENUMERATED = 8_192
_LARGEST_ENUMERATED_WHOLE = 256


class CGPLayers(NetworkProblem):
    """Which layers compute their weights, and by which circuit: error against the energy of getting the weights.

    For each layer circuits are evolved beforehand, one for each threshold, and kept; a candidate chooses for each
    layer one of them, or to load its weights. Where the choices can be enumerated the exact front stands beside
    the search.

    Args:
        data: The data set, `DataOptions`.
        network: The network whose weights are computed, or a workload of the user's, `Int8NetworkOptions`.
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
        self._int8 = int8_layers(network.workload_on(data))
        self.workload, self.weights = self._int8.workload, self._int8.weights
        self.names = self._chosen(layers)
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
            dataclasses.replace(self.workload.error_objective, weight=error.weight),
            Objective(energy.name, minimise, unit="pJ", weight=0.1 / self.loading_pj, worst=self.loading_pj),
        )
        n = np.array([len(choices) for choices in self.circuits])
        super().__init__(n_var=len(n), representation="integer", xl=np.zeros(len(n), dtype=np.int64), xu=n)
        by_name = prunable_layers(self.model)
        self._layers = {name: by_name[name] for name in self.names}
        self._quality = LayerwiseQuality(self.workload, self.workload.search, self._layers, self._tensors)
        self._exact: np.ndarray | None = None

    @property
    def model(self) -> nn.Module:
        """The int8 network."""
        return self.workload.network

    def _chosen(self, patterns: str) -> list[str]:
        """Names of the layers that may compute their weights, in the order in which they run."""
        layers = {name: layer for name, layer in prunable_layers(self.model).items() if name in self.weights}
        with self.workload.undisturbed(self.model):
            return select_layers(self.model, patterns, example=self.workload.example, layers=layers)

    def _tensors(self, layer: int, choice: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a layer for one choice, (1,) int64."""
        name = self.names[layer]
        own, bias = self._layers[name].weight, self._layers[name].bias
        codes = self.circuits[layer][choice[0] - 1].codes if choice[0] else None
        return self.weights[name].weight(codes).to(own), None if bias is None else bias.detach()

    # -- search -------------------------------------------------------------------------------

    def fast(self, X: np.ndarray) -> np.ndarray:
        """What is minimised on the search split, and energy, of (n, n_layers) choices: (n, 2) float64."""
        with torch.no_grad():
            error = self._quality([np.ascontiguousarray(X[:, k : k + 1]) for k in range(X.shape[1])])
        return np.column_stack([error, self.energy_pj(X)])

    def energy_pj(self, X: np.ndarray) -> np.ndarray:
        """(n,) energy of loading or computing all weights."""
        return sum((energy[X[:, k]] for k, energy in enumerate(self._energy)), np.zeros(len(X)))

    # -- proof --------------------------------------------------------------------------------

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(2,) what is minimised, by a plain loop, and the energy, where the layers hold what circuits compute."""
        layers = prunable_layers(network)
        for k, name in enumerate(self.names):
            if not torch.equal(layers[name].weight, self._tensors(k, x[k : k + 1])[0]):
                raise UsageError(f"layer {name!r} does not have the weights that its circuit computes")
        quality = self.workload.quality(self.workload.judge(network, self.workload.search))
        return np.array([quality, self.energy_pj(np.asarray(x)[None])[0]])

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """The network with the saved tensors."""
        return with_tensors(self.model, state)

    def extremes(self) -> np.ndarray:
        """(2, n_layers) everything loaded, and everything computed by the last circuit."""
        return np.array([np.zeros(self.n_var), self.xu], dtype=np.int64)

    def about(self) -> list[str]:
        """What the rounding to int8 does, and what share of the network it reaches."""
        return [*self._int8.notes, self._int8.compressible.summary()]

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
        """Loss and metrics on the test set; of image data sets top-5, too."""
        return measured(self.workload, self.decode(x))

    def data_fingerprint(self) -> str:
        """Digest of the images, the network's weights and the circuits'."""
        digest = hashlib.sha256(self.workload.data_fingerprint.encode())
        for name, choices in zip(self.names, self.circuits, strict=True):
            digest.update(self.weights[name].codes.tobytes())
            for circuit in choices:
                digest.update(circuit.codes.tobytes())
        return digest.hexdigest()

    # -- what is known ------------------------------------------------------------------------

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """The exact front on the search split, (m, 2), where all choices can be enumerated; else None."""
        is_shared = self._quality.staged is not None and not self.is_whole
        limit = _LARGEST_ENUMERATED if is_shared else _LARGEST_ENUMERATED_WHOLE
        if self._exact is None and np.prod(self.xu + 1.0) <= limit:
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
