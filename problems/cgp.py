"""Weights computed instead of loaded: a small circuit of 8-bit gates gives a layer's weights from others."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from torch import nn

from native.cgp import CostTable, Genome, Problem, Strategy
from operators.circuits import (
    ActiveMutation,
    GateBlockCrossover,
    OnePointCrossover,
    PointMutation,
    ProbabilisticMutation,
    PublishedMutation,
    SingleMutation,
    UniformGateCrossover,
    UniformGenomeSampling,
)
from opt.console.errors import UsageError, nearest
from opt.console.ranges import COUNT, SEED, Range, check_ranges
from opt.problem import CompressionProblem, CrossoverFunction, MutationFunction, Objective, Operators, Reference
from problems.circuits.collapse import CollapsedTask
from problems.circuits.energy import Verdict, memory_pj_per_byte, verdict
from problems.circuits.grid import GRID_SIDE, PUBLISHED, WEIGHT_ERROR, circuit_grid, cost_table, function_set
from problems.circuits.network import NetworkName, int8_network
from problems.circuits.saved import genome_arrays
from problems.circuits.strategy import CGP_ES
from problems.circuits.tasks import TaskName, build_task
from problems.data.data import Dataset, load_dataset
from problems.networks.evaluation.classification import classification
from problems.networks.layers.quantised import int8_weights, put_back

ErrorName = Literal["se", "mse", "ae", "mae"]
LOADED = "int8 network, weights loaded"

_UNITS = {
    "error": "sum of squares",
    "energy_pj": "pJ",
    "delay": "",
    "n_gates": "gates",
    "area": "",
    "depth": "gates",
}
_ERROR_UNITS = {"se": "sum of squares", "mse": "mean square", "ae": "sum of absolutes", "mae": "mean absolute"}


class CGP(CompressionProblem):
    """Weights computed instead of loaded: a circuit of 8-bit gates that gives a layer's weights from others.

    A candidate is a Cartesian genetic program, an integer genome. The objectives are, as chosen, its error on the
    weights, the energy of its gates, its delay, its gate count, its area, its depth; behind a search the
    computed weights go back into the network, which is then judged on the test set. The algorithm
    `cgp-es` runs the whole strategy in C.

    Args:
        task: Which weights are computed from which: the published data sets by name; grid_size is single_filter.
        data: Data set: digits, fashion-mnist, mnist, qmnist, kmnist, cifar10, or a folder of IDX files.
        data_dir: Folder with the data set's files; by default the usual places, then a download.
        network: The int8 network, trained quantisation-aware and then kept: lenet5 or mobilenetv2.
        width: Multiplier of MobileNetV2's channels.
        model: A network of your own with convolutions or linear layers, as package.module:function without arguments.
        checkpoint: Weights of the network, a safetensors file; they are rounded to int8. By default it is trained.
        model_seed: Seed of the network's weights and training.
        epochs: Epochs of training; by default 20 (lenet5) or 5 (others), thrice as many on digits.
        split_seed: Seed of the split of the training images into those for training and those for search.
        layer: Layer whose weights are computed; by default the task's own choice.
        source: Layer that layer_bypass computes from; by default the convolution before.
        kernel: Which kernel of the layer (single_filter and its like); for single_channel which input channel.
        rows: Gates in a column of the grid; by default the task's published grid, the smallest of several.
        cols: Columns of the grid; likewise.
        levels_back: Columns that a gate can look back; by default cols + 1, which reaches everything.
        functions: Gate functions: int8 for all 30, or names separated by commas; a leading minus leaves names out.
        costs: File with one row a function (energy in pJ, area, delay); published for the published relative
            energies; by default derived from Horowitz 2014.
        error: Sum of squares, mean square, sum or mean of absolutes, over all weights that are computed.
        threshold: Root mean squared error an output up to which error counts before energy, for cgp-es and
            --scalarise problem; by default the task's published one, the least of several.
        objectives: Of error, energy, delay, gates, area, depth; separated by commas.
        memory: Where the weights would be read from: sram-8k, sram-32k, sram-1m or another size, dram, dram-high, or
            pJ a byte.
        collapse: Whether equal weights share one output of the circuit.
        mutation: One gene that counts (single), genes that count (active), or any genes: published, point,
            probabilistic.
        rate: Share of the genes that mutations other than single redraw.
        crossover: A run of gates (block), all behind a point (one_point), or gate by gate (uniform).
    """

    objectives: Sequence[Objective] = (Objective("error"), Objective("energy_pj", unit="pJ"))
    own_algorithms = (CGP_ES,)

    def __init__(
        self,
        *,
        task: TaskName = "single_filter",
        data: str = "digits",
        data_dir: str | None = None,
        network: NetworkName = "lenet5",
        width: float = 0.25,
        model: str | None = None,
        checkpoint: str | None = None,
        model_seed: int = 0,
        epochs: int | None = None,
        split_seed: int = 0,
        layer: str | None = None,
        source: str | None = None,
        kernel: int = 0,
        rows: int | None = None,
        cols: int | None = None,
        levels_back: int | None = None,
        functions: str = "int8",
        costs: str | None = None,
        error: ErrorName = "se",
        threshold: float | None = None,
        objectives: str = "error,energy",
        memory: str = "sram-32k",
        collapse: bool = True,
        mutation: Literal["single", "active", "published", "point", "probabilistic"] = "single",
        rate: float = 0.01,
        crossover: Literal["block", "one_point", "uniform"] = "block",
    ) -> None:
        # what needs no network is checked before one is trained
        names = _objective_names(objectives)
        self.functions = function_set(functions, multiplexer=task == "all_layers")
        self.costs: CostTable = cost_table(costs)
        self._is_relative = costs == PUBLISHED
        self.memory, self.pj_per_byte = memory, memory_pj_per_byte(memory)
        check_ranges(
            rows=(rows, GRID_SIDE),
            cols=(cols, GRID_SIDE),
            levels_back=(levels_back, COUNT),
            threshold=(threshold, WEIGHT_ERROR),
            rate=(rate, Range(0.0, 1.0, is_above=True)),
            model_seed=(model_seed, SEED),
            kernel=(kernel, Range(0, COUNT.high)),
        )
        self.dataset: Dataset = load_dataset(data, data_dir=data_dir, split_seed=split_seed)
        self.model = int8_network(
            self.dataset,
            network=network,
            width=width,
            model=model,
            checkpoint=checkpoint,
            seed=model_seed,
            epochs=epochs,
        )
        self.weights = int8_weights(self.model)
        self.task = build_task(task, self.weights, layer=layer, source=source, kernel=kernel)
        self.collapsed = CollapsedTask(self.task.data, collapse=collapse)
        self.grid, self.layout = circuit_grid(
            n_inputs=self.collapsed.n_inputs,
            n_outputs=self.collapsed.n_outputs,
            rows=rows or self.task.rows,
            cols=cols or self.task.cols,
            levels_back=levels_back,
            functions=self.functions,
        )
        self.error: ErrorName = error
        self._made: Problem | None = None
        rms = self.task.threshold if threshold is None else threshold
        n = self.task.n_outputs
        self.threshold = {"se": rms**2 * n, "mse": rms**2, "ae": rms * n, "mae": rms}[error]
        self.mutation, self.rate, self.crossover = mutation, rate, crossover
        self.objectives = self._objectives(names)
        super().__init__(n_var=self.layout.n_genes, representation="integer", xl=self.layout.xl, xu=self.layout.xu)
        self._reference_test: dict[str, float] | None = None

    def _objectives(self, names: Sequence[str]) -> tuple[Objective, ...]:
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
        units = _UNITS | {"error": _ERROR_UNITS[self.error]}
        if self._is_relative:
            units["energy_pj"] = "published relative units"
        # a tenth of the loading energy weighs as much as a hundredth of the error of giving zeros
        weights = {name: (1.0 if name == "error" else 0.1) / worst.get(name, 100.0) for name in names}
        return tuple(Objective(name, unit=units[name], weight=weights[name], worst=worst.get(name)) for name in names)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover and mutation of genomes."""
        layout = self.layout
        mutations: dict[str, MutationFunction] = {
            "single": SingleMutation(layout),
            "active": ActiveMutation(layout, self.rate),
            "published": PublishedMutation(layout, self.rate),
            "point": PointMutation(layout, self.rate),
            "probabilistic": ProbabilisticMutation(layout, self.rate),
        }
        crossovers: dict[str, CrossoverFunction] = {
            "block": GateBlockCrossover(layout),
            "one_point": OnePointCrossover(layout),
            "uniform": UniformGateCrossover(layout),
        }
        return Operators(UniformGenomeSampling(layout), crossovers[self.crossover], mutations[self.mutation])

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Objectives of (n, n_genes) genomes: (n, n_obj) float64."""
        scores = self.scores(X)
        return np.column_stack([scores[o.name] for o in self.objectives])

    def scores(self, X: np.ndarray) -> dict[str, np.ndarray]:
        """Of (n, n_genes) genomes, (n,) float64 each: error, energy_pj, delay, n_gates, area, depth."""
        found = self.circuits.evaluate(np.ascontiguousarray(X, dtype=np.int32))
        return {name: found[name].astype(np.float64) for name in _UNITS}

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

    # -- solutions ----------------------------------------------------------------------------

    def genome(self, x: np.ndarray) -> Genome:
        """The circuit that x, (n_genes,), stands for."""
        scores = {name: float(values[0]) for name, values in self.scores(x[None]).items()}
        return Genome(self.grid, self.functions, np.ascontiguousarray(x, dtype=np.int32), score=scores)

    def computed(self, x: np.ndarray) -> list[np.ndarray]:
        """What the circuit gives for each data set: (n_outputs,) int8, as many as the task has weights."""
        genes = np.ascontiguousarray(x, dtype=np.int32)[None]
        given = self.circuits.outputs(genes, [data.inputs for data in self.collapsed.data])
        return self.collapsed.expand(given[0])

    def codes(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The computed layers' int8 codes by layer name; weights that the task leaves alone are as trained."""
        found: dict[str, np.ndarray] = {}
        for data, given in zip(self.task.data, self.computed(x), strict=True):
            found |= data.codes(given, self.weights)
        return found

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network with the computed weights in their places, the scales as trained."""
        model = copy.deepcopy(self.model)
        put_back(model, self.weights, self.codes(x))
        return model.eval()

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, the circuit as `genome_arrays` gives it, and each computed layer's `NAME.codes`."""
        state = {name: tensor.numpy() for name, tensor in self.decode(x).state_dict().items()}
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
        for data, given in zip(self.task.data, self.computed(x), strict=True):
            difference, start = given.astype(np.int64) - data.outputs, 0
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
        """Accuracy, top-5 accuracy and mean cross-entropy on the test set, with the computed weights put back."""
        split = self.dataset.test
        return classification(self.decode(x), split.images, split.labels)._asdict()

    # -- what is known ------------------------------------------------------------------------

    def references(self) -> list[Reference]:
        """The int8 network that loads its weights; and the circuit of wires alone, each weight the nearest input."""
        if self._reference_test is None:
            split = self.dataset.test
            self._reference_test = classification(self.model, split.images, split.labels)._asdict()
        values = {"error": 0.0, "energy_pj": self._verdict(0.0).loading_pj / len(self.task.data)}
        loaded = np.array([[values.get(o.name, 0.0) for o in self.objectives]])
        known = [Reference(LOADED, F=loaded, test=[self._reference_test])]
        wires = self.nearest_inputs()
        return known if wires is None else [*known, Reference("nearest input, by wires", X=wires[None])]

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
    known = {
        "error": "error",
        "energy": "energy_pj",
        "delay": "delay",
        "gates": "n_gates",
        "area": "area",
        "depth": "depth",
    }
    names = [part.strip() for part in text.split(",")]
    for name in names:
        if name not in known:
            raise UsageError(f"objectives must be of {', '.join(known)}, got {name!r}{nearest(name, known)}")
    if len(set(names)) < len(names):
        raise UsageError(f"objectives must be different, got {text!r}")
    return tuple(known[name] for name in names)
