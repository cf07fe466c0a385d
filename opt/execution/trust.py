"""Whether code that a directory names may run: a run or study of a stranger names files and functions to import.

A problem file, and a function that a parameter names as `module:function`, is trusted when it holds
what the directory says it held, and lies under the present folder or is one of this program's own.
What lies in the run's or study's own folder came with it and is not. Of the rest a person is told
and asked; where there is no terminal, `--trust` is the answer. Nothing is imported until then.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.console.terminal import tell
from opt.console.wording import some
from opt.problem.module_files import module_specs
from opt.problem.provenance import file_digest, texts_in
from opt.runs.run import Run

CHANGED = "it is not, or not on record as, what the run was made with"
_DISTRIBUTION = "opt-compress"


@dataclass(frozen=True)
class Code:
    """What a task would import.

    Args:
        named: Its problem file as the directory names it; empty where a problem object is at hand.
        file: That file as it is found from here, or None.
        parameters: Parameters of the problem and of the algorithm; a text in them may name a function.
    """

    named: str = ""
    file: Path | None = None
    parameters: tuple[Mapping[str, Any], ...] = ()


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
        codes: What its tasks would import.
        recorded: What it says that they held.
        trust: Whether the user has said so already, by `--trust`.
        is_forced: Whether the user goes on though code has changed, by `--force`: what lies where it may is run.
        given: What the user named on the command line itself, which is trusted.

    Raises:
        UsageError: Something is not trusted, and the person at the terminal did not say yes, or there is none.
    """
    if trust:
        return
    known_files = {_resolved(code.file) for code in given if code.file is not None}
    known_functions = {name for code in given for name in named_functions(code)}
    doubts = []
    for file, named in {code.file: code.named for code in codes if code.file is not None}.items():
        if _resolved(file) in known_files or not _is_file(file):  # one that is missing is told when it is loaded
            continue
        is_same = is_forced or is_unchanged(recorded.files.get(named), file)
        if reason := _doubt(file, where, is_same=is_same):
            doubts.append(f"{_resolved(file)} ({reason})")
    functions = {name: files for code in codes for name, files in named_functions(code).items()}
    for name, files in functions.items():
        if name in known_functions:
            continue
        if files is None:
            doubts.append(f"{name} (it is a part of Python, or no file)")
            continue
        is_same = is_forced or recorded.functions.get(name) == _digest(files)
        reasons = [_doubt(file, where, is_same=is_same) for file in files]
        if reason := next(filter(None, reasons), ""):
            doubts.append(f"{name} of {_resolved(files[-1])} ({reason})")
    if doubts:
        _ask(where, doubts)


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


def function_digests(codes: Iterable[Code]) -> dict[str, str]:
    """For each function that a parameter names, the digest of its module's file and of the packages' around it."""
    functions = {name: files for code in codes for name, files in named_functions(code).items()}
    return {name: _digest(files) for name, files in functions.items() if files is not None}


def named_functions(code: Code) -> dict[str, list[Path] | None]:
    """The functions that parameters name, with the files that importing each runs; None where there are none.

    A text with a colon counts when what stands before it can be imported. Nothing is imported to find out.
    """
    folder = None if code.file is None else code.file.parent
    functions: dict[str, list[Path] | None] = {}
    for text in texts_in(code.parameters):
        module, colon, name = text.partition(":")
        if not (module and colon and name) or text in functions:
            continue
        specs = module_specs(module, folder)
        files = [Path(spec.origin) for spec in specs if spec.has_location and spec.origin]
        # `cuda:0` and `http://host` are no functions; an installed module of that name is harmless
        if specs and (name.isidentifier() or not all(map(_is_installed, files))):
            is_in_file = specs[-1].has_location or specs[-1].submodule_search_locations is not None
            functions[text] = files if is_in_file and all(map(_is_file, files)) else None
    return functions


def _doubt(file: Path, where: Path, *, is_same: bool) -> str:
    """Why a file is not trusted, or nothing."""
    path = _resolved(file)
    if _resolved(where) in path.parents:
        return "it came with that folder"
    if Path.cwd().resolve() not in path.parents and not any(own in path.parents for own in _own_folders()):
        return "it lies outside the present folder"
    return "" if is_same else CHANGED


def _ask(where: Path, doubts: Sequence[str]) -> None:
    """Ask the person at the terminal.

    Raises:
        UsageError: There is none, or the answer is not yes.
    """
    if sys.stdin is None or not sys.stdin.isatty() or not sys.stderr.isatty():
        named = some(doubts)
        flag = "--force" if all(doubt.endswith(f"({CHANGED})") for doubt in doubts) else "--trust"
        raise UsageError(f"{where} names code to run: {named}; read it, and give {flag} to run it")
    tell(f"{where} names code that would be run now:", file=sys.stderr)
    for doubt in doubts:
        tell(f"  {' '.join(doubt.split())}", file=sys.stderr)
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


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # a loop of links
        return path.absolute()


def _is_installed(file: Path) -> bool:
    """Whether a file is of Python itself or of a package that somebody has installed."""
    folders = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(folder).resolve() in _resolved(file).parents for folder in folders if folder)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


def _digest(files: Sequence[Path]) -> str:
    digest = hashlib.blake2b(digest_size=8)
    for file in files:
        data = file.read_bytes()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()
