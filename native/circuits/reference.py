"""Reference interpreter in NumPy: what a genome computes and costs, against which the C library is checked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from native.circuits.costs import CostTable
from native.circuits.functions import FunctionSet
from native.circuits.gate_table import gate_table
from native.circuits.grid import Grid


def apply(name: str, a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A function on arrays of one shape, in the type of its domain."""
    (row,) = (row for row in gate_table(dtype.name) if row.name == name)
    assert row.value is not None, f"{name} reads the data set"
    if dtype == np.int8:
        value = np.asarray(row.value(a.astype(np.int64), b.astype(np.int64)))
        return np.broadcast_to(((value + 128) % 256 - 128).astype(np.int8), a.shape)
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(row.value(a, b)).astype(dtype), a.shape)


def interpret(
    genes: np.ndarray,
    grid: Grid,
    functions: FunctionSet,
    inputs: np.ndarray,
    data_set: Sequence[int] | np.ndarray = (0,),
) -> np.ndarray:
    """Outputs (n_samples, n_outputs) of one genome without recurrent connections.

    Args:
        genes: (n_genes,) integers.
        grid: The grid.
        functions: The function set.
        inputs: (n_samples, n_inputs).
        data_set: (n_samples,) or (1,) the data set that a sample belongs to.
    """
    dtype, size = functions.dtype, grid.arity + 1
    pins = {i: np.ascontiguousarray(inputs[:, i], dtype=dtype) for i in range(grid.n_inputs)}
    branch = np.broadcast_to(np.asarray(data_set) % grid.arity, (len(inputs),))
    for gate in active_gates(genes, grid, functions):
        *sources, function = (int(gene) for gene in genes[gate * size : (gate + 1) * size])
        name = functions.names[function]
        reads = int(functions.n_read(grid.arity)[function])
        read = [pins[pin] for pin in sources[:reads]]
        if name == "mux":
            value = np.choose(branch, read)
        elif name == "demux":
            value = np.where(branch == 0, read[0], np.int8(0))
        else:
            blank = np.zeros(len(inputs), dtype=dtype)
            a, b = [*read, blank, blank][:2]
            value = apply(name, a, b, dtype)
        pins[grid.n_inputs + gate] = value
    return np.stack([pins[int(pin)] for pin in genes[-grid.n_outputs :]], axis=1)


def active_gates(genes: np.ndarray, grid: Grid, functions: FunctionSet) -> list[int]:
    """Gates that an output depends on, ascending."""
    size, reads = grid.arity + 1, functions.n_read(grid.arity)
    active: set[int] = set()
    waiting = [int(pin) for pin in genes[-grid.n_outputs :]]
    while waiting:
        gate = waiting.pop() - grid.n_inputs
        if gate >= 0 and gate not in active:
            active.add(gate)
            own = genes[gate * size : (gate + 1) * size]
            waiting.extend(int(pin) for pin in own[: reads[own[-1]]])
    return sorted(active)


def cost(genes: np.ndarray, grid: Grid, functions: FunctionSet, costs: CostTable) -> dict[str, float]:
    """energy_pj, area, delay, n_gates and depth of one genome without recurrent connections."""
    size, reads = grid.arity + 1, functions.n_read(grid.arity)
    total = {"energy_pj": 0.0, "area": 0.0, "n_gates": 0.0}
    arrival = dict.fromkeys(range(grid.n_inputs), 0.0)
    level = dict.fromkeys(range(grid.n_inputs), 0)
    for gate in active_gates(genes, grid, functions):
        *sources, function = (int(gene) for gene in genes[gate * size : (gate + 1) * size])
        own = functions.ids[function]
        is_gate = not gate_table(functions.domain)[own].is_wire
        total["energy_pj"] += float(costs.energy_pj[own])
        total["area"] += float(costs.area[own])
        total["n_gates"] += is_gate
        before = sources[: reads[function]]
        arrival[grid.n_inputs + gate] = max([0.0, *(arrival[pin] for pin in before)]) + float(costs.delay[own])
        level[grid.n_inputs + gate] = max([0, *(level[pin] for pin in before)]) + is_gate
    outputs = [int(pin) for pin in genes[-grid.n_outputs :]]
    return {**total, "delay": max(arrival[pin] for pin in outputs), "depth": float(max(level[pin] for pin in outputs))}
