"""Cartesian genetic programming of weights: a circuit of 8-bit gates computes a layer's weights, none is loaded."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from native.cgp import Genome, Problem, Strategy
from opt.console.errors import UsageError, nearest
from opt.console.option_groups import flat_options
from opt.problem import Objective, Operators, Reference
from problems.circuits.collapse import CollapsedTask
from problems.circuits.energy import Verdict, verdict
from problems.circuits.grid import circuit_grid
from problems.circuits.network import int8_layers, measured, state_arrays, with_codes
from problems.circuits.options import (
    GateOptions,
    GoalOptions,
    GridOptions,
    Int8NetworkOptions,
    VariationOptions,
    WeightOptions,
)
from problems.circuits.saved import genome_arrays
from problems.circuits.strategy import CGP_ES
from problems.circuits.tasks import build_task, weight_error
from problems.circuits.variation import circuit_operators
from problems.data.sets.data_options import DataOptions
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import with_tensors

LOADED = "int8 network, weights loaded"
RELATIVE_UNIT = "published relative units"

_UNITS = {
    "error": "sum of squares",
    "energy_pj": "pJ",
    "delay": "",
    "n_gates": "gates",
    "area": "",
    "depth": "gates",
}
_ERROR_UNITS = {"se": "sum of squares", "mse": "mean square", "ae": "sum of absolutes", "mae": "mean absolute"}


class CGP(NetworkProblem):
    """Weights computed instead of loaded: a circuit of 8-bit gates that gives a layer's weights from others.

    A candidate is a Cartesian genetic program, an integer genome. The objectives are, as chosen, its error on the
    weights, the energy of its gates, its delay, its gate count, its area, its depth; behind a search the
    computed weights go back into the network, which is then judged on the test set by its workload. The algorithm
    `cgp-es` runs the whole strategy in C.

    Args:
        weights: Which weights are computed, and from which, `WeightOptions`.
        data: The data set, `DataOptions`.
        network: The network whose weights are computed, or a workload of the user's, `Int8NetworkOptions`.
        grid: The grid of gates, `GridOptions`.
        gates: What gates compute and cost, `GateOptions`.
        goal: What circuits are judged by, `GoalOptions`.
        variation: How genomes change, `VariationOptions`.
    """

    objectives: Sequence[Objective] = (Objective("error"), Objective("energy_pj", unit="pJ"))
    own_algorithms = (CGP_ES,)

    @flat_options
    def __init__(
        self,
        *,
        weights: WeightOptions,
        data: DataOptions,
        network: Int8NetworkOptions,
        grid: GridOptions,
        gates: GateOptions,
        goal: GoalOptions,
        variation: VariationOptions,
    ) -> None:
        # what needs no network is checked before one is trained
        names = _objective_names(goal.objectives)
        self.functions = gates.function_set(multiplexer=weights.task == "all_layers")
        self.costs = gates.cost_table()
        self.pj_per_byte = gates.pj_per_byte
        self._is_own = network.workload is not None
        self._int8 = int8_layers(network.workload_on(data))
        self.workload, self.weights = self._int8.workload, self._int8.weights
        self.task = build_task(
            weights.task, self.weights, layer=weights.layer, source=weights.source, kernel=weights.kernel,
            left_out=self._int8.compressible.left_out,
        )  # fmt: skip
        self.collapsed = CollapsedTask(self.task.data, collapse=weights.collapse)
        self.grid, self.layout = circuit_grid(
            n_inputs=self.collapsed.n_inputs,
            n_outputs=self.collapsed.n_outputs,
            rows=grid.rows or self.task.rows,
            cols=grid.cols or self.task.cols,
            levels_back=grid.levels_back,
            functions=self.functions,
        )
        self._made: Problem | None = None
        self.error, self.variation = goal.error, variation
        rms, n = self.task.threshold if goal.threshold is None else goal.threshold, self.task.n_outputs
        self.threshold = {"se": rms**2 * n, "mse": rms**2, "ae": rms * n, "mae": rms}[goal.error]
        self.objectives = self._objectives(names, energy_unit=RELATIVE_UNIT if gates.is_relative else "pJ")
        super().__init__(n_var=self.layout.n_genes, representation="integer", xl=self.layout.xl, xu=self.layout.xu)
        self._reference_test: dict[str, float] | None = None

    def _objectives(self, names: Sequence[str], *, energy_unit: str) -> tuple[Objective, ...]:
        """The objectives asked for; worst is giving zeros for weights, or using more energy than loading them."""
        targets = np.concatenate([d.outputs for d in self.task.data]).astype(np.float64)
        size = np.maximum(np.abs(targets), 1.0)
        worst_error = {"se": (size**2).sum(), "mse": (size**2).mean(), "ae": size.sum(), "mae": size.mean()}[self.error]
        worst = {
            "error": float(worst_error),
            "energy_pj": self.task.n_replaced * self.pj_per_byte / len(self.task.data),
            "n_gates": float(self.layout.n_gates),
            "depth": float(self.layout.cols),
        }
        units = _UNITS | {"error": _ERROR_UNITS[self.error], "energy_pj": energy_unit}
        # a tenth of the loading energy weighs as much as a hundredth of the error of giving zeros
        weights = {name: (1.0 if name == "error" else 0.1) / worst.get(name, 100.0) for name in names}
        return tuple(Objective(name, unit=units[name], weight=weights[name], worst=worst.get(name)) for name in names)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover and mutation of genomes."""
        asked = self.variation
        return circuit_operators(self.layout, mutation=asked.mutation, rate=asked.rate, crossover=asked.crossover)

    @property
    def model(self) -> nn.Module:
        """The int8 network."""
        return self.workload.network

    def fast(self, X: np.ndarray) -> np.ndarray:
        """Objectives of (n, n_genes) genomes: (n, n_obj) float64."""
        scores = self.scores(X)
        return np.column_stack([scores[o.name] for o in self.objectives])

    def scores(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Of (n, n_genes) genomes, (n,) float64 each: error, energy_pj, delay, n_gates, area, depth."""
        scores = self.circuits.evaluate(np.ascontiguousarray(X, dtype=np.int32))
        return {name: scores[name].astype(np.float64) for name in _UNITS}

    @property
    def circuits(self) -> Problem:
        """The library's form of the problem, made when it is first asked for."""
        if self._made is None:
            self._made = Problem(self.grid, self.functions, self.collapsed.data, self.costs, self.error)
        return self._made

    def __getstate__(self) -> dict[str, Any]:
        """Everything but what lives in C: a copy makes its own."""
        return super().__getstate__() | {"_made": None}

    def strategy(self, *, seed: int, start: str = "random", **settings: Any) -> Strategy:
        """The library's strategy on this problem, its threshold the problem's.

        Args:
            seed: Of everything random in it.
            start: "random", or "wires" for the circuit of `nearest_inputs`.
            **settings: As the library's `Strategy` takes them.

        Raises:
            UsageError: There is no circuit of wires to start from.
        """
        wires = self.nearest_inputs() if start == "wires" else None
        if start == "wires" and wires is None:
            raise UsageError("--algo.start wires needs one data set and levels_back of cols + 1; use random")
        begin = None if wires is None else wires.astype(np.int32)
        return Strategy(
            self.grid, self.functions, self.collapsed.data, seed=seed, threshold=self.threshold, costs=self.costs,
            error=self.error, start=begin, **settings,
        )  # fmt: skip

    def scalarise(self, F: np.ndarray) -> np.ndarray:
        """Error until it is at the threshold, from there the other objectives' weighted sum, (n,) for F (n, n_obj).

        Values behind the threshold lie in [-1, 0), so that any of them is better than any before it.
        """
        names = [o.name for o in self.objectives]
        others = [i for i, name in enumerate(names) if name != "error"]
        cost = sum((self.objectives[i].weight * F[:, i] for i in others), np.zeros(len(F)))
        if "error" not in names:
            return cost
        error = F[:, names.index("error")]
        return np.where(error > self.threshold, error - self.threshold, -1 / (1 + cost))

    # -- proof --------------------------------------------------------------------------------

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) the error counted on the network's own weights, and what the circuit itself costs."""
        scores = {name: float(values[0]) for name, values in self.scores(np.asarray(x)[None]).items()}
        scores["error"] = weight_error(network, self.weights, self.task, self.error)
        return np.array([scores[o.name] for o in self.objectives])

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """The network with the saved tensors."""
        return with_tensors(self.model, state)

    def tolerances(self) -> np.ndarray:
        """(n_obj,) the rounding of float64 sums."""
        return np.full(len(self.objectives), 1e-9)

    def about(self) -> list[str]:
        """What the rounding to int8 does, and what share of the network it reaches."""
        return [*self._int8.notes, self._int8.compressible.summary()]

    # -- solutions ----------------------------------------------------------------------------

    def genome(self, x: np.ndarray) -> Genome:
        """The circuit that x, (n_genes,), stands for."""
        scores = {name: float(values[0]) for name, values in self.scores(x[None]).items()}
        return Genome(self.grid, self.functions, np.ascontiguousarray(x, dtype=np.int32), score=scores)

    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """What the circuit gives for each data set: (n_outputs,) int8, as many as the task has weights."""
        genes = np.ascontiguousarray(x, dtype=np.int32)[None]
        outputs = self.circuits.outputs(genes, [data.inputs for data in self.collapsed.data])
        return self.collapsed.expand(outputs[0])

    def codes(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The computed layers' int8 codes by layer name; weights that the task leaves alone are as trained."""
        codes: dict[str, np.ndarray] = {}
        for data, outputs in zip(self.task.data, self.computed(x), strict=True):
            codes |= data.codes(outputs, self.weights)
        return codes

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network with the computed weights in their places, the scales as trained."""
        return with_codes(self.model, self.weights, self.codes(x))

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, the circuit as `genome_arrays` gives it, and each computed layer's `NAME.codes`."""
        state = state_arrays(self.decode(x))
        state |= {f"{name}.codes": codes for name, codes in self.codes(x).items()}
        return state | genome_arrays(self.layout.canonical(x[None])[0], self.grid, self.functions)

    def fingerprint(self, x: np.ndarray) -> bytes:
        """The genes that count: genomes of one circuit are one candidate."""
        return self.layout.canonical(np.asarray(x)[None])[0].astype(np.int32).tobytes()

    def data_fingerprint(self) -> str:
        """Digest of the weights that the search sees: their data set and training are in them."""
        digest = hashlib.sha256()
        for data in self.task.data:
            digest.update(data.inputs.tobytes() + b"|" + data.outputs.tobytes() + b"|")
        if self._is_own:
            digest.update(self.workload.data_fingerprint.encode())
        return digest.hexdigest()

    def verdict(self, x: np.ndarray) -> Verdict:
        """The circuit's energy against reading the weights that it replaces."""
        energy = float(self.scores(x[None])["energy_pj"][0])
        return self._verdict(energy)

    def _verdict(self, energy_pj: float) -> Verdict:
        return verdict(
            energy_pj, n_runs=len(self.task.data), n_bytes=self.task.n_replaced, pj_per_byte=self.pj_per_byte
        )

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """All costs, the verdict on energy, and the weights' errors, over all and by layer."""
        scores = {name: float(values[0]) for name, values in self.scores(np.asarray(x)[None]).items()}
        judged = self._verdict(scores["energy_pj"])
        row: dict[str, Any] = {name: scores[name] for name in ("energy_pj", "delay", "area")}
        row |= {name: int(scores[name]) for name in ("n_gates", "depth")}
        row |= {
            "circuit_pj": judged.circuit_pj,
            "loading_pj": judged.loading_pj,
            "saving": judged.saving,
            "break_even_pj_per_byte": judged.break_even_pj_per_byte,
            "n_weights": self.task.n_outputs,
            "n_replaced": self.task.n_replaced,
        }
        return row | self._errors(x)

    def _errors(self, x: np.ndarray) -> dict[str, Any]:
        layers: dict[str, list[np.ndarray]] = {}
        for data, outputs in zip(self.task.data, self.computed(x), strict=True):
            difference, start = outputs.astype(np.int64) - data.outputs, 0
            for place in data.places:
                layers.setdefault(place.layer, []).append(difference[start : start + len(place.index)])
                start += len(place.index)
        by_layer = {name: np.concatenate(parts) for name, parts in layers.items()}
        everything = np.concatenate(list(by_layer.values()))
        row: dict[str, Any] = {
            "mse": float((everything**2).mean()),
            "largest_error": int(np.abs(everything).max()),
            "exact": float((everything == 0).mean()),
        }
        if len(by_layer) > 1:
            row |= {f"mse_{name}": float((d**2).mean()) for name, d in by_layer.items()}
        return row

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Loss and metrics on the test set, with the computed weights put back; of image data sets top-5, too."""
        return measured(self.workload, self.decode(x))

    # -- what is known ------------------------------------------------------------------------

    def references(self) -> list[Reference]:
        """The int8 network that loads its weights; and the circuit of wires alone, each weight the nearest input."""
        if self._reference_test is None:
            self._reference_test = measured(self.workload, self.model)
        values = {"error": 0.0, "energy_pj": self._verdict(0.0).loading_pj / len(self.task.data)}
        loaded = np.array([[values.get(o.name, 0.0) for o in self.objectives]])
        references = [Reference(LOADED, F=loaded, test=[self._reference_test])]
        wires = self.nearest_inputs()
        return references if wires is None else [*references, Reference("nearest input, by wires", X=wires[None])]

    def nearest_inputs(self) -> np.ndarray | None:
        """(n_genes,) the circuit without gates: each output wired to the input nearest in value; None where none is.

        Outputs must be able to reach the inputs, and the data set must be one.
        """
        if len(self.task.data) > 1 or self.layout.levels_back <= self.layout.cols:
            return None
        inputs = self.task.data[0].inputs.astype(np.int64)
        wanted = self.collapsed.distinct[0].astype(np.int64)
        x = self.layout.xl.copy()
        x[-len(wanted) :] = np.abs(wanted[:, None] - inputs).argmin(axis=1)
        return x


def _objective_names(text: str) -> tuple[str, ...]:
    """`error,energy` as column names."""
    columns = {
        "error": "error",
        "energy": "energy_pj",
        "delay": "delay",
        "gates": "n_gates",
        "area": "area",
        "depth": "depth",
    }
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in columns:
            raise UsageError(f"objectives must be of {', '.join(columns)}, got {name!r}{nearest(name, columns)}")
    if len(set(names)) < len(names):
        raise UsageError(f"objectives must be different, got {text!r}")
    return tuple(columns[name] for name in names)
