"""An append-only CSV table that grows by one row a generation and can be gone on with after a kill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt.files import atomic

MOST_DIGITS = 15
"""Digits of a generation's number; more are no number that a run counts to."""


class RowFile:
    """A CSV file open for appending; the first column is the generation, counted from 1 without a gap.

    What an earlier part of the run wrote is kept as far as it is whole, and not written again. As the run
    replays, each of those rows is compared with the one that it computes: a row that was altered on the disk
    is mended, and the file written anew once the replay is over.

    Args:
        path: The file; made anew where it has other columns.
        columns: Names of the columns, the generation's first.
        at_most: Rows kept of an earlier part, the number of generations that the journal holds.
        measured: A column that no replay can compute, such as the time: its cells are kept.

    Attributes:
        kept: The rows of an earlier part, as text without line breaks; "" for one that is damaged.
    """

    def __init__(self, path: Path, columns: Sequence[str], *, at_most: int, measured: str = "") -> None:
        self._path = path
        self._header = ",".join(columns)
        self._measured = columns.index(measured) if measured else None
        self.kept = _whole_rows(path, self._header, at_most=at_most)
        # a row that is damaged is computed anew by the replay: until then the file stays as it is
        self._is_stale = "" in self.kept
        if not self._is_stale:
            self._write()
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run

    def times(self) -> dict[int, float]:
        """The measured column of the kept rows, by generation; without those whose cell holds no time."""
        if self._measured is None:
            return {}
        cells = {n: row.split(",")[self._measured] for n, row in enumerate(self.kept, start=1) if row}
        return {n: float(cell) for n, cell in cells.items() if _is_time(cell)}

    def add(self, row: Sequence[float | str]) -> None:
        """Add a row, or compare it with the one that an earlier part of the run wrote of that generation."""
        cells = [v if isinstance(v, str) else f"{v:.10g}" for v in row]
        number = int(float(row[0]))
        if number <= len(self.kept):
            # a generation that is replayed: what an earlier part wrote of it is compared and, where it differs, mended
            before = self.kept[number - 1].split(",")
            if self._measured is not None and len(before) == len(cells) and _is_time(before[self._measured]):
                cells[self._measured] = before[self._measured]
            if cells != before:
                self.kept[number - 1] = ",".join(cells)
                self._is_stale = True
            return
        self._renew()
        self._file.write(",".join(cells) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        try:
            self._renew()
        finally:
            self._file.close()

    def _renew(self) -> None:
        """Write the kept rows anew where the replay has mended one; nothing was appended to them yet."""
        if self._is_stale and "" not in self.kept:
            self._file.close()
            self._write()
            self._file = open(self._path, "a", encoding="utf-8")  # noqa: SIM115 - open as long as the run
            self._is_stale = False

    def _write(self) -> None:
        atomic.write_bytes(self._path, "".join(row + "\n" for row in [self._header, *self.kept]).encode())


def _is_time(cell: str) -> bool:
    """Whether a cell holds seconds; a number that `float` takes but no row holds, such as `1_0`, is none."""
    try:
        return f"{float(cell):.10g}" == cell and float(cell) >= 0
    except ValueError:
        return False


def _whole_rows(path: Path, header: str, *, at_most: int) -> list[str]:
    """The rows of the first `at_most` generations, "" for one that is damaged; none of a table of other columns."""
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]  # what follows the last break is torn
    # a header of as many columns is this one with an altered byte: the rows under it are worth keeping
    if not lines or lines[0].count(",") != header.count(","):
        return []
    rows: dict[int, str] = {}
    for line in lines[1:]:
        number = line.split(",", 1)[0]
        is_number = number.isascii() and number.isdecimal() and len(number) <= MOST_DIGITS
        if line.count(",") == header.count(",") and is_number and 1 <= int(number) <= at_most:
            rows[int(number)] = line
    return [rows.get(n, "") for n in range(1, max(rows, default=0) + 1)]
