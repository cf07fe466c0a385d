"""A workload of the user's: a function or a `Workload` in a file or a module, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from opt.console.errors import UsageError, nearest
from opt.problem.loading import load_file, load_module
from problems.workloads.workload import Workload

DEFAULT_NAME = "workload"


def own_workload(target: Any, *, seed: int) -> Workload:
    """The workload that a user names or hands over.

    Args:
        target: A `Workload`; or `FILE.py:NAME`, `FILE.py` (its `workload`), or `package.module:NAME`, where the name is
            that of a `Workload` or of a function without arguments that returns one.
        seed: Of torch's global generator while a function runs; it is put back behind it.

    Raises:
        UsageError: It is not found, needs arguments, fails, or gives something else.
    """
    if isinstance(target, Workload):
        return target
    if not isinstance(target, str):
        raise UsageError(
            f"workload must be a Workload, FILE.py:NAME or package.module:NAME, got {type(target).__name__}"
        )
    made = _named(target)
    if isinstance(made, Workload):
        return made
    if missing := _required(made):
        raise UsageError(f"workload {target} needs arguments ({', '.join(missing)}); give them defaults")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            work = made()
    except UsageError as error:
        raise UsageError(f"workload {target}: {error}") from None
    except (Exception, SystemExit) as error:  # a user's function may fail in any way: the reason is passed on
        reason = " ".join(str(error).split())
        raise UsageError(f"workload {target} fails: {type(error).__name__}: {reason}") from None
    if not isinstance(work, Workload):
        raise UsageError(f"workload {target} must return a Workload, got {type(work).__name__}")
    return work


def _named(target: str) -> Any:
    path, colon, name = target.rpartition(":")
    if not colon and target.endswith(".py"):
        path, name = target, DEFAULT_NAME
    if path.endswith(".py"):
        module = load_file(path, "workload")
    else:
        module, name = load_module(target, "workload")
    found = getattr(module, name, None)
    if found is None or not (callable(found) or isinstance(found, Workload)):
        names = [
            n for n, v in vars(module).items() if not n.startswith("_") and (callable(v) or isinstance(v, Workload))
        ]
        own = [n for n in names if getattr(getattr(module, n), "__module__", module.__name__) == module.__name__]
        raise UsageError(f"workload {target}: {path} has no {name!r}{nearest(name, own)}; it has {', '.join(own)}")
    return found


def _required(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    catch_alls = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    return [p.name for p in parameters if p.default is p.empty and p.kind not in catch_alls]
