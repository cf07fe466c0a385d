"""Algorithms by name: what each is, what it needs of a problem, and how it is built."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from numbers import Integral, Real
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

import numpy as np
from pymoo.core.algorithm import Algorithm
from pymoo.core.problem import Problem

from opt.console.errors import UsageError, nearest
from opt.console.parameters import Parameter, parameters_of
from opt.console.ranges import Range
from opt.problem import REPRESENTATIONS, CompressionProblem, Operators
from opt.problem.bounds import has_finite_bounds
from opt.problem.hooks import call, problem_name

ObjectiveCount = Literal["one", "several", "any"]
Builder = Callable[..., Algorithm]


@dataclass(frozen=True)
class AlgorithmSpec:
    """One entry of the registry.

    Args:
        name: The name on the command line.
        build: `(problem, *, ...) -> Algorithm`; its keyword-only parameters become `--algo.X`.
        objectives: "one" optimises a scalarised value, "several" needs at least two objectives,
            "any" takes the objectives as they are.
        representations: Those it can search.
        needs: Which of the problem's operators it uses, of "crossover", "mutation" and "moves"; a mutation is a move.
        handles_constraints: Whether it takes G <= 0 into account.
        min_var: Fewest variables that it can search.
        rounds: Whether it moves through the box as reals: the candidates that an integer problem sees are rounded.
        is_foreign: Whether it is a user's own pymoo object, whose draws from global generators are then isolated.
    """

    name: str
    build: Builder
    objectives: ObjectiveCount
    representations: tuple[str, ...] = REPRESENTATIONS
    needs: tuple[str, ...] = ()
    handles_constraints: bool = True
    min_var: int = 1
    rounds: bool = False
    is_foreign: bool = False

    @property
    def summary(self) -> str:
        """One line: what the algorithm is."""
        return (inspect.getdoc(self.build) or "").split("\n", 1)[0].rstrip(".")

    @property
    def requirement(self) -> str:
        """One line: what it needs of a problem."""
        parts = {"one": "a scalarised objective", "several": "two objectives or more", "any": "any objectives"}
        text = parts[self.objectives]
        if set(self.representations) != set(REPRESENTATIONS):
            text += ", " + " or ".join(self.representations) + " variables"
        if self.min_var > 1:
            text += f" (at least {self.min_var})"
        if self.needs:
            text += ", " + " and ".join(self.needs)
        if not self.handles_constraints:
            text += ", no constraints"
        return text

    @functools.cached_property
    def parameters(self) -> Mapping[str, Parameter]:
        """The keyword-only parameters of `build`, by name; numbers without limits are finite."""
        return {
            name: p if p.limits else replace(p, limits=Range()) if {int, float} & {p.kind, *get_args(p.kind)} else p
            for name, p in parameters_of(self.build, is_keyword_only=True).items()
        }

    def misfit(self, problem: CompressionProblem) -> str | None:
        """Why this algorithm cannot search `problem`, or None when it can."""
        if self.objectives == "several" and problem.n_obj < 2:
            return f"it needs two objectives or more and the problem has {problem.n_obj}"
        if problem.representation not in self.representations:
            wanted = " or ".join(self.representations)
            return f"it needs {wanted} variables and the problem's are {problem.representation}"
        if set(self.representations) <= {"real", "integer"} and not has_finite_bounds(problem.xl, problem.xu):
            return "it needs finite bounds on every variable and the problem has none"
        if problem.n_var < self.min_var:
            return f"it needs {self.min_var} variables or more and the problem has {problem.n_var}"
        if problem.has_constraints() and not self.handles_constraints:
            return "it takes no constraints and the problem has some"
        own = call(problem, "operators")
        missing = [n for n in self.needs if own is not None and not _brings(own, n)]
        if missing:
            return f"it needs the problem's {' and '.join(missing)} and the problem has none"
        return None


def _brings(operators: Operators, need: str) -> bool:
    if not isinstance(operators, Operators):
        return True  # what it is instead is told by `operators_of`
    if need == "moves":
        return bool(operators.moves) or operators.mutation is not None
    return getattr(operators, need) is not None


_REGISTRY: dict[str, AlgorithmSpec] = {}


def algorithm(name: str, *, objectives: ObjectiveCount, **requirements: Any) -> Callable[[Builder], Builder]:
    """Decorator that enters a builder into the registry under `name`.

    A user's file may register its own; loaded again, as for each run of a study, it replaces what it entered before.

    Args:
        name: The name on the command line.
        objectives: As of `AlgorithmSpec`.
        **requirements: Further fields of it.

    Raises:
        ValueError: Another builder has the name.
    """

    def enter(build: Builder) -> Builder:
        if name in _REGISTRY and _place(_REGISTRY[name].build) != _place(build):
            raise ValueError(f"an algorithm named {name!r} is registered already.")
        _REGISTRY[name] = AlgorithmSpec(name, build, objectives, **requirements)
        return build

    return enter


def _place(build: Builder) -> tuple[Any, ...]:
    """The file and the name of a builder's definition."""
    code = getattr(inspect.unwrap(build), "__code__", None)
    return getattr(code, "co_filename", None), getattr(build, "__qualname__", None)


