"""Loading problems by their files' paths or by their names, and functions by their names."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import re
import sys
from collections.abc import Callable, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType
from typing import Any

from pymoo.core.problem import Problem

from opt.console.errors import UsageError, nearest
from opt.problem.installed import find_installed, installed_problems
from opt.problem.module_files import module_specs
from opt.problem.user_code import guarded, reason_of

_NAME = re.compile(r"([A-Za-z_][\w-]*)(?::([A-Za-z_]\w*))?")
"""A name of an installed problem, and perhaps of its class."""


def split_target(target: str) -> tuple[str, str]:
    """(problem file or name of an installed problem, class or nothing) of `FILE.py`, `NAME`, `FILE.py:Class`."""
    path, dot, chosen = target.partition(".py:")
    if dot:
        return path + ".py", chosen
    named = _NAME.fullmatch(target)
    return (named[1], named[2] or "") if named else (target, "")


def load_problem_class(target: str) -> type[Problem]:
    """The one problem class that a file defines, or an installed problem.

    Args:
        target: Path of a Python file, or `FILE.py:Class` to choose among several; or the name of an installed
            problem, such as `ecomp`, which goes before a file of that name without `.py`.

    Raises:
        UsageError: The file is missing or fails to load, or defines no problem class, or several; or no installed
            problem has that name.
    """
    place, wanted = split_target(target)
    if (entry := find_installed(place)) is not None:
        return _class_in(_imported(entry), place, wanted or entry.attr)
    path = Path(place)
    try:
        is_file = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"problem file {place[:80]}... cannot be read: {error.strerror}") from None
    if not is_file:
        raise UsageError(_missing(path))
    if path.suffix != ".py":
        raise UsageError(f"problem file {path} must be a Python file (.py)")
    return _class_in(_load(path), path, wanted)


def _class_in(module: ModuleType, path: Path | str, wanted: str) -> type[Problem]:
    """The problem class of a module: the wanted one, or else its only one."""
    classes = {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Problem) and value.__module__ == module.__name__
        if not name.startswith("_") and name == value.__name__
    }
    if wanted:
        if wanted not in classes:
            hint = nearest(wanted, classes)
            raise UsageError(f"{path} defines no problem class {wanted!r}{hint}; it has {_list(classes)}")
        return classes[wanted]
    if not classes:
        wanted = "one subclass of CompressionProblem or of pymoo's Problem"
        raise UsageError(f"{path} defines no problem class; expected {wanted}")
    if len(classes) > 1:
        raise UsageError(
            f"{path} defines {len(classes)} problem classes ({_list(classes)}); choose one with {path}:NAME"
        )
    return next(iter(classes.values()))


def _imported(entry: EntryPoint) -> ModuleType:
    """The module of an installed problem."""
    try:
        with guarded():
            return importlib.import_module(entry.module)
    except UsageError:
        raise
    except Exception as error:  # another's package may fail in any way: the reason is passed on
        top = entry.module.partition(".")[0]
        where = next((spec.origin or str(spec.submodule_search_locations) for spec in module_specs(top)), "nowhere")
        hint = ""
        if isinstance(error, ModuleNotFoundError) and str(error.name).partition(".")[0] == top:
            hint = f"; {where} stands in its place: go to another folder"
        raise UsageError(f"problem {entry.name} ({entry.module}) fails to load: {reason_of(error)}{hint}") from None


def load_file(path: Path | str, what: str) -> ModuleType:
    """The module that a Python file is; its folder is on the path from then on.

    Args:
        path: The file.
        what: What it is for, in messages.

    Raises:
        UsageError: It is missing, or fails to load.
    """
    path = Path(path)
    try:
        is_file = path.is_file()
    except OSError as error:  # such as a name that is too long
        raise UsageError(f"{what} file {str(path)[:80]}... cannot be read: {error.strerror}") from None
    if not is_file:
        beside = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
        raise UsageError(f"{what} file {path} does not exist{nearest(str(path), beside)}")
    return _load(path, what)


def _load(path: Path, what: str = "problem") -> ModuleType:
    name = f"opt_{what}_{path.resolve().parent.name}_{path.stem}".replace("-", "_")
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
        raise UsageError(f"{what} file {where} fails to load: {reason_of(error)}") from None
    return module


def _line_in(error: BaseException, path: Path) -> int | None:
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path.resolve()):
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _missing(path: Path) -> str:
    """What is said of a file that does not exist: the nearest one beside it, and the installed problems."""
    installed = installed_problems()
    known = f"; installed: {', '.join(installed)}" if installed else ""
    if path.suffix != ".py" and len(path.parts) == 1:
        return f"no problem is called {str(path)!r}, and no file{nearest(str(path), installed)}{known}"
    if path.stem in installed:
        return f"problem file {path} does not exist; {path.stem!r} alone is the installed problem{known}"
    beside = [str(p) for p in path.parent.glob("*.py")] if path.parent.is_dir() else []
    return f"problem file {path} does not exist{nearest(str(path), beside)}{known}"


def _list(classes: dict[str, type]) -> str:
    return ", ".join(sorted(classes)) or "none"


def load_object(target: str, what: str) -> Callable[..., Any]:
    """The function or class that `package.module:function` names.

    Args:
        target: Its name.
        what: What it is for, in messages.

    Raises:
        UsageError: No such module or name, or it cannot be called.
    """
    module, name = load_module(target, what)
    found = getattr(module, name, None)
    if not callable(found):
        names = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UsageError(f"{what} {target}: {module.__name__} has no function {name!r}{nearest(name, names)}")
    return found


def load_module(target: str, what: str) -> tuple[ModuleType, str]:
    """The module that `package.module:name` names, and the name in it.

    Args:
        target: Both names.
        what: What it is for, in messages.

    Raises:
        UsageError: It is no such text, or the module cannot be imported.
    """
    path, colon, name = target.partition(":")
    if not colon or not path or not name:
        raise UsageError(f"{what} must be package.module:function, got {target!r}")
    try:
        return importlib.import_module(path), name
    except ImportError as error:
        raise UsageError(f"{what} {target}: cannot import {path}: {error}; run from its folder or install it") from None
    except (Exception, SystemExit) as error:  # a user's module may fail in any way: the reason is passed on
        raise UsageError(f"{what} {target}: {path} fails to load: {type(error).__name__}: {error}") from None


def load_named(target: str, what: str, *, default: str = "", kinds: tuple[type, ...] = ()) -> Any:
    """What `FILE.py:NAME` or `package.module:NAME` names: a function, a class, or an object of some kind.

    Args:
        target: Its name.
        what: What it is for, in messages.
        default: The name in `FILE.py` alone; "" where one must be given.
        kinds: Of objects that may be named beside functions and classes.

    Raises:
        UsageError: No such file, module or name, or it is something else; with the names that are there.
    """
    path, colon, name = target.rpartition(":")
    if not colon and target.endswith(".py") and default:
        path, name = target, default
    if path.endswith(".py"):
        module = load_file(path, what)
    else:
        module, name = load_module(target, what)
    found = getattr(module, name, None)
    if found is None or not (callable(found) or isinstance(found, kinds)):
        names = [n for n, v in vars(module).items() if not n.startswith("_") and (callable(v) or isinstance(v, kinds))]
        own = [n for n in names if getattr(getattr(module, n), "__module__", module.__name__) == module.__name__]
        there = f"; it has {', '.join(own)}" if own else ""
        raise UsageError(f"{what} {target}: {path} has no {name!r}{nearest(name, own)}{there}")
    return found


def called(function: Callable[..., Any], target: str, what: str, arguments: Mapping[str, Any] | None = None) -> Any:
    """What a user's function returns.

    Args:
        function: The function or class; it may fail or try to end this process.
        target: Its name, for messages.
        what: What it is for, likewise.
        arguments: By name; those without a default that lack here are refused.

    Raises:
        UsageError: It needs more arguments, or fails; with the reason.
    """
    if missing := [name for name in required_arguments(function) if name not in (arguments or {})]:
        options = f"give --problem.{what}.{missing[0]} VALUE, or " if what == "workload" else ""
        raise UsageError(f"{what} {target} needs arguments ({', '.join(missing)}); {options}give them defaults")
    try:
        with guarded():
            return function(**(arguments or {}))
    except UsageError as error:
        raise UsageError(f"{what} {target}: {error}") from None
    except Exception as error:  # a user's function may fail in any way: the reason is passed on
        raise UsageError(f"{what} {target} fails: {' '.join(reason_of(error).split())}") from None


def required_arguments(function: Callable[..., Any]) -> list[str]:
    """Names of the arguments without a default."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    catch_alls = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in catch_alls]


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
