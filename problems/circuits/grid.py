"""Parsing of grid, gate functions and cost table into the library's form; mistakes are told in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from native.cgp import CostTable, FunctionSet, Grid
from operators.circuits import GridLayout
from opt.console.errors import UsageError
from opt.console.ranges import Range

PUBLISHED = "published"
GRID_SIDE = Range(1, 10_000)
"""Rows, or columns, of a grid of gates."""
WEIGHT_ERROR = Range(0.0, 255.0)
"""Root mean squared errors of 8-bit weights."""
_MOST_GATES = 1_000_000


@contextmanager
def told_in_one_line(option: str) -> Iterator[None]:
    """What the library refuses becomes an error of usage that names the option."""
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{option}: {' '.join(str(error).split())}") from None


def function_set(text: str, *, multiplexer: bool = False) -> FunctionSet:
    """Gate functions by name.

    Args:
        text: `int8` for all; or names separated by commas; or, each with a leading minus, the names left out of all.
        multiplexer: Whether `int8` has the functions that tell data sets apart.

    Raises:
        UsageError: A name that is none, names with and without a minus, or no function left.
    """
    names = [part.strip() for part in text.split(",") if part.strip()]
    left_out = [name[1:].strip() for name in names if name.startswith("-")]
    if not names or (left_out and len(left_out) < len(names)):
        raise UsageError(f"functions must be int8, names to take, or -names to leave out, got {text!r}")
    with told_in_one_line("functions"):
        every = FunctionSet.int8(multiplexer=multiplexer)
        if left_out:
            return every.without(*left_out)
        return every if names == ["int8"] else FunctionSet.named(*names)


def cost_table(text: str | None) -> CostTable:
    """The default costs, the published relative energies, or a file's.

    Raises:
        UsageError: The file cannot be read, or a row is missing, no number, or negative.
    """
    with told_in_one_line("costs"):
        if text is None:
            return CostTable.default()
        return CostTable.published() if text == PUBLISHED else CostTable.read(text)


def circuit_grid(
    *, n_inputs: int, n_outputs: int, rows: int, cols: int, levels_back: int | None, functions: FunctionSet
) -> tuple[Grid, GridLayout]:
    """The grid for the library, and its layout for the operators.

    Args:
        n_inputs: Of the circuit.
        n_outputs: Of the circuit.
        rows: Gates in a column.
        cols: Columns.
        levels_back: Columns that a gate can look back; None reaches everything.
        functions: The gates' functions.

    Raises:
        UsageError: A grid without gates, or with too many, or functions that need more operands than a gate has.
    """
    if rows * cols > _MOST_GATES:
        raise UsageError(f"rows times cols must be at most {_MOST_GATES} gates, got {rows} times {cols}")
    with told_in_one_line("grid"):
        grid = Grid(n_inputs, n_outputs, rows, cols, levels_back)
        functions.check_arity(grid.arity)
    reads = functions.n_read(grid.arity)
    back = min(grid.reach, cols + 1)
    return grid, GridLayout(n_inputs, n_outputs, rows, cols, back, reads.astype(int), grid.arity)
