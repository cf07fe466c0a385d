"""Loading a problem file by its path, and functions by their names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from pymoo.core.problem import Problem

from opt.console.errors import UsageError, nearest
from opt.problem.user_code import guarded, reason_of


def load_problem_class(target: str) -> type[Problem]:
    """The one problem class that a file defines.

    Args:
        target: Path of a Python file, or `FILE.py:Class` to choose among several.

    Raises:
        UsageError: The file is missing or fails to load, or defines no problem class, or several.
    """
    path_text, _, wanted = target.partition(".py:")
    path = Path(path_text + ".py" if wanted else target)
    try:
        is_file = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"problem file {target[:80]}... cannot be read: {error.strerror}") from None
    if not is_file:
        raise UsageError(f"problem file {path} does not exist{_similar(path)}")
    if path.suffix != ".py":
        raise UsageError(f"problem file {path} must be a Python file (.py)")
    module = _load(path)
    found = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Problem) and value.__module__ == module.__name__
        if not name.startswith("_") and name == value.__name__
    }
    if wanted:
        if wanted not in found:
            hint = nearest(wanted, found)
            raise UsageError(f"{path} defines no problem class {wanted!r}{hint}; it has {_list(found)}")
        return found[wanted]
    if not found:
        wanted = "one subclass of CompressionProblem or of pymoo's Problem"
        raise UsageError(f"{path} defines no problem class; expected {wanted}")
    if len(found) > 1:
        raise UsageError(f"{path} defines {len(found)} problem classes ({_list(found)}); choose one with {path}:NAME")
    return next(iter(found.values()))


def _load(path: Path) -> ModuleType:
    name = f"opt_problem_{path.resolve().parent.name}_{path.stem}".replace("-", "_")
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    folder = str(path.resolve().parent)
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        with guarded():
            spec.loader.exec_module(module)
    except UsageError:
        raise
    except Exception as error:  # a user's file may fail in any way: the reason is passed on
        line = getattr(error, "lineno", None) or _line_in(error, path)
        where = f"{path} line {line}" if line else str(path)
        raise UsageError(f"problem file {where} fails to load: {reason_of(error)}") from None
    return module


def _line_in(error: BaseException, path: Path) -> int | None:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.resolve()):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _similar(path: Path) -> str:
    names = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
    return nearest(str(path), names)


def _list(found: dict[str, type]) -> str:
    return ", ".join(sorted(found)) or "none"


def load_object(target: str, what: str) -> Callable[..., Any]:
    """The function or class that `package.module:function` names.

    Args:
        target: Its name.
        what: What it is for, in messages.

    Raises:
        UsageError: No such module or name, or it cannot be called.
    """
    path, colon, name = target.partition(":")
    if not colon or not path or not name:
        raise UsageError(f"{what} must be package.module:function, got {target!r}")
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise UsageError(f"{what} {target}: cannot import {path}: {error}; run from its folder or install it") from None
    except (Exception, SystemExit) as error:  # a user's module may fail in any way: the reason is passed on
        raise UsageError(f"{what} {target}: {path} fails to load: {type(error).__name__}: {error}") from None
    found = getattr(module, name, None)
    if not callable(found):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"{what} {target}: {path} has no function {name!r}{nearest(name, names)}")
    return found


def name_of(function: Callable[..., Any], what: str) -> str:
    """`package.module:function` by which `load_object` finds a function again, in this process or in a later one.

    Raises:
        UsageError: It has no such name, as a lambda or a function inside another.
    """
    name = f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', '')}"
    try:
        if load_object(name, what) is function:
            return name
    except UsageError:
        pass
    raise UsageError(f"{what} must be a function at the top of a module, so that a run can go on; got {function!r}")
