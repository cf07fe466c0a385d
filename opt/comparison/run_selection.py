"""Which runs are compared: the finished ones with the same objectives, told apart by a field of their manifests."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

from opt.console.errors import UsageError, nearest
from opt.console.wording import some
from opt.runs.run import Run

MISSING = "(none)"
"""The value of a field that a manifest has not."""


def value_of(run: Run, name: str) -> str:
    """A manifest field as text: `algo` is the algorithm's name, a dot goes a level down.

    Args:
        run: The run.
        name: Such as `problem.parameters.crossover`.
    """
    value: Any = run.manifest
    for part in name.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict) and "name" in value:
        value = value["name"]
    return text_of(value)


def text_of(value: Any) -> str:
    """A value of a manifest as text that tells it from others."""
    if value is None:
        return MISSING
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def check_field(runs: Sequence[Run], name: str) -> None:
    """Refuse a field that no run's manifest has.

    Raises:
        UsageError: None has it; the nearest name is offered.
    """
    if not name or all(value_of(run, name) == MISSING for run in runs):
        names = {field for run in runs for field in _field_names(run.manifest)}
        raise UsageError(f"no run's manifest has a field {name!r}{nearest(name, sorted(names))}; see manifest.json")


def finished_runs(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The finished runs, and a warning about those left out."""
    left_out = [run for run in runs if run.status != "finished"]
    if not left_out:
        return list(runs), []
    counts = Counter(run.status for run in left_out)
    states = ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    warning = f"left out, not finished ({states}): {some([run.path.name for run in left_out])}"
    return [run for run in runs if run.status == "finished"], [warning]


def same_objectives(runs: Sequence[Run]) -> tuple[list[Run], list[str]]:
    """The runs with the objectives that most of them have, and a warning about the rest."""
    kinds = [tuple((o.name, o.sense, o.unit) for o in run.objectives) for run in runs]
    most = Counter(kinds).most_common(1)[0][0]
    left_out = [run for run, kind in zip(runs, kinds, strict=True) if kind != most]
    if not left_out:
        return list(runs), []
    names = [f"{run.path.name} ({', '.join(o.name for o in run.objectives)})" for run in left_out]
    warning = f"left out, other objectives than {', '.join(name for name, _, _ in most)}: {some(names)}"
    return [run for run, kind in zip(runs, kinds, strict=True) if kind == most], [warning]


def _field_names(manifest: dict[str, Any], prefix: str = "") -> list[str]:
    names = []
    for name, value in manifest.items():
        names.append(prefix + name)
        if isinstance(value, dict):
            names += _field_names(value, f"{prefix}{name}.")
    return names
