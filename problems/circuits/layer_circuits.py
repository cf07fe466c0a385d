"""Cache of evolved circuits, each of which computes a whole layer's weights."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import safetensors.numpy

from native.cgp import CostTable, FunctionSet, Problem, Strategy
from opt.console.errors import UsageError
from problems.circuits.collapse import CollapsedTask
from problems.circuits.grid import circuit_grid
from problems.circuits.tasks import N_FIRST, Task, build_task
from problems.networks.layers.quantised import Int8Weight
from problems.networks.storage.checkpoints import as_arrays, read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept

# Part of the key of every kept circuit: raise it when the search changes what it finds.
_VERSION = 1


@dataclass(frozen=True, eq=False)
class LayerCircuit:
    """A circuit for one layer.

    Args:
        threshold: Root mean squared error that its search allowed.
        genome: (n_genes,) int32.
        codes: int8, the weights that it computes, of the layer's shape.
        energy_pj: Of one evaluation.
        n_gates: Active gates.
        n_loaded: Weights of the layer that it is computed from, and that must be loaded.
    """

    threshold: float
    genome: np.ndarray
    codes: np.ndarray
    energy_pj: float
    n_gates: int
    n_loaded: int


@dataclass(frozen=True, eq=False)
class LayerCircuits:
    """How circuits are searched for: from a layer's first 96 weights, or from nothing where it has no more than that.

    Args:
        rows: Gates in a column.
        cols: Columns.
        n_gen: Generations of (1 + 4) with single mutations.
        seed: Of each search, with the layer's name and the threshold.
        functions: Gate functions.
        costs: Their costs.
    """

    rows: int
    cols: int
    n_gen: int
    seed: int
    functions: FunctionSet
    costs: CostTable

    def search(self, name: str, weight: Int8Weight, threshold: float) -> LayerCircuit:
        """The circuit for one layer and one threshold, from the cache if the same search was made before."""
        weights = {name: weight}
        task = build_task("mobilenet" if weight.codes.size > N_FIRST else "no_input", weights, layer=name)
        collapsed = CollapsedTask(task.data)
        grid, _ = circuit_grid(
            n_inputs=collapsed.n_inputs, n_outputs=collapsed.n_outputs, rows=self.rows, cols=self.cols,
            levels_back=None, functions=self.functions,
        )  # fmt: skip
        circuits = Problem(grid, self.functions, collapsed.data, self.costs)
        asked = {
            "version": _VERSION, "rows": self.rows, "cols": self.cols, "n_gen": self.n_gen, "seed": self.seed,
            "name": name, "threshold": threshold, "functions": list(self.functions.names),
            "costs": [v.tolist() for v in (self.costs.energy_pj, self.costs.area, self.costs.delay)],
            "weights": hashlib.sha256(weight.codes.tobytes()).hexdigest(), "shape": list(weight.codes.shape),
        }  # fmt: skip
        key = cache_key(asked, length=64)

        def evolve() -> np.ndarray:
            # the key makes the seed: layers and thresholds are searched independently of each other
            strategy = Strategy(
                grid, self.functions, collapsed.data, seed=int(key[:15], 16), mutation="single", costs=self.costs,
                threshold=threshold**2 * task.n_outputs,
            )  # fmt: skip
            strategy.advance(self.n_gen)
            return np.array(strategy.best.genes)

        read = functools.partial(_read_genome, n_genes=grid.n_genes)
        genome = kept(cache_file("circuits", key), evolve, read=read, encode=_encode_genome).value
        return self._made(circuits, genome, task, collapsed, weight, threshold)

    def _made(
        self, circuits: Problem, genome: np.ndarray, task: Task, collapsed: CollapsedTask, weight: Int8Weight,
        threshold: float,
    ) -> LayerCircuit:  # fmt: skip
        scores = circuits.evaluate(genome)
        (data,) = task.data
        (outputs,) = collapsed.expand(circuits.outputs(genome, [collapsed.data[0].inputs])[0])
        (codes,) = data.codes(outputs, {data.places[0].layer: weight}).values()
        n_loaded = weight.codes.size - data.n_replaced
        return LayerCircuit(threshold, genome, codes, float(scores.energy_pj[0]), int(scores.n_gates[0]), n_loaded)


def known_circuits(
    circuits: LayerCircuits, name: str, weight: Int8Weight, thresholds: Sequence[float]
) -> list[LayerCircuit]:
    """One circuit for each threshold, in their order."""
    return [circuits.search(name, weight, threshold) for threshold in thresholds]


def _encode_genome(genome: np.ndarray) -> bytes:
    return safetensors.numpy.save({"genome": genome})


def _read_genome(path: Path, *, n_genes: int) -> np.ndarray:
    genome = as_arrays(path, read_safetensors(path)[0]).get("genome")
    if genome is None or genome.shape != (n_genes,) or genome.dtype != np.int32:
        raise UsageError(f"{path} holds no circuit of {n_genes} genes")
    return genome
