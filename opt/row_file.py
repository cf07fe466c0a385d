"""A table on disk that grows by one row a generation and can be gone on with after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt import atomic


class RowFile:
    """A CSV file open for appending; the first column is the generation, counted from 1 without a gap.

    What an earlier part of the run wrote is kept as far as it is whole, and not written again.

    Args:
        path: The file; made anew where it has other columns.
        columns: Names of the columns, the generation's first.
        at_most: Rows kept of an earlier part, the number of generations that the journal holds.

    Attributes:
        kept: The rows kept, as text without line breaks.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, at_most: int) -> None:
        header = ",".join(columns)
        self.kept = _whole_rows(path, header, at_most=at_most)
        atomic.write_bytes(path, "".join(row + "\n" for row in [header, *self.kept]).encode())
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def add(self, row: Sequence[float | str]) -> None:
        """Add a row, unless an earlier part of the run wrote that generation's."""
        if float(row[0]) <= len(self.kept):
            return
        self._file.write(",".join([v if isinstance(v, str) else f"{v:.10g}" for v in row]) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _whole_rows(path: Path, header: str, *, at_most: int) -> list[str]:
    """The first rows that are whole and follow on each other, `at_most` of them; none under another header."""
    rows: list[str] = []
    if not path.is_file():
        return rows
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    if not lines or lines[0] != header + "\n":
        return rows
    for n_gen, line in enumerate(lines[1 : at_most + 1], start=1):
        cells = line.split(",")
        if not line.endswith("\n") or len(cells) != header.count(",") + 1 or cells[0] != str(n_gen):
            break
        rows.append(line.rstrip("\n"))
    return rows
