"""A user's own pymoo objects: an Algorithm as it is, and terminations as budgets."""

from __future__ import annotations

import copy
from typing import Any

from pymoo.core.algorithm import Algorithm
from pymoo.core.initialization import Initialization
from pymoo.core.population import Population
from pymoo.core.termination import NoTermination, Termination
from pymoo.termination import get_termination
from pymoo.termination.max_eval import MaximumFunctionCallTermination
from pymoo.termination.max_gen import MaximumGenerationTermination
from pymoo.termination.max_time import TimeBasedTermination

from opt.algorithms.registry import AlgorithmSpec, ObjectiveCount
from opt.errors import UsageError
from opt.problem import CompressionProblem
from opt.warm_start import offered

_SINGLE, _MULTI = ".soo.", ".moo."


def spec_of(algorithm: Algorithm, *, is_scalarised: bool) -> AlgorithmSpec:
    """A registry entry for a pymoo object, which is copied for each run, so that it stays as it is.

    Args:
        algorithm: The object, not set up yet.
        is_scalarised: Whether one objective is to be made of several, whatever the algorithm is.

    Raises:
        UsageError: It is a class, or it was set up for a problem already.
    """
    if isinstance(algorithm, type):
        raise UsageError(f"algo must be an object, got the class {algorithm.__name__}; call it, {algorithm.__name__}()")
    if getattr(algorithm, "problem", None) is not None:
        raise UsageError(f"{type(algorithm).__name__} was set up for a problem already; give a new one")

    def build(problem: CompressionProblem) -> Algorithm:
        own = copy.deepcopy(algorithm)
        start = offered(problem)
        if start is not None and isinstance(getattr(own, "initialization", None), Initialization):
            X = start.take()
            before = own.initialization
            own.initialization = Initialization(
                Population.new("X", X), repair=before.repair, eliminate_duplicates=before.eliminate_duplicates
            )
        return own

    return AlgorithmSpec(name_of_algorithm(algorithm), build, _objectives(algorithm, is_scalarised), is_foreign=True)


def name_of_algorithm(algorithm: Algorithm) -> str:
    """What a run calls a pymoo object: its class."""
    return type(algorithm).__name__


def _objectives(algorithm: Algorithm, is_scalarised: bool) -> ObjectiveCount:
    """Whether it takes one objective, by where in pymoo it, or what it inherits from, lies."""
    if is_scalarised:
        return "one"
    modules = [cls.__module__ for cls in type(algorithm).__mro__]
    for module in modules:
        if _MULTI in module:
            return "several"
        if _SINGLE in module:
            return "one"
    return "any"


def budget_of(termination: Any) -> dict[str, Any]:
    """A termination as the options `n_gen`, `n_eval` and `time`.

    Args:
        termination: `("n_gen", 40)` and the like, a pymoo Termination, or None.

    Raises:
        UsageError: It is of another kind.
    """
    if termination is None or isinstance(termination, NoTermination):
        return {}
    wanted = '("n_gen", N), ("n_eval", N) or ("time", "00:10:00")'
    if isinstance(termination, (tuple, list)):
        try:
            termination = get_termination(*termination)
        except Exception as error:  # pymoo raises bare Exception
            raise UsageError(f"termination must be {wanted}, got {termination!r}: {error}") from None
    if isinstance(termination, MaximumGenerationTermination):
        return {"n_gen": _whole(termination.n_max_gen)}
    if isinstance(termination, MaximumFunctionCallTermination):
        return {"n_eval": _whole(termination.n_max_evals)}
    if isinstance(termination, TimeBasedTermination):
        return {"time": float(termination.max_time)}
    if isinstance(termination, Termination):
        kind = type(termination).__name__
        raise UsageError(f"termination {kind} is not known here; give {wanted}, or patience= for convergence")
    raise UsageError(f"termination must be {wanted}, or such a pymoo object, got {type(termination).__name__}")


def _whole(limit: Any) -> int | None:
    return None if limit is None or limit == float("inf") else int(limit)
