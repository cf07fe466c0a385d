"""A workload of the user's: a function or a `Workload` in a file or a module, by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from opt.console.errors import UsageError, nearest
from opt.console.parameters import parameters_of
from opt.problem.loading import called, load_named
from problems.workloads.workload import Workload

DEFAULT_NAME = "workload"


def own_workload(target: Any, *, seed: int, arguments: Mapping[str, Any] | None = None) -> Workload:
    """The workload that a user names or hands over.

    Args:
        target: A `Workload`; or `FILE.py:NAME`, `FILE.py` (its `workload`), or `package.module:NAME`, where the name is
            that of a `Workload` or of a function that returns one.
        seed: Of torch's global generator while a function runs; it is put back behind it.
        arguments: Keyword arguments of the function; None for its defaults.

    Raises:
        UsageError: It is not found, needs or lacks arguments, fails, or gives something else.
    """
    if not isinstance(target, (str, Workload)):
        raise UsageError(
            f"workload must be a Workload, FILE.py:NAME or package.module:NAME, got {type(target).__name__}"
        )
    made = target if isinstance(target, Workload) else _named(target)
    if isinstance(made, Workload):
        if arguments:
            raise UsageError(
                f"a Workload takes no arguments, got {', '.join(arguments)}; name a function that returns one"
            )
        return made
    name, known = str(target), parameters_of(made)
    if unknown := [argument for argument in arguments or {} if argument not in known and not _takes_any(made)]:
        has = f"; it has {', '.join(known)}" if known else "; it has none"
        raise UsageError(f"workload {name} has no argument {unknown[0]!r}{nearest(unknown[0], known)}{has}")
    with torch.random.fork_rng(devices=[]):
        torch.random.manual_seed(seed)
        work = called(made, name, "workload", arguments)
    if isinstance(work, nn.Module):
        raise UsageError(
            f"workload {name} must return a Workload, got the network {type(work).__name__}; give a network alone as "
            "--problem.network, with --problem.data"
        )
    if not isinstance(work, Workload):
        raise UsageError(f"workload {name} must return a Workload, got {type(work).__name__}")
    return work


def workload_function(target: str) -> Callable[..., Any] | None:
    """The function that a text names as a workload; None where it names a `Workload` itself.

    Raises:
        UsageError: It is not found.
    """
    found = _named(target)
    return None if isinstance(found, Workload) else found


def _named(target: str) -> Any:
    return load_named(target, "workload", default=DEFAULT_NAME, kinds=(Workload,))


def _takes_any(function: Callable[..., Any]) -> bool:
    parameters = inspect.signature(function).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters)
