"""The end of a benchmark: its rows as a JSON file that is whole or not there, and the exit code."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np


def finish(rows: Sequence[dict[str, Any]], file: Path | None, *, complaint: str) -> int:
    """Tell the load, and write the rows where a file was asked for; 1, and a complaint, where results differ."""
    print(f"load {os.getloadavg()[0]:.2f}, {rows[0]['cpu']}, NumPy {np.__version__}")
    if file is not None:
        unfinished = file.with_suffix(".partial")
        unfinished.write_text(json.dumps(rows, indent=2) + "\n")
        unfinished.replace(file)
    if all(row["equal"] for row in rows):
        return 0
    print(complaint, file=sys.stderr)
    return 1
