"""What the prune-retrain pipeline has made: a CSV file with a row a network; its rows in words and as points."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from opt.console.errors import UsageError
from opt.files import atomic
from problems.lowrank.retraining.pipeline import largest_reductions
from problems.networks.storage.checkpoints import load_metadata

Row = dict[str, Any]

_TEXT = ("data", "network", "method", "compensation", "mode", "checkpoint")


class Results:
    """The rows of `results.csv` in a folder, written whole after each network.

    Args:
        folder: Where it lies, beside the checkpoints.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / "results.csv"
        self.rows: list[Row] = []
        self._older = _read(self.path)

    def known(self, made_as: Mapping[str, object], checkpoint: str) -> Row | None:
        """The row of a network that an earlier run of the same command has made, taken over; else None.

        Args:
            made_as: Everything that makes the network; compared with what its checkpoint says.
            checkpoint: Its file's name.
        """
        path = self.path.parent / checkpoint
        row = next((r for r in self._older if r["checkpoint"] == checkpoint), None)
        if row is None or not path.is_file():
            return None
        try:
            metadata = load_metadata(path)
        except UsageError:
            return None  # damaged: made anew
        if any(metadata.get(key) != value for key, value in made_as.items()):
            return None
        self.rows.append(row)
        return row

    def add(self, row: Row) -> None:
        """One more network; the file is written."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row))
        writer.writeheader()
        writer.writerows(self.rows)
        # rows that this command has not come to yet stay in the file
        names = {r["checkpoint"] for r in self.rows}
        writer.writerows(r for r in self._older if r["checkpoint"] not in names and r.keys() == row.keys())
        self.path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(self.path, text.getvalue().encode())


def in_words(row: Row) -> str:
    """A network in a line."""
    return (
        f"{row['method']}  seed {row['seed']}  kept {row['kept']:.3f}  before {row['accuracy_before']:.4f}  "
        f"after {row['accuracy']:.4f}  of {row['base_accuracy']:.4f}"
    )


def reductions_in_words(rows: Sequence[Row]) -> list[str]:
    """For each method, the largest reduction of parameters within each loss of accuracy."""
    lines = []
    for method in dict.fromkeys(r["method"] for r in rows):
        own = [r for r in rows if r["method"] == method]
        bases = {r["seed"]: r["base_accuracy"] for r in own}
        lines.append(f"{method}: largest reduction of parameters within a loss of accuracy")
        for delta, reduction in largest_reductions(own, base=sum(bases.values()) / len(bases)).items():
            lines.append(f"  {100 * delta:3.1f} points  {'none' if reduction is None else f'{100 * reduction:.1f} %'}")
    return lines


def trade_off(rows: Sequence[Row]) -> pd.DataFrame:
    """The rows as `draw_trade_off` takes them: the parents, and each method before and after retraining."""
    out: list[Row] = []
    for seed, row in {r["seed"]: r for r in rows}.items():
        sizes = {"parameters": row["base_parameters"], "macs": row["base_macs"]}
        out.append(_point(seed, "parent", 1.0, sizes, row["base_accuracy"]))
    for when, column in (("", "accuracy"), (", before retraining", "accuracy_before")):
        for row in rows:
            sizes = {s: row[s] for s in ("parameters", "macs")}
            out.append(_point(row["seed"], row["method"] + when, row["keep_ratio"], sizes, row[column]))
    return pd.DataFrame(out)


def _point(parent: object, method: str, budget: float, sizes: Mapping[str, object], accuracy: object) -> Row:
    return {
        "parent": parent,
        "method": method,
        "compensation": "none",
        "limited": "parameters",
        "budget": budget,
        **sizes,
        "accuracy": accuracy,
    }


def _read(path: Path) -> list[Row]:
    if not path.is_file():
        return []
    try:
        with path.open(newline="") as file:
            rows = [{k: v if k in _TEXT else _number(v) for k, v in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, AttributeError, csv.Error):
        return []  # not a file of ours: everything is made anew
    return rows if all(row.get("checkpoint") for row in rows) else []


def _number(text: str) -> float:
    return int(text) if text.isdigit() else float(text)
