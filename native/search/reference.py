"""What a genome computes and costs, written the plain way in NumPy: what the C library is checked against."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from native.circuits.costs import CostTable
from native.circuits.functions import FunctionSet
from native.circuits.grid import Grid

# on int64 arrays; the caller wraps the values around
_INT8: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray | int]] = {
    "rsub127": lambda a, b: 127 - a,
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "neg": lambda a, b: -a,
    "sub128": lambda a, b: -128 + a,
    "shr1": lambda a, b: a >> 1,
    "shr2": lambda a, b: a >> 2,
    "shr3": lambda a, b: a >> 3,
    "shr4": lambda a, b: a >> 4,
    "shr5": lambda a, b: a >> 5,
    "shl1": lambda a, b: a << 1,
    "shl2": lambda a, b: a << 2,
    "shl3": lambda a, b: a << 3,
    "shl4": lambda a, b: a << 4,
    "shl5": lambda a, b: a << 5,
    "and": lambda a, b: a & b,
    "or": lambda a, b: a | b,
    "xor": lambda a, b: a ^ b,
    "not": lambda a, b: ~a,
    "inc": lambda a, b: a + 1,
    "dec": lambda a, b: a - 1,
    "one": lambda a, b: 1,
    "minus_one": lambda a, b: -1,
    "zero": lambda a, b: 0,
    "min": lambda a, b: -128,
    "max": lambda a, b: 127,
    "wire": lambda a, b: a,
}

_FLOAT: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray | float]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "div": lambda a, b: np.where(b == 0, a.dtype.type(1), a / b),
    "abs": lambda a, b: np.abs(a),
    "sqrt": lambda a, b: np.sqrt(np.where(a > 0, a, a.dtype.type(0))),
    "sq": lambda a, b: a * a,
    "cube": lambda a, b: a * a * a,
    "pow": lambda a, b: np.power(a, b),
    "exp": lambda a, b: np.exp(a),
    "sin": lambda a, b: np.sin(a),
    "cos": lambda a, b: np.cos(a),
    "tan": lambda a, b: np.tan(a),
    "1": lambda a, b: 1.0,
    "0": lambda a, b: 0.0,
    "pi": lambda a, b: np.pi,
    "sig": lambda a, b: 1 / (1 + np.exp(-a)),
    "gauss": lambda a, b: np.exp(a.dtype.type(-0.5) * a * a),
    "step": lambda a, b: np.where(a < 0, 0.0, 1.0),
    "softsign": lambda a, b: a / (1 + np.abs(a)),
    "tanh": lambda a, b: np.tanh(a),
    "and": lambda a, b: (a != 0) & (b != 0),
    "nand": lambda a, b: ~((a != 0) & (b != 0)),
    "or": lambda a, b: (a != 0) | (b != 0),
    "nor": lambda a, b: ~((a != 0) | (b != 0)),
    "xor": lambda a, b: (a != 0) != (b != 0),
    "xnor": lambda a, b: (a != 0) == (b != 0),
    "not": lambda a, b: a == 0,
    "wire": lambda a, b: a,
}


def apply(name: str, a: np.ndarray, b: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """A function on arrays of one shape, in the type of its domain."""
    if dtype == np.int8:
        value = np.asarray(_INT8[name](a.astype(np.int64), b.astype(np.int64)))
        return np.broadcast_to(((value + 128) % 256 - 128).astype(np.int8), a.shape)
    with np.errstate(all="ignore"):
        return np.broadcast_to(np.asarray(_FLOAT[name](a, b)).astype(dtype), a.shape)


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
    found: set[int] = set()
    waiting = [int(pin) for pin in genes[-grid.n_outputs :]]
    while waiting:
        gate = waiting.pop() - grid.n_inputs
        if gate >= 0 and gate not in found:
            found.add(gate)
            own = genes[gate * size : (gate + 1) * size]
            waiting.extend(int(pin) for pin in own[: reads[own[-1]]])
    return sorted(found)


def cost(genes: np.ndarray, grid: Grid, functions: FunctionSet, costs: CostTable) -> dict[str, float]:
    """energy_pj, area, delay, n_gates and depth of one genome without recurrent connections."""
    size, reads = grid.arity + 1, functions.n_read(grid.arity)
    total = {"energy_pj": 0.0, "area": 0.0, "n_gates": 0.0}
    arrival = dict.fromkeys(range(grid.n_inputs), 0.0)
    level = dict.fromkeys(range(grid.n_inputs), 0)
    for gate in active_gates(genes, grid, functions):
        *sources, function = (int(gene) for gene in genes[gate * size : (gate + 1) * size])
        own, is_gate = functions.ids[function], functions.names[function] != "wire"
        total["energy_pj"] += float(costs.energy_pj[own])
        total["area"] += float(costs.area[own])
        total["n_gates"] += is_gate
        before = sources[: reads[function]]
        arrival[grid.n_inputs + gate] = max([0.0, *(arrival[pin] for pin in before)]) + float(costs.delay[own])
        level[grid.n_inputs + gate] = max([0, *(level[pin] for pin in before)]) + is_gate
    outputs = [int(pin) for pin in genes[-grid.n_outputs :]]
    return {**total, "delay": max(arrival[pin] for pin in outputs), "depth": float(max(level[pin] for pin in outputs))}
