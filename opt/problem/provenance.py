"""Provenance of a run's values: versions, code, data, arguments; and what of it has changed when the run goes on."""

from __future__ import annotations

import contextlib
import importlib.metadata
import inspect
import platform
import re
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from pymoo.core.problem import Problem

from opt.console.errors import UsageError
from opt.console.option_groups import of_former
from opt.console.wording import some
from opt.files.digest import short_digest
from opt.problem import CompressionProblem
from opt.problem.hooks import call
from opt.problem.source_files import source_files

PACKAGES = ("pymoo", "deap", "moocore", "numpy", "torch", "scikit-learn", "cma")
_KNOWN = ("opt", "pymoo", "builtins", "abc", "typing", "torch", "__main__")
"""Packages whose classes count by their versions."""
_NOTE = "_opt_arguments"
_OWN = ("cache", "data")
"""What pymoo itself writes into a problem."""
DISTRIBUTION = "opt-compress"
PROBLEM_FILE = "the problem's file"
MOST_NAMED = 4
"""At most so many changes are named in a message."""


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide what a run computes."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def provenance(
    problem: CompressionProblem,
    parameters: Mapping[str, Any] | None = None,
    *,
    recorded: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the values of a problem depend on, as fields of a manifest.

    Args:
        problem: The problem.
        parameters: Its parameters, where they are known: functions that they name belong to its code.
        recorded: Of `arguments_digest`.

    Returns:
        `versions`; `code`, this program's version and commit, digests of the problem's file and of the modules
        behind it; `sources`, the digest of each of those files; `data`; `arguments`, a digest of what the
        problem was built with.
    """
    file = source_of(problem)
    sources = {} if file is None else _sources(problem.plain or problem, file, parameters or {})
    code = {}
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):
        code["opt"] = importlib.metadata.version(DISTRIBUTION)
    if commit := _commit(Path(__file__).resolve().parents[2]):
        code["commit"] = commit
    if digest := file_digest(file):
        code["problem"] = digest
    if sources:
        code["modules"] = _digest(sorted(sources.items()))
    return {
        "versions": versions(),
        "code": code,
        "sources": sources,
        "data": call(problem, "data_fingerprint"),
        "arguments": arguments_digest(problem, recorded=recorded),
    }


def file_digest(file: str | Path | None) -> str | None:
    """Hex digest of a file's bytes; None where there is none."""
    if file is None:
        return None
    try:
        return short_digest(Path(file).read_bytes())
    except (OSError, ValueError):
        return None


def source_of(problem: CompressionProblem) -> Path | None:
    """The file of the problem's class; None where it was typed in."""
    try:
        file = inspect.getsourcefile(type(problem.plain or problem))
    except TypeError:
        return None
    return Path(file) if file is not None and Path(file).is_file() else None


def _sources(problem: Any, file: Path, parameters: Mapping[str, Any]) -> dict[str, str]:
    if str(file.resolve()).startswith(tuple(sysconfig.get_paths()[name] for name in ("stdlib", "purelib", "platlib"))):
        return {}  # a package that is installed counts by its version
    bases = [cls.__module__ for cls in type(problem).__mro__[1:] if cls.__module__.split(".")[0] not in _KNOWN]
    named = source_files(file, [*_modules_in(parameters), *bases])
    return {name: digest for name, path in named.items() if (digest := file_digest(path)) is not None}


