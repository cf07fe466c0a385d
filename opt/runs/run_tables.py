"""Reading the tables of a run: each column checked once, so that whoever draws or compares can rely on it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from opt.console.errors import UsageError
from opt.files import csv_table
from opt.files.plain_file import read_bytes
from opt.problem import Objective

TRACE_NUMBERS = ("temperature", "hottest", "acceptance", "swaps", "distance", "current", "best")
"""Columns of a trace that hold numbers, besides its counts and those of the moves."""
AGAIN = "resume or repeat the run"


def read_table(path: Path, *, whole: bool = True, text: Sequence[str] = ()) -> pd.DataFrame:
    """A table as it is, whatever its columns.

    Args:
        path: The file.
        whole: Whether its last row is complete; else a last row without a line break is left out.
        text: Columns that stay text, whatever they look like.

    Raises:
        FileNotFoundError: There is no such file.
        UsageError: It is no readable table.
    """
    try:
        raw = read_bytes(path)
        if not whole:
            raw = raw[: raw.rfind(b"\n") + 1]
        return csv_table.parse(raw, dtype=dict.fromkeys(text, str))
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}; {AGAIN}") from None
    except ValueError as error:  # what pandas raises, and text that is no UTF-8
        raise UsageError(f"{path} is not a readable table ({error}); {AGAIN}") from None


def read_front(path: Path, objectives: Sequence[Objective]) -> pd.DataFrame:
    """front.csv: an `id` and finite objectives in every row, and whatever a problem adds."""
    table = read_table(path, text=["id"])
    _need(table, ["id"], path)
    for objective in objectives:
        _need(table, [objective.name], path)
        values = pd.to_numeric(table[objective.name], errors="coerce").to_numpy(dtype=float)
        if not np.isfinite(values).all():
            raise UsageError(f"{path} holds an objective that is no number; {AGAIN}")
        table[objective.name] = values if table[objective.name].dtype == object else table[objective.name]
    return table


def read_references(path: Path, objectives: Sequence[Objective]) -> pd.DataFrame:
    """references.csv: a `reference` in every row, and numbers for the objectives it has, NaN where it has none."""
    table = read_table(path, text=["reference"])
    _need(table, ["reference"], path)
    if table["reference"].isna().any():
        raise UsageError(f"{path} has a row without a name; {AGAIN}")
    _to_numbers(table, [o.name for o in objectives if o.name in table], path)
    return table


def read_history(path: Path, objectives: Sequence[Objective], columns: Sequence[str], *, whole: bool) -> pd.DataFrame:
    """history.csv: numbers in every column, the counts of generations and evaluations without a gap.

    Args:
        path: The file.
        objectives: The run's.
        columns: Those before the objectives' own, counts of generations and evaluations first.
        whole: As `read_table` takes it.
    """
    table = read_table(path, whole=whole)
    stats = [f"{stat}_{o.name}" for o in objectives for stat in ("best", "mean", "worst")]
    _need(table, [*columns, *stats], path)
    _to_numbers(table, [str(name) for name in table.columns], path)
    _counts(table, path)
    return table


def read_trace(path: Path, *, whole: bool) -> pd.DataFrame:
    """trace.csv: the counts, and the columns that are drawn as numbers where it has them."""
    table = read_table(path, whole=whole)
    moves = {str(c).split("_", 1)[1] for c in table if str(c).startswith(("proposed_", "accepted_"))}
    counts = [f"{kind}_{name}" for name in sorted(moves) for kind in ("proposed", "accepted")]
    _need(table, ["n_gen", "n_eval", *counts], path)
    _to_numbers(table, ["n_gen", "n_eval", *counts, *(name for name in TRACE_NUMBERS if name in table)], path)
    _counts(table, path)
    return table


def _need(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    for name in names:
        if name not in table:
            raise UsageError(f"{path} has no column {name!r}; {AGAIN}")


def _to_numbers(table: pd.DataFrame, names: Sequence[str], path: Path) -> None:
    """Turn columns into float64 where they are not numbers already; what is empty is NaN."""
    for name in names:
        column = table[name]
        if column.dtype.kind in "iuf":
            continue
        numbers = pd.to_numeric(column, errors="coerce")
        if (numbers.isna() & column.notna()).any():
            raise UsageError(f"{path} has text in its column {name!r} where a number belongs; {AGAIN}")
        table[name] = numbers.astype(float)


def _counts(table: pd.DataFrame, path: Path) -> None:
    """Refuse generations that do not follow on each other, and evaluations that fall or are no numbers."""
    n_gen, n_eval = (table[name].to_numpy(dtype=float) for name in ("n_gen", "n_eval"))
    if not np.array_equal(n_gen, np.arange(1, len(table) + 1)):
        raise UsageError(f"{path} does not count the generations from 1 on; {AGAIN}")
    if not np.isfinite(n_eval).all() or (np.diff(n_eval, prepend=0.0) < 0).any():
        raise UsageError(f"{path} counts evaluations that become fewer; {AGAIN}")
