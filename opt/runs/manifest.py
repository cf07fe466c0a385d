"""The manifest of a run: what was asked and how it ended; written sealed, and checked for its shape when read."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.wording import excerpt
from opt.files import atomic, sealed
from opt.files.plain_file import check_regular

NAME = "manifest.json"
FORMAT = "opt-run"
VERSION = 1
REQUIRED = ("status", "problem", "objectives", "algo", "seed", "budget", "request")
STATUSES = ("running", "finished", "interrupted", "failed")
LOST = "restore it from a copy, or start a new run"
_FILE = re.compile(r"[a-z]+\.(csv|jsonl)|solutions/[^/\0]+|(start/)+([XF]\.npy|manifest\.json|journal\.jsonl)")
"""What a manifest may name of the files beside it; nothing outside the run is ever looked at."""
_OBJECTIVE = {"name", "sense", "unit", "weight", "worst"}

Test = Callable[[Any], bool]


@dataclass(frozen=True)
class Manifest:
    """A manifest as it was read.

    Attributes:
        fields: What was asked and how it ended.
        files: Digests of the files that the run ended with, by their paths in it; none while it is under way,
            or where an earlier release wrote it.
        seal: Whether the file's bytes are those that were written.
    """

    fields: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)
    seal: sealed.Seal = "unsealed"


def write(folder: Path, fields: dict[str, Any], files: dict[str, str] | None = None) -> None:
    """Write the manifest of the run in `folder`, atomically; see `Manifest`."""
    atomic.write_bytes(folder / NAME, sealed.encode({**fields, "files": files or {}}))


def read(path: Path) -> Manifest:
    """The manifest of the run in the folder `path`.

    Raises:
        UsageError: The path is no run directory, or its manifest is corrupt or of another version.
    """
    file = path / NAME
    try:
        check_regular(file)
    except (FileNotFoundError, NotADirectoryError):
        reason = "has no manifest.json" if path.is_dir() else "does not exist" if not path.exists() else "is a file"
        raise UsageError(f"{path} is not a run directory: it {reason}; `{spelled('show')}` lists the runs") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; give another, or {LOST}") from None
    content = sealed.read(file, lost=LOST)
    fields = content.fields
    if fields.get("format") != FORMAT:
        raise UsageError(f"{path} is not a run directory of this program: manifest.json has no format {FORMAT}")
    missing = [name for name in REQUIRED if name not in fields]
    if fields.get("version") == VERSION and missing:
        raise UsageError(f"{file} lacks {', '.join(missing)}; {LOST}")
    if fields.get("version") != VERSION:
        raise UsageError(
            f"{path} is of run version {fields.get('version')} and this program reads version {VERSION}; "
            "open it with the release that wrote it"
        )
    files = fields.pop("files", {})
    if reason := _fault({**fields, "files": files}):
        raise UsageError(f"{file} is altered: {reason}; {LOST}")
    return Manifest(fields, files, content.seal)


def request_fault(request: dict[str, Any]) -> str:
    """The first field of a search's request that has not the shape it was written with; "" where all have."""
    return _fault_of(request, _SHAPE["request"], "request.")


# -- shapes: a test and what it expects in words ---------------------------------------------------------


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_positive(value: Any) -> bool:
    return _is_count(value) and value > 0


def _is_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond every float
        return False


def _is_flag(value: Any) -> bool:
    return isinstance(value, bool)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _or_null(test: Test) -> Test:
    return lambda value: value is None or test(value)


def _list_of(test: Test) -> Test:
    return lambda value: isinstance(value, list) and bool(value) and all(map(test, value))


def _values(test: Test) -> Test:
    return lambda value: isinstance(value, dict) and all(map(test, value.values()))


def _is_objective(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and "name" in value
        and set(value) <= _OBJECTIVE
        and _is_text(value["name"])
        and value.get("sense", "minimise") in ("minimise", "maximise")
        and _is_text(value.get("unit", ""))
        and _is_number(value.get("weight", 1.0))
        and _or_null(_is_number)(value.get("worst"))
    )


def _is_resumed(value: Any) -> bool:
    """Entries of a run that went on by force: what changed, and the provenance from there on."""
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        return False
    for entry in value:
        changed, present = entry.get("changed", {}), entry.get("now", {})
        if not _values(_is_object)(changed) or not all({"was", "now"} <= set(both) for both in changed.values()):
            return False
        if not isinstance(present, dict) or not all(
            _or_null(_is_object)(present.get(name)) for name in ("versions", "code", "sources", "functions")
        ):
            return False
    return True


def _is_digests(value: Any) -> bool:
    return _values(_is_text)(value) and all(_FILE.fullmatch(name) for name in value)


def _is_plots(value: Any) -> bool:
    return isinstance(value, list) and all(_is_text(name) and _FILE.fullmatch(f"solutions/{name}") for name in value)


