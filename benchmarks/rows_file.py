"""The end of a benchmark: its rows as a JSON file that is whole or not there, and the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def finish(rows: Sequence[dict[str, Any]], file: Path | None, *, complaint: str) -> int:
    """Write the rows where a file was asked for; exit code 1, and a complaint, where a row's results differ."""
    if file is not None:
        unfinished = file.with_suffix(".partial")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n")
        unfinished.replace(file)
    if all(row["equal"] for row in rows):
        return 0
    print(complaint, file=sys.stderr)
    return 1
