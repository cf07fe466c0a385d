"""A run's front as a table in the terminal, and the console that every command prints with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from opt.console.tables import say
from opt.runs.front_files import spread
from opt.runs.run import Run

MOST_ROWS = 15
MOST_COLUMNS = 10


def print_front(run: Run, console: Console) -> None:
    """Print a run's front, or the front so far where it has not ended with one; see `print_table`."""
    if run.has_front:
        print_table(run, run.front, console)
    else:
        print_front_so_far(run, console)


def print_front_so_far(run: Run, console: Console) -> None:
    """Print the front of everything that a run's journal holds."""
    so_far = run.front_so_far
    if not so_far.n_gen:
        say(console, "front so far: nothing is recorded yet")
        return
    since = f", since the objectives changed their meaning in generation {so_far.since}" if so_far.since > 1 else ""
    print_table(run, so_far.table, console, what=f"front so far, from the journal{since}")


def print_table(run: Run, front: pd.DataFrame, console: Console, *, what: str = "front") -> None:
    """Print a front: at most 15 rows, spread along it, the objectives and the held-out metrics first."""
    names = [o.name for o in run.objectives]
    if not len(front):
        say(console, f"the {what} is empty: no candidate could be evaluated and met the constraints")
        return
    F = np.column_stack([front[o.name].to_numpy(dtype=float) * o.sign for o in run.objectives])
    rows = front.iloc[spread(F, MOST_ROWS)]
    tests = [str(c) for c in front.columns if str(c).startswith("test_")]
    first = ["id", *names, *tests]
    others = [str(c) for c in front.columns if c not in first]
    shown = first + others[: max(0, MOST_COLUMNS - len(first))]
    n_hidden = len(others) - (len(shown) - len(first))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in shown:
        table.add_column(name, justify="left" if name == "id" else "right", overflow="fold")
    for row in rows[shown].itertuples(index=False):
        table.add_row(*(number(value) for value in row))
    count = f"{len(front)} solution{'s' if len(front) > 1 else ''}"
    part = f", {len(rows)} spread along it" if len(rows) < len(front) else ""
    more = f"; {n_hidden} more columns in front.csv" if n_hidden else ""
    say(console, f"{what}: {count}{part}{more}")
    console.print(table)


def number(value: Any, *, digits: int = 5) -> str:
    """A cell: whole numbers whole, others to so many digits, text as it is, None as nothing."""
    if value is None:
        return ""
    if isinstance(value, str | bool | np.bool_):
        return str(value)
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.{digits}g}"
