"""Code that plain data names: a problem file, and functions that parameters name as `module:function`."""

from __future__ import annotations

import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

from opt.files.digest import new_hash
from opt.files.plain_file import is_file, resolved
from opt.problem.module_files import module_specs
from opt.problem.provenance import texts_in


@dataclass(frozen=True)
class Code:
    """What carrying out a run would import.

    Args:
        named: Its problem file as the directory names it; empty where a problem object is at hand.
        file: That file as it is found from here, or None.
        parameters: Parameters of the problem and of the algorithm; a text in them may name a function.
    """

    named: str = ""
    file: Path | None = None
    parameters: tuple[Mapping[str, Any], ...] = ()


def named_functions(*codes: Code) -> dict[str, list[Path] | None]:
    """The functions that parameters name, with the files that importing each runs; None where there are none.

    A text with a colon counts when what stands before it can be imported. Nothing is imported to find out.
    """
    functions: dict[str, list[Path] | None] = {}
    for code in codes:
        folder = None if code.file is None else code.file.parent
        for text in dict.fromkeys(texts_in(code.parameters)):
            if (file := _named_file(text)) is not None:
                functions[text] = [file] if is_file(file) else None
                continue
            module, _, name = text.partition(":")
            specs = module_specs(module, folder) if module and name else []
            if specs and (name.isidentifier() or not all(map(_is_installed, _files_of(specs)))):
                # else `cuda:0` or `http://host`: no function, and an installed module of that name is harmless
                functions[text] = _readable_files_of(specs)
    return functions


def _named_file(text: str) -> Path | None:
    """The file of `FILE.py:NAME` or `FILE.py`, where there is such a file."""
    path, dot, name = text.partition(".py")
    file = Path(f"{path}.py")
    is_named = bool(path and dot) and (not name or (name[0] == ":" and name[1:].isidentifier()))
    return file if is_named and is_file(file) else None


def _files_of(specs: Sequence[ModuleSpec]) -> list[Path]:
    """The files of a module and of the packages around it, outermost first."""
    return [Path(spec.origin) for spec in specs if spec.has_location and spec.origin]


def _readable_files_of(specs: Sequence[ModuleSpec]) -> list[Path] | None:
    """The same; None where the module is in no file, or one cannot be looked at."""
    files = _files_of(specs)
    is_in_file = specs[-1].has_location or specs[-1].submodule_search_locations is not None
    return files if is_in_file and all(map(is_file, files)) else None


def function_digests(codes: Iterable[Code]) -> dict[str, str]:
    """For each function that a parameter names, the digest of its module's file and of the packages' around it."""
    return {name: files_digest(files) for name, files in named_functions(*codes).items() if files is not None}


def files_digest(files: Sequence[Path]) -> str:
    """One digest of several files; their lengths are in it, so that a byte cannot move from one to the next."""
    digest = new_hash(n_bytes=8)
    for file in files:
        data = file.read_bytes()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def _is_installed(file: Path) -> bool:
    """Whether a file is of Python itself or of a package that somebody has installed."""
    folders = {sysconfig.get_path(kind) for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    return any(Path(folder).resolve() in resolved(file).parents for folder in folders if folder)
