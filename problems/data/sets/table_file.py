"""A table of numbers in a .csv file: features of examples, and the column that is predicted."""

from __future__ import annotations

import array
import csv
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from opt.console.errors import UsageError
from opt.files.plain_file import check_regular
from problems.data.memory import say_memory

TARGET_NAMES = ("target", "label")
"""A column of such a name is predicted, wherever it stands; without one, the last."""
MOST_CLASSES = 1000
"""Whole numbers of more kinds are no classes."""
_DELIMITERS = ",;\t"
_WHOLE = re.compile(r"[+-]?\d+")


@dataclass
class _Columns:
    """A table while it is read.

    Args:
        names: Of all columns.
        target: Position of the one that is predicted.
    """

    names: list[str]
    target: int
    values: array.array[float] = field(default_factory=lambda: array.array("f"))
    words: list[str] = field(default_factory=list)

    def add(self, path: Path, line: int, row: list[str]) -> None:
        if len(row) != len(self.names):
            raise UsageError(f"{path} line {line} has {len(row)} columns, and the first has {len(self.names)}")
        for k, cell in enumerate(row):
            text = cell.strip()
            where = f"{path} line {line}, column {self.names[k]!r}"
            if not text:
                raise UsageError(f"{where} is empty; fill it or leave the line out")
            if k == self.target:
                self.words.append(text)
                continue
            value = _number(text)
            if value is None:
                raise UsageError(f"{where} must be a number, got {text!r:.60}; encode words as numbers, or drop it")
            if not math.isfinite(value) or abs(value) > 3e38:
                raise UsageError(f"{where} must be a finite number of float32, got {text!r:.60}; fill it")
            self.values.append(value)


def read_table(path: Path) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features, targets and names of classes of a table.

    Args:
        path: Columns are separated by commas, semicolons or tabs. The first line is a header where none of its cells
            is a number, or where it names a column target or label. That column is predicted, else the last.

    Returns:
        Features (n, n_features) float32; targets, (n,) int64 classes where the column holds words or whole numbers,
        else float32; and the classes as they are written, in their order, none for numbers.

    Raises:
        UsageError: It is no such table: with line and column, and what was expected there.
    """
    columns: _Columns | None = None
    try:
        check_regular(path)
        say_memory(str(path), path.stat().st_size)
        with open(path, newline="", encoding="utf-8-sig") as file:
            for line, row in _rows(path, file):
                if columns is None:
                    columns, is_header = _started(path, row)
                    if is_header:
                        continue
                columns.add(path, line, row)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror or error}; check the path") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path} is no table of text ({error}); give a .csv file in UTF-8") from None
    if columns is None or not columns.words:
        raise UsageError(f"{path} holds no rows of examples; give at least one")
    features = np.frombuffer(columns.values, dtype=np.float32).reshape(len(columns.words), -1)
    targets, classes = _targets(path, columns)
    return features, targets, classes


def _rows(path: Path, file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """The rows with the number of their line; empty ones are left out."""
    first = next(file, "")
    if "\0" in first:
        raise UsageError(f"{path} is no table of text: it holds bytes of 0; give a .csv file")
    delimiter = max(_DELIMITERS, key=first.count)

    def lines() -> Iterator[str]:
        yield first
        yield from file

    reader = csv.reader(lines(), delimiter=delimiter)
    for row in reader:
        if row and any(cell.strip() for cell in row):
            yield reader.line_num, row


def _started(path: Path, row: list[str]) -> tuple[_Columns, bool]:
    """An empty table with the columns of a file whose first row this is, and whether it is a header."""
    if len(row) < 2:
        raise UsageError(f"{path} has one column; expected features and a target, separated by commas")
    words = [cell.strip() for cell in row]
    named = [k for k, word in enumerate(words) if word.lower() in TARGET_NAMES]
    if len(named) > 1:
        raise UsageError(f"{path} has columns {' and '.join(repr(words[k]) for k in named)}; keep one as the target")
    is_header = bool(named) or all(_number(word) is None for word in words)
    names = words if is_header else [str(k) for k in range(1, len(row) + 1)]
    return _Columns(names, named[0] if named else len(row) - 1), is_header


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _targets(path: Path, columns: _Columns) -> tuple[np.ndarray, list[str]]:
    """The targets and their classes' names: words or whole numbers are classes, other numbers are predicted."""
    words, name = columns.words, columns.names[columns.target]
    values = [_number(word) for word in words]
    if None in values:
        classes = sorted(set(words))
        _check_few(path, name, len(classes), len(words), "words", "write numbers to predict them")
    elif not all(map(_WHOLE.fullmatch, words)):
        targets = np.array(values, dtype=np.float64)
        if not np.isfinite(targets).all():
            raise UsageError(f"{path}, column {name!r} must be finite numbers; fill or leave out the others")
        return targets.astype(np.float32), []
    else:
        words = [str(int(word)) for word in words]
        numbers = sorted(map(int, set(words)))
        _check_few(path, name, len(numbers), len(words), "whole numbers", "to predict them write a decimal point")
        if numbers[0] >= 0 and numbers[-1] < MOST_CLASSES:  # classes keep their numbers, though some do not occur
            numbers = list(range(numbers[-1] + 1))
        classes = list(map(str, numbers))
    number = {word: k for k, word in enumerate(classes)}
    return np.array([number[word] for word in words], dtype=np.int64), classes


def _check_few(path: Path, name: str, n_classes: int, n_rows: int, kind: str, advice: str) -> None:
    if n_classes > min(MOST_CLASSES, max(2, n_rows // 2)):
        raise UsageError(
            f"{path}, column {name!r} holds {n_classes} different {kind} in {n_rows} rows: no classes; {advice}"
        )