def _modules_in(parameters: Mapping[str, Any]) -> list[str]:
    """Modules of functions that parameters name as `package.module:function`."""
    texts = list(texts_in(parameters))
    return [text.split(":")[0] for text in texts if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*", text)]


def texts_in(value: Any) -> Iterator[str]:
    """Every text in a parameter's value, however deep; callables by their names do not count."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from texts_in(key)
            yield from texts_in(part)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for part in value:
            yield from texts_in(part)


def _commit(root: Path) -> str | None:
    """The commit that is checked out in a folder, read from git's own files; None where it is no checkout."""
    try:
        git = root / ".git"
        if git.is_file():
            git = (root / git.read_text(encoding="utf-8").removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text(encoding="utf-8").strip()
        if not head.startswith("ref:"):
            return head or None
        name = head.removeprefix("ref:").strip()
        common = git / "commondir"
        shared = (git / common.read_text(encoding="utf-8").strip()).resolve() if common.is_file() else git
        if (shared / name).is_file():
            return (shared / name).read_text(encoding="utf-8").strip() or None
        for line in (shared / "packed-refs").read_text(encoding="utf-8").splitlines():
            commit, _, reference = line.partition(" ")
            if reference == name:
                return commit
    except (OSError, UnicodeDecodeError):
        pass
    return None


def arguments_digest(problem: CompressionProblem, *, recorded: Mapping[str, Any] | None = None) -> str | None:
    """Hex digest of what the problem was built with; None where that is not known.

    Args:
        problem: The problem.
        recorded: The parameters of an earlier digest, in its order. Those that have come since then, and that are as
            they are by default, do not count; those that had another name or value then, and mean the same, count as
            they were. None for all, in the constructor's order.
    """
    if problem.plain is not None:
        return getattr(problem.plain, _NOTE, None)
    arguments = getattr(problem, "_given", None)
    if arguments is None:
        return None
    try:
        signature = inspect.signature(type(problem))
        bound = signature.bind(*arguments[0], **arguments[1])
        bound.apply_defaults()
    except (TypeError, ValueError):
        return None
    values = {name: _text_of(value) or type(value).__name__ for name, value in bound.arguments.items()}
    if recorded:
        values = _as_recorded(values, type(problem), recorded)
    return _digest(list(values.items()))


def _as_recorded(values: Mapping[str, str], problem: type, recorded: Mapping[str, Any]) -> dict[str, str]:
    """The texts of arguments under the names, with the values and in the order of recorded ones that mean the same."""
    present = of_former(problem.__init__, recorded)  # type: ignore[misc]
    renamed = {name for name, value in present.items() if name not in recorded or recorded[name] != value}
    former: set[str] = set()
    if all(values.get(name) == _text_of(present[name]) for name in renamed):
        former = {name for name in recorded if name in renamed or name not in present}
    else:
        renamed = set()
    texts = {**values, **{name: _text_of(recorded[name]) or "" for name in former}}
    defaults = inspect.signature(problem).parameters
    new = [
        name for name in values.keys() - recorded.keys() - renamed if values[name] != _text_of(defaults[name].default)
    ]
    order = [*recorded, *sorted(new, key=list(values).index)]
    return {name: texts[name] for name in order if name in texts}


def note_arguments(plain: Problem) -> None:
    """Note on a plain pymoo problem a digest of its values as they are before its first search changes them."""
    if _NOTE not in vars(plain):
        texts = {k: text for k, v in vars(plain).items() if k not in _OWN and (text := _text_of(v)) is not None}
        setattr(plain, _NOTE, _digest(sorted(texts.items())))


def _text_of(value: Any) -> str | None:
    """A text that tells values apart; None for objects, of which only the type is known."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, np.generic)):
        return repr(value)
    if isinstance(value, np.ndarray) and value.dtype != object:
        digest = short_digest(np.ascontiguousarray(value).tobytes())
        return f"{value.dtype} {value.shape} {digest}"
    if isinstance(value, (list, tuple)):
        return repr([_text_of(part) or type(part).__name__ for part in value])
    if isinstance(value, Mapping) and all(isinstance(name, str) for name in value):
        return repr([(name, _text_of(value[name]) or type(value[name]).__name__) for name in sorted(value)])
    return None


def _digest(data: Any) -> str:
    return short_digest(repr(data).encode("utf-8", "surrogateescape"))


# -- what has changed ------------------------------------------------------------------------------


def changes(manifest: Mapping[str, Any], present: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What differs between a run's provenance and the present one; only what was recorded counts.

    Args:
        manifest: The run's; what it was resumed with by force counts as recorded.
        present: Of `provenance`.

    Returns:
        `{"what": {"was": ..., "now": ...}}`, such as `{"problem's file": ...}`; empty where nothing changed.
    """
    recorded = _on_record(manifest)
    code, present_code = recorded["code"] or {}, present["code"]
    names = {"opt": "version of opt", "commit": "commit of opt", "problem": PROBLEM_FILE}
    of_code = {what: (code.get(name), present_code.get(name)) for name, what in names.items()}
    versions = (recorded["versions"] or {}).items()
    of_versions = {f"version of {name}": (was, present["versions"].get(name)) for name, was in versions}
    of_values = {
        "the data": (recorded["data"], present["data"]),
        "the problem's parameters": (recorded["arguments"], present["arguments"]),
    }
    # a manifest without the digest of all modules is of a release that did not know what a problem imports
    has_sources = recorded["sources"] is not None and code.get("modules") is not None
    of_sources = _changed_sources(recorded["sources"], present["sources"]) if has_sources else {}
    return _told_once(_changed(of_code) | of_sources | _changed(of_versions | of_values))


def _on_record(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The provenance that a run has by its manifest: of what it was resumed with by force, the last counts."""
    recorded = {name: manifest.get(name) for name in ("versions", "code", "sources", "data")}
    recorded["arguments"] = manifest["problem"].get("arguments")
    for entry in manifest.get("resumed") or ():
        recorded |= entry.get("now") or {}
    return recorded


def _changed(pairs: Mapping[str, tuple[Any, Any]]) -> dict[str, dict[str, Any]]:
    """Of pairs of what was and what is, those that differ; what was never recorded does not."""
    return {what: {"was": was, "now": now} for what, (was, now) in pairs.items() if was is not None and was != now}


def _changed_sources(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The files that came, went or changed, by name."""
    names = sorted(set(before) | set(after))
    pairs = {name: (before.get(name), after.get(name)) for name in names}
    return {name: {"was": was, "now": now} for name, (was, now) in pairs.items() if was != now}


def _told_once(different: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The changes without a second entry for the problem's file, which is one of its sources too."""
    file = different.get(PROBLEM_FILE)
    if file is None:
        return different
    others = {what: both for what, both in different.items() if what != PROBLEM_FILE}
    same = {
        what
        for what, both in others.items()
        if both["was"] in (file["was"], None) and both["now"] in (file["now"], None)
    }
    return {PROBLEM_FILE: file} | {what: both for what, both in others.items() if what not in same}


def check_unchanged(
    path: Path, manifest: Mapping[str, Any], present: Mapping[str, Any], *, is_forced: bool
) -> dict[str, Any]:
    """Refuse to go on with a run whose values would get a second meaning.

    Args:
        path: The run directory.
        manifest: Its manifest.
        present: Of `provenance`.
        is_forced: Go on all the same.

    Returns:
        An entry for the manifest's `resumed`, what changed and both provenances; empty where nothing changed.

    Raises:
        UsageError: Something changed and `is_forced` is false.
    """
    different = changes(manifest, present)
    if not different:
        return {}
    if not is_forced:
        raise UsageError(
            f"{path} was begun with other code, data or versions, and its values would get a second meaning: "
            f"{told(different)}; go back to them, or go on all the same with --force (force=True from Python)"
        )
    fields = ("versions", "code", "sources", "data", "arguments", "functions")
    return {"changed": different, "now": {name: present[name] for name in fields if name in present}}


def told(different: Mapping[str, Any]) -> str:
    """Changes in words: each with its two values, digests shortened."""
    parts = [f"{what} ({_in_words(both['was'])}, now {_in_words(both['now'])})" for what, both in different.items()]
    return some(parts, at_most=MOST_NAMED)


def _in_words(value: Any) -> str:
    return "none" if value is None else str(value)[:12]


def changed_names(entries: Iterable[Mapping[str, Any]]) -> list[str]:
    """The names of everything that changed in entries of a manifest's `resumed`."""
    return list(dict.fromkeys(name for entry in entries for name in entry.get("changed") or {}))
