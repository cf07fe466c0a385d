"""study.json: what was asked of a study; written sealed, and checked for its shape when read."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.files import atomic, sealed
from opt.files.plain_file import check_regular
from opt.runs.manifest import request_fault
from opt.runs.run_directory import now
from opt.studies.planned_run import PlannedRun

NAME = "study.json"
FORMAT = "opt-study"
VERSION = 1
LOST = "restore it from a copy, or sweep again"
_OF_TASK: dict[str, tuple[type, ...]] = {
    "target": (str,), "problem_parameters": (dict,), "request": (dict,), "name": (str,), "folder": (str,),
    "command": (str, type(None)), "silent": (bool,), "out": (str,),
}  # fmt: skip


def write(path: Path, data: dict[str, Any]) -> None:
    """Write the study.json of the study in the folder `path`, atomically."""
    fields = {"format": FORMAT, "version": VERSION, "saved": now(), **data}
    atomic.write_bytes(path / NAME, sealed.encode(fields))


def read(path: Path) -> sealed.Sealed:
    """The study.json of the study in the folder `path`.

    Raises:
        UsageError: The folder holds none, or it is corrupt or of another version.
    """
    file = path / NAME
    try:
        check_regular(file)
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"{path} is not a study: it has no study.json; give a folder that a sweep wrote") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; {LOST}") from None
    content = sealed.read(file, lost=LOST)
    if content.fields.get("format") != FORMAT or content.fields.get("version") != VERSION:
        raise UsageError(f"{file} is not a study of version {VERSION}; open it with the release that wrote it")
    entries = content.fields.get("tasks")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            check_name(entry.get("name"), f"{file}: task")
    if reason := _fault(content.fields):
        raise UsageError(f"{file} is altered: {reason}; {LOST}")
    return content


def _fault(data: dict[str, Any]) -> str:
    """The first thing that has not the shape it was written with, in words; "" where all have."""
    for name, kinds in (("tasks", list), ("varying", dict), ("reasons", dict), ("command", (str, type(None)))):
        if name not in data:
            return f"it lacks {name!r}"
        if not isinstance(data[name], kinds):
            return f"{name} is something else than it was"
    for number, entry in enumerate(data["tasks"], start=1):
        if reason := _fault_of_task(entry):
            return f"task {number}: {reason}"
    names = [entry["name"] for entry in data["tasks"]]
    if len(set(names)) < len(names):
        return "its tasks lack names of its own"
    if lacking := [name for name in names if not _is_texts(data["varying"].get(name))]:
        return f"varying has no settings of {lacking[0]}"
    for name in ("code", "functions"):
        if not isinstance(data.get(name, {}), dict):
            return f"{name} is something else than it was"
    return "" if _is_texts(data["reasons"]) else "reasons are no texts"


def _fault_of_task(entry: Any) -> str:
    if not isinstance(entry, dict) or not set(entry) <= {f.name for f in fields(PlannedRun)}:
        return "it has settings that no task has"
    for name, kinds in _OF_TASK.items():
        if not isinstance(entry.get(name), kinds):
            return f"{name} is {'missing' if name not in entry else 'something else than it was'}"
    return request_fault(entry["request"])


def _is_texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())
