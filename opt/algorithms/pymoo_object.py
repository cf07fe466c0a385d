"""A user's own pymoo objects: an Algorithm as it is, and terminations as budgets."""

from __future__ import annotations

import copy
from numbers import Integral
from typing import Any

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.initialization import Initialization
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination, Termination
from pymoo.termination import get_termination
from pymoo.termination.max_eval import MaximumFunctionCallTermination
from pymoo.termination.max_gen import MaximumGenerationTermination
from pymoo.termination.max_time import TimeBasedTermination

from opt.algorithms.interface.registry import AlgorithmSpec, ObjectiveCount
from opt.algorithms.interface.warm_start import offered
from opt.console.errors import UsageError
from opt.problem import CompressionProblem

_SINGLE, _MULTI = ".soo.", ".moo."


class _StartedSampling(Sampling):
    """The start's candidates in the first call, filled up by what the object itself would begin with."""

    def __init__(self, X: np.ndarray, own: Initialization) -> None:
        super().__init__()
        self.X = X
        self.own = own
        self.is_spent = False

    def _do(self, problem: Any, n_samples: int, *args: Any, random_state: Any = None, **kwargs: Any) -> np.ndarray:
        first = self.X[:0] if self.is_spent else self.X[:n_samples]
        self.is_spent = True
        if len(first) == n_samples:
            return first
        rest = self.own.do(problem, n_samples - len(first), random_state=random_state, **kwargs).get("X")
        return np.concatenate([first, rest[: n_samples - len(first)]]) if len(first) else rest


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
        if problem.representation == "mixed":
            raise UsageError(
                f"{name_of_algorithm(algorithm)} on mixed variables is not taken; name an algorithm instead"
            )
        own = copy.deepcopy(algorithm)
        start = offered(problem)
        if start is not None and isinstance(getattr(own, "initialization", None), Initialization):
            before = own.initialization
            own.initialization = Initialization(
                _StartedSampling(start.take(), before),
                repair=before.repair,
                eliminate_duplicates=before.eliminate_duplicates,
            )
        return own

    return AlgorithmSpec(
        name_of_algorithm(algorithm), build, _objectives(algorithm, is_scalarised), rounds=True, is_foreign=True
    )


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


def is_budget(termination: Any) -> bool:
    """Whether a termination is one that `budget_of` takes; pymoo's default, by convergence, is not."""
    return isinstance(termination, (MaximumGenerationTermination, MaximumFunctionCallTermination, TimeBasedTermination))


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
        given = termination
        try:
            termination = get_termination(*given)
            if isinstance(termination, MaximumGenerationTermination | MaximumFunctionCallTermination):
                termination = get_termination(given[0], _whole_limit(given[1]))
        except Exception as error:  # pymoo raises bare Exception
            raise UsageError(f"termination must be {wanted}, got {given!r}: {error}") from None
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


def _whole_limit(limit: Any) -> int:
    if not isinstance(limit, Integral) or isinstance(limit, bool):
        raise ValueError(f"{limit!r} is no whole number")
    return int(limit)


def _whole(limit: Any) -> int | None:
    return None if limit is None or limit == float("inf") else int(limit)
