"""Problems that installed packages bring, by name: the entry points of the group `opt.problems`."""

from __future__ import annotations

import functools
import os
import re
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from opt.console.errors import UsageError, nearest
from opt.problem.module_files import module_specs

GROUP = "opt.problems"
_PLAIN = re.compile(r"[A-Za-z_][\w-]*")
CONFIGS = "configs"
"""Folder beside a problem's file that holds settings for it."""


@functools.cache
def installed_problems() -> dict[str, EntryPoint]:
    """Every installed problem by name, in alphabetical order; of two of one name that on the path first."""
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=GROUP):
        found.setdefault(entry.name, entry)
    return dict(sorted(found.items()))


def find_installed(name: str) -> EntryPoint | None:
    """The installed problem of that name; None where there is none, as of a path, for which nothing is looked up."""
    return installed_problems().get(name) if _PLAIN.fullmatch(name) else None


def problem_file(name: str) -> Path | None:
    """The file of an installed problem, found without importing it; None where none has that name, or it is gone."""
    entry = find_installed(name)
    specs = [] if entry is None else module_specs(entry.module)
    return Path(specs[-1].origin) if specs and specs[-1].has_location and specs[-1].origin else None


def config_file(text: str) -> Path:
    """A config file by its path, or by its name without `.yaml` where an installed package brings it.

    Raises:
        UsageError: It is a name, and neither a file nor an installed config is called so.
    """
    path = Path(text)
    if not _PLAIN.fullmatch(text) or os.path.lexists(path):
        return path
    folders = {file.parent / CONFIGS for file in map(problem_file, installed_problems()) if file is not None}
    configs = {file.stem: file for folder in sorted(folders) for file in sorted(folder.glob("*.yaml"))}
    if text not in configs:
        known = f"; installed: {', '.join(configs)}" if configs else ""
        raise UsageError(f"config file {text} does not exist, nor an installed one{nearest(text, configs)}{known}")
    return configs[text]