_TEXT = (_is_text, "text")
_TEXT_OR_NULL = (_or_null(_is_text), "text or null")
_COUNT = (_is_count, "a whole number, 0 or more")
_LIMIT = (_or_null(_is_positive), "a whole number, 1 or more, or null")
_NUMBER = (_is_number, "a finite number")
_NUMBER_OR_NULL = (_or_null(_is_number), "a finite number or null")
_NUMBERS_OR_NULL = (_or_null(_list_of(_is_number)), "a list of numbers or null")
_OBJECT = (_is_object, "an object")
_OBJECT_OR_NULL = (_or_null(_is_object), "an object or null")
_FLAG = (_is_flag, "true or false")
_BUDGET = {"n_gen": _LIMIT, "n_eval": _LIMIT, "patience": _LIMIT, "seconds": _NUMBER_OR_NULL, "tolerance": _NUMBER}
_SHAPE: dict[str, Any] = {
    "status": (lambda value: value in STATUSES, f"one of {', '.join(STATUSES)}"),
    "problem": {
        "": _OBJECT, "name!": _TEXT, "class": _TEXT_OR_NULL, "file": _TEXT_OR_NULL, "folder": _TEXT,
        "parameters!": _OBJECT_OR_NULL,
    },
    "objectives": (_list_of(_is_objective), "a list of objectives with name, sense, unit, weight and worst"),
    "algo": {"": _OBJECT, "name!": _TEXT, "parameters": _OBJECT_OR_NULL},
    "seed": _COUNT,
    "budget": {"": _OBJECT, **_BUDGET},
    "request": {
        "": _OBJECT, "algo": _TEXT, "parameters": _OBJECT, "seed": _COUNT, "budget!": {"": _OBJECT, **_BUDGET},
        "scalarise": _TEXT, "weights": _NUMBERS_OR_NULL, "ref": _NUMBERS_OR_NULL, "threads": _COUNT, "keep": _COUNT,
        "cache_size": _COUNT, "fail_fast": _FLAG, "eval_seconds": _NUMBER_OR_NULL, "start": _TEXT_OR_NULL,
        "no_verify": _FLAG,
    },
    "command": _TEXT_OR_NULL, "created": _TEXT, "ended": _TEXT, "stop_reason": _TEXT, "pid": _COUNT,
    "n_gen": _COUNT, "n_eval": _COUNT, "n_inner_eval": _COUNT, "n_failed": _COUNT, "n_solutions": _COUNT,
    "failures": (_values(_is_count), "counts by reason"),
    "seconds": _NUMBER, "hypervolume": _NUMBER_OR_NULL, "igd_plus": _NUMBER_OR_NULL, "ref_point": _NUMBERS_OR_NULL,
    "verified": (_or_null(lambda value: value == [] or _list_of(_is_text)(value)), "a list of texts or null"),
    "stationary": _FLAG, "plots": (_is_plots, "names of pictures"),
    "versions": _OBJECT_OR_NULL, "code": _OBJECT_OR_NULL, "sources": _OBJECT_OR_NULL, "functions": _OBJECT,
    "process": _OBJECT, "complaints": (_list_of(_is_text), "a list of texts"),
    "resumed": (_is_resumed, "what the run went on with"),
    "files": (_is_digests, "digests of the run's files"),
}  # fmt: skip
"""By field: a test and what it expects; a level of fields below it, where "" is the test of the level itself.

A field that is missing is not tested, unless its name here ends with "!"; a field that is not here may hold anything.
"""


def _fault(fields: dict[str, Any]) -> str:
    """The first field that has not the shape it was written with, in words; "" where all have."""
    if reason := _fault_of(fields, _SHAPE, ""):
        return reason
    names = [objective["name"] for objective in fields["objectives"]]
    if len(set(names)) < len(names):
        return f"objectives must have different names, got {', '.join(names)}"
    request = fields["request"]
    for name, value in (
        ("ref_point", fields.get("ref_point")),
        ("request.weights", request.get("weights")),
        ("request.ref", request.get("ref")),
    ):
        if value is not None and len(value) != len(names):
            return f"{name} has {len(value)} values for {len(names)} objectives"
    return ""


def _fault_of(fields: dict[str, Any], shape: dict[str, Any], prefix: str) -> str:
    for name, inner in shape.items():
        key = name.removesuffix("!")
        if not key:
            continue
        if key not in fields:
            if name.endswith("!"):
                return f"{prefix}{key} is missing"
            continue
        value = fields[key]
        is_right, expected = inner[""] if isinstance(inner, dict) else inner
        if not is_right(value):
            return f"{prefix}{key} must be {expected}, got {excerpt(value)}"
        if isinstance(inner, dict) and (reason := _fault_of(value, inner, f"{prefix}{key}.")):
            return reason
    return ""
