"""Command lines that are refused, as tables: what is typed, and a part of the error."""

from __future__ import annotations

import shlex
from typing import Any

import pytest


def refusals(table: str) -> list[Any]:
    """Parameters of a test, (words, part), of lines `words -> part`; words are quoted as in a shell."""
    rows = [line.split(" -> ") for line in table.strip().splitlines()]
    return [pytest.param(tuple(shlex.split(words)), part, id=words.strip()) for words, part in rows]
