"""What commands refuse, as data: `refused/NAME.yaml` has, by test, command lines with a part of what answers."""

from __future__ import annotations

import shlex
from pathlib import Path

import yaml

FOLDER = Path(__file__).parent / "refused"


def refused(name: str, test: str) -> list[tuple[tuple[str, ...], str]]:
    """The command lines of one test, as arguments, each with a part of its answer."""
    tables = yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))
    return [(tuple(shlex.split(line)), part) for entry in tables[test] for line, part in entry.items()]
