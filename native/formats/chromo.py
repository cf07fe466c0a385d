"""Files of CGP-Library: `.data` data sets and `.chromo` chromosomes."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from native.circuits.data import DataSet
from native.circuits.functions import FunctionSet
from native.circuits.gate_table import gate_table
from native.circuits.genome import Genome
from native.circuits.grid import Grid

# read the weighted sum of all inputs there, their first input here: the same where its weight is 1 and the others 0
NEURONS = tuple(row.name for row in gate_table("float64") if row.inputs_there == "weighted")
# read all inputs of a node there, the first two here
FOLDS = tuple(row.name for row in gate_table("float64") if row.inputs_there == "all")
# the head of a chromosome, a line each
SIZES = ("numInputs", "numNodes", "numOutputs", "arity")
Line = tuple[int, str]
"""A line of a file: its number, from 1, and its text."""


def read_data(path: str | Path) -> DataSet:
    """A `.data` file: `n_inputs,n_outputs,n_samples,`, then a line per sample, inputs before outputs.

    Lines may be of any length. Whole numbers stay whole, so that an int8 problem takes them.

    Raises:
        ValueError: Counts that disagree, missing columns, text that is no number; the line says where.
    """
    lines = _lines(path, "data file")
    if not lines:
        raise ValueError(f"data file {path} is empty")
    try:
        n_in, n_out, n_samples = (int(cell) for cell in _cells(lines[0][1]))
    except ValueError as error:
        raise ValueError(
            f"data file {path} must begin with n_inputs,n_outputs,n_samples; got {lines[0][1]!r}"
        ) from error
    if min(n_in, n_out, n_samples) < 1:
        raise ValueError(f"data file {path}: at least one input, output and sample are needed; got {lines[0][1]!r}")
    if len(lines) - 1 != n_samples:
        raise ValueError(f"data file {path} speaks of {n_samples} samples and holds {len(lines) - 1}")
    values = np.empty((n_samples, n_in + n_out))
    for row, (number, line) in zip(values, lines[1:], strict=True):
        cells = _cells(line)
        if len(cells) != n_in + n_out:
            raise ValueError(f"data file {path}, line {number}: expected {n_in + n_out} columns, got {len(cells)}")
        try:
            row[:] = [float(cell) for cell in cells]
        except ValueError as error:
            raise ValueError(f"data file {path}, line {number}: {error}") from error
    if not np.isfinite(values).all():
        raise ValueError(f"data file {path}: values must be finite")
    if (values == np.floor(values)).all() and np.abs(values).max() < 2**53:
        values = values.astype(np.int64)
    return DataSet(values[:, :n_in], values[:, n_in:])


def write_data(path: str | Path, data: DataSet) -> None:
    """Writes what `read_data` and CGP-Library read; weights and don't-cares have no place in it."""
    rows = np.concatenate([data.inputs, data.outputs], axis=1)
    head = f"{data.inputs.shape[1]},{data.outputs.shape[1]},{data.n_samples},"
    lines = [head, *("".join(f"{value!r}," for value in row) for row in rows.tolist())]
    Path(path).write_text("\n".join(lines) + "\n")


def read_chromo(path: str | Path, *, domain: str = "float64", levels_back: int | None = None) -> Genome:
    """A `.chromo` file: a feed-forward or recurrent chromosome of CGP-Library as a one-row genome.

    Args:
        path: The file.
        domain: "float64", as there, or "float32".
        levels_back: The file does not hold it; None is no limit.

    Raises:
        ValueError: The file is cut or malformed; a function is unknown, `rand` or one of the user's own; or a node's
            meaning differs here: a neuron with connection weights other than 1 for its first input and 0 for the rest,
            or a sum, product or logic gate of more than two inputs.
    """
    lines = _lines(path, "chromosome")
    n_in, n_nodes, n_out, arity = (_size(path, lines, i, name) for i, name in enumerate(SIZES))
    functions = _function_set(path, lines, arity=arity, domain=domain)
    body = lines[len(SIZES) + 1 :]
    if len(body) != n_nodes * (arity + 1) + 1:
        raise ValueError(
            f"chromosome {path}: {n_nodes} nodes of {arity} inputs and the outputs take "
            f"{n_nodes * (arity + 1) + 1} lines, got {len(body)}"
        )
    nodes = [_node(path, body[i * (arity + 1) : (i + 1) * (arity + 1)], functions) for i in range(n_nodes)]
    genes = [gene for node in nodes for gene in node] + _whole(path, body[-1], n_out)
    is_recurrent = any(source >= n_in + i for i, node in enumerate(nodes) for source in node[:-1])
    try:
        grid = Grid(n_in, n_out, 1, n_nodes, levels_back, arity, recurrent=0.1 if is_recurrent else 0.0)
        return Genome(grid, functions, np.array(genes))
    except ValueError as error:
        raise ValueError(f"chromosome {path}: {error}") from error