def algorithms(problem: Problem | type[Problem] | None = None) -> dict[str, AlgorithmSpec]:
    """Every registered algorithm by name, and those that a problem brings, in alphabetical order.

    Args:
        problem: A problem or its class, whose `own_algorithms` are added; None for the registered ones alone.

    Raises:
        UsageError: The problem brings an algorithm under a registered name.
    """
    brought = getattr(problem, "own_algorithms", ())
    if not isinstance(brought, Iterable) or not all(isinstance(spec, AlgorithmSpec) for spec in brought):
        raise UsageError(f"own_algorithms must be a tuple of AlgorithmSpec, got {brought!r:.80}")
    own = {spec.name: spec for spec in brought}
    if taken := sorted(set(own) & set(_REGISTRY)):
        raise UsageError(f"own_algorithms must have names of their own, {taken[0]!r} is taken; rename it")
    return dict(sorted((_REGISTRY | own).items()))


def find_algorithm(name: str, problem: Problem | type[Problem] | None = None) -> AlgorithmSpec:
    """The algorithm called `name`, of the registry or of the problem.

    Raises:
        UsageError: No algorithm has that name.
    """
    known = algorithms(problem)
    if name not in known:
        raise UsageError(f"unknown algorithm {name!r}{nearest(name, known)}; known: {', '.join(known)}")
    return known[name]


def check_fit(spec: AlgorithmSpec, problem: CompressionProblem) -> None:
    """Refuse an algorithm that cannot search the problem.

    Raises:
        UsageError: With the reason and the names of the algorithms that fit.
    """
    reason = spec.misfit(problem)
    if reason:
        fitting = ", ".join(s.name for s in algorithms(problem).values() if s.misfit(problem) is None)
        raise UsageError(f"{spec.name} does not fit problem {problem_name(problem)!r}: {reason}; these fit: {fitting}")


def build_algorithm(spec: AlgorithmSpec, problem: CompressionProblem, parameters: Mapping[str, Any]) -> Algorithm:
    """Build `spec` for `problem`; every parameter's name is checked.

    Raises:
        UsageError: The algorithm does not fit, or a parameter is unknown, of another type or out of range.
    """
    check_fit(spec, problem)
    known = spec.parameters
    for key in parameters:
        if key not in known:
            its = ", ".join(known) or "none"
            raise UsageError(f"{spec.name} has no parameter {key!r}{nearest(key, known)}; its parameters: {its}")
    for key, value in parameters.items():
        if not _fits(value, known[key].kind):
            raise UsageError(f"--algo.{key} must be {_in_words(known[key].kind)}, got {value!r:.60}")
        if isinstance(value, Real) and not isinstance(value, bool):
            known[key].check(value, name=f"--algo.{key}")
    return spec.build(problem, **parameters)


def _in_words(kind: Any) -> str:
    """A parameter's type as a message names it: choices by themselves."""
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(map(_in_words, get_args(kind)))
    return "None" if kind is NoneType else str(getattr(kind, "__name__", kind))


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a parameter's type, as far as that is made of numbers, flags and choices."""
    if get_origin(kind) in (Union, UnionType):
        return any(_fits(value, part) for part in get_args(kind))
    if get_origin(kind) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(kind))
    plain: dict[Any, Any] = {int: Integral, float: Real, bool: (bool, np.bool_), NoneType: NoneType}
    if kind not in plain:
        return True
    return isinstance(value, plain[kind]) and (kind is bool or not isinstance(value, bool))
