"""Trust in code: whether the files and functions that a run or study of somebody else names may be imported.

A problem file, and a function that a parameter names as `module:function`, is trusted when it holds
what the directory says it held, and lies under the present folder or is one of this program's own.
What lies in the run's or study's own folder came with it and is not. Of the rest a person is told
and asked; where there is no terminal, `--trust` is the answer. Nothing is imported until then.
"""

from __future__ import annotations

import functools
import importlib.metadata
import sys
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.console.terminal import tell
from opt.console.wording import some
from opt.execution.named_code import Code, files_digest, named_functions
from opt.files.plain_file import is_file, resolved
from opt.problem.provenance import file_digest
from opt.runs.run import Run

CHANGED = "it is not, or not on record as, what the run was made with"
_DISTRIBUTION = "opt-compress"


@dataclass(frozen=True)
class Recorded:
    """What a directory says of the code that its runs were made with.

    Args:
        files: The field `code` of a manifest by problem file, as `Code.named`.
        functions: As `function_digests` gives them.
    """

    files: Mapping[str, Any] = field(default_factory=dict)
    functions: Mapping[str, Any] = field(default_factory=dict)


def check_code(
    where: Path,
    codes: Sequence[Code],
    recorded: Recorded,
    *,
    trust: bool,
    is_forced: bool = False,
    given: Sequence[Code] = (),
) -> None:
    """Go on only where everything that a directory names may run.

    Args:
        where: The directory, a run's or a study's.
        codes: What carrying its runs out would import.
        recorded: What it says that they held.
        trust: Whether the user has said so already, by `--trust`.
        is_forced: Whether the user goes on though code has changed, by `--force`: what lies where it may is run.
        given: What the user named on the command line itself, which is trusted.

    Raises:
        UsageError: Something is not trusted, and the person at the terminal did not say yes, or there is none.
    """
    if trust:
        return
    trusted_files = {resolved(code.file) for code in given if code.file is not None}
    reasons = _reasons_against_files(where, codes, recorded, trusted_files, is_forced=is_forced)
    trusted_functions = set(named_functions(*given))
    reasons += _reasons_against_functions(where, codes, recorded, trusted_functions, is_forced=is_forced)
    if reasons:
        _ask(where, reasons)


def _reasons_against_files(
    where: Path, codes: Sequence[Code], recorded: Recorded, trusted: Set[Path], *, is_forced: bool
) -> list[str]:
    """The problem files that may not run, each with why."""
    reasons = []
    for file, named in {code.file: code.named for code in codes if code.file is not None}.items():
        if resolved(file) in trusted or not is_file(file):  # one that is missing is told when it is loaded
            continue
        is_same = is_forced or is_unchanged(recorded.files.get(named), file)
        if reason := _reason_against(file, where, is_same=is_same):
            reasons.append(f"{resolved(file)} ({reason})")
    return reasons


def _reasons_against_functions(
    where: Path, codes: Sequence[Code], recorded: Recorded, trusted: Set[str], *, is_forced: bool
) -> list[str]:
    """The functions that may not be imported, each with why."""
    reasons = []
    for name, files in named_functions(*codes).items():
        if name in trusted:
            continue
        if files is None:
            reasons.append(f"{name} (it is a part of Python, or no file)")
            continue
        is_same = is_forced or recorded.functions.get(name) == files_digest(files)
        # importing it runs the packages around it too, so that each of their files counts
        if against := [reason for file in files if (reason := _reason_against(file, where, is_same=is_same))]:
            reasons.append(f"{name} of {resolved(files[-1])} ({against[0]})")
    return reasons


def is_unchanged(recorded: Any, file: Path) -> bool:
    """Whether a problem's code is what it was.

    Args:
        recorded: The field `code` of a manifest.
        file: The problem file.
    """
    before = recorded.get("problem") if isinstance(recorded, Mapping) else None
    return before is not None and file_digest(file) == before


def recorded_by(run: Run, named: str) -> Recorded:
    """What a run's manifest says of its code, the problem file called as it is there."""
    fields = dict(run.manifest)
    for entry in run.manifest.get("resumed") or ():  # what it went on with by force is on record too
        fields |= entry.get("now") or {}
    functions = fields.get("functions")
    return Recorded({named: fields.get("code")}, functions if isinstance(functions, Mapping) else {})


def _reason_against(file: Path, where: Path, *, is_same: bool) -> str:
    """Why a file is not trusted, or nothing."""
    path = resolved(file)
    if resolved(where) in path.parents:
        return "it came with that folder"
    if Path.cwd().resolve() not in path.parents and not any(own in path.parents for own in _own_folders()):
        return "it lies outside the present folder"
    return "" if is_same else CHANGED


def _ask(where: Path, reasons: Sequence[str]) -> None:
    """Ask the person at the terminal.

    Raises:
        UsageError: There is none, or the answer is not yes.
    """
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        flag = "--force" if all(reason.endswith(f"({CHANGED})") for reason in reasons) else "--trust"
        raise UsageError(f"{where} names code to run: {some(reasons)}; read it, and give {flag} to run it")
    tell(f"{where} names code that would be run now:", file=sys.stderr)
    for reason in reasons:
        tell(f"  {' '.join(reason.split())}", file=sys.stderr)
    tell("Run it? Type yes to go on: ", file=sys.stderr, end="", flush=True)
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError(f"nothing of {where} was run; read the code that it names, and answer yes to run it")


@functools.cache
def _own_folders() -> tuple[Path, ...]:
    """The folders of this program's own packages, in a checkout or where it is installed."""
    try:
        names = (importlib.metadata.distribution(_DISTRIBUTION).read_text("top_level.txt") or "").split()
    except importlib.metadata.PackageNotFoundError:
        names = []
    root = Path(__file__).resolve().parents[2]
    return tuple(root / name for name in ("opt", *names))