def _size(path: str | Path, lines: list[Line], i: int, name: str) -> int:
    """The number in line i of the head, `NAME,NUMBER`."""
    cells = _cells(lines[i][1]) if i < len(lines) else []
    if len(cells) != 2 or cells[0] != name or not cells[1].isdecimal():
        raise ValueError(f"chromosome {path}, line {i + 1}: expected {name},NUMBER")
    return int(cells[1])


def _function_set(path: str | Path, lines: list[Line], *, arity: int, domain: str) -> FunctionSet:
    """The functions in the last line of the head."""
    cells = _cells(lines[len(SIZES)][1]) if len(lines) > len(SIZES) else []
    if len(cells) < 2 or cells[0] not in ("functionSet", "fuctionSet"):  # CGP-Library's own spelling is the second
        raise ValueError(f"chromosome {path}, line 5: expected functionSet,NAME,...")
    try:
        functions = FunctionSet.named(*cells[1:], domain=domain)
    except ValueError as error:
        raise ValueError(f"chromosome {path}, line 5: {error}") from error
    if arity > 2 and set(functions.names) & set(FOLDS):
        raise ValueError(f"chromosome {path}: {', '.join(FOLDS)} read two inputs here, the nodes have {arity}")
    return functions


def _node(path: str | Path, block: list[Line], functions: FunctionSet) -> list[int]:
    """Genes of the node that a block of lines describes: its function, then an input and its weight a line."""
    function = _whole(path, block[0], 1)[0]
    if not 0 <= function < len(functions):
        raise ValueError(f"chromosome {path}, line {block[0][0]}: function {function} is not in the set")
    sources, weights = [], []
    for number, line in block[1:]:
        parts = _cells(line)
        try:
            sources.append(int(parts[0]))
            weights.append(float(parts[1]))
        except (ValueError, IndexError) as error:
            raise ValueError(f"chromosome {path}, line {number}: expected INPUT,WEIGHT; got {line!r}") from error
    if weights and functions.names[function] in NEURONS and (weights[0] != 1.0 or any(weights[1:])):
        raise ValueError(
            f"chromosome {path}, line {block[1][0]}: connection weights are not known here; "
            f"{functions.names[function]} needs 1 for its first input and 0 for the others"
        )
    return [*sources, function]


def write_chromo(path: str | Path, genome: Genome) -> None:
    """Writes a one-row floating-point genome as CGP-Library reads it.

    Neurons get weight 1 for their first input and 0 for the others, so that they compute the same there.
    """
    grid, functions = genome.grid, genome.functions
    if grid.rows != 1 or functions.domain == "int8":
        raise ValueError(f"a .chromo file holds one row of floating-point nodes, got {grid} of {functions.domain}")
    if grid.arity > 2 and set(functions.names) & set(FOLDS):
        raise ValueError(f"{', '.join(FOLDS)} read all {grid.arity} inputs of a node in CGP-Library and two here")
    lines = [
        f"numInputs,{grid.n_inputs}",
        f"numNodes,{grid.n_gates}",
        f"numOutputs,{grid.n_outputs}",
        f"arity,{grid.arity}",
        "functionSet," + ",".join(functions.names),
    ]
    size = grid.arity + 1
    for gate in range(grid.n_gates):
        *sources, function = (int(gene) for gene in genome.genes[gate * size : (gate + 1) * size])
        lines.append(str(function))
        is_neuron = functions.names[function] in NEURONS
        lines += [f"{pin},{0.0 if is_neuron and k else 1.0:f}" for k, pin in enumerate(sources)]
    Path(path).write_text("\n".join(lines) + "\n" + "".join(f"{pin}," for pin in genome.output_pins))


def _lines(path: str | Path, what: str) -> list[Line]:
    try:
        text = Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{what} {path} cannot be read: {error}") from error
    return [(number, line.strip()) for number, line in enumerate(text.splitlines(), 1) if line.strip()]


def _cells(line: str) -> list[str]:
    cells = [cell.strip() for cell in line.split(",")]
    return cells[:-1] if cells[-1] == "" else cells


def _whole(path: str | Path, line: Line, n: int) -> list[int]:
    try:
        values = [int(cell) for cell in _cells(line[1])]
    except ValueError as error:
        raise ValueError(f"chromosome {path}, line {line[0]}: {error}") from error
    if len(values) != n:
        raise ValueError(f"chromosome {path}, line {line[0]}: expected {n} whole numbers, got {line[1]!r}")
    return values
