"""CSV tables safe from formula injection: no spreadsheet computes a cell, and they are read back as they were.

A spreadsheet computes a cell that begins with =, +, - or @, also behind a tab or a carriage return;
`=cmd|...` starts a program. Names of columns and text in cells get an apostrophe before them, as
one types it by hand; numbers stay as they are. Source: OWASP, "CSV Injection".
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from opt.files.plain_file import read_bytes

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_GUARDED = re.compile(r"'+[=+\-@\t\r]")


def guarded(value: Any) -> Any:
    """A name or cell as it is written: text that a spreadsheet would compute gets an apostrophe before it."""
    if not isinstance(value, str) or not _FORMULA.match(value) or _is_number(value):
        return value
    return f"'{value}"


def plain(value: Any) -> Any:
    """A name or cell as it was before `guarded`."""
    return value[1:] if isinstance(value, str) and _GUARDED.match(value) else value


def encode(table: pd.DataFrame) -> bytes:
    """A table as the bytes of a CSV file without an index; what UTF-8 cannot hold is escaped."""
    table = _in_cells(table, guarded)
    # the csv module puts a carriage return in quotes only from Python 3.13 on; unquoted it ends the row
    has_return = any("\r" in text for text in _texts(table))
    quoting: Any = csv.QUOTE_NONNUMERIC if has_return else csv.QUOTE_MINIMAL
    return table.to_csv(index=False, quoting=quoting).encode("utf-8", "backslashreplace")


def read(path: Path, *, dtype: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A table from a CSV file that `encode` wrote.

    Raises:
        OSError: As `opt.files.plain_file.read_bytes`.
        ValueError: As `parse`.
    """
    return parse(read_bytes(path), dtype=dtype)


def parse(data: bytes, *, dtype: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """A table from the bytes of a CSV file that `encode` wrote.

    Args:
        data: The file's bytes.
        dtype: Types of columns, as pandas takes them.

    Raises:
        ValueError: It is no table, or no UTF-8.
    """
    text = StringIO(data.decode("utf-8"))
    return _in_cells(pd.read_csv(text, dtype=dict(dtype or {}), low_memory=False), plain)


def _in_cells(table: pd.DataFrame, change: Any) -> pd.DataFrame:
    """The table with `change` made to the names of its columns and to the cells of columns that may hold text."""
    table = table.copy(deep=False)
    for k in range(table.shape[1]):
        column = table.iloc[:, k]
        if not pd.api.types.is_numeric_dtype(column) and any(change(v) is not v for v in column):
            table.isetitem(k, column.map(change).array)
    if any(change(name) is not name for name in table.columns):
        table.columns = pd.Index([change(name) for name in table.columns])
    return table


def _texts(table: pd.DataFrame) -> Iterator[str]:
    yield from (name for name in table.columns if isinstance(name, str))
    for k in range(table.shape[1]):
        if not pd.api.types.is_numeric_dtype(table.iloc[:, k]):
            yield from (cell for cell in table.iloc[:, k] if isinstance(cell, str))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
