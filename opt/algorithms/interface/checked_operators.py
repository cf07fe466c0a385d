"""A problem's operators with what they return checked: shape, kind of numbers, and exceptions told in one line."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from opt.algorithms.interface.warm_start import started
from opt.problem import CompressionProblem, Move, Operators
from opt.problem.default_operators import default_operators
from opt.problem.hooks import HookError, hook_name, user_code
from opt.problem.mixed_variables import mixed_operators

MOST_CALLS = 10
"""A sampling that returns fewer rows than asked is called so often; then its rows are repeated."""


def operators_of(problem: CompressionProblem) -> Operators:
    """The problem's own operators, checked, or the default ones for its representation.

    Raises:
        HookError: `operators` fails or returns something else.
        UsageError: There are no default operators for the problem.
    """
    name = hook_name(problem, "operators")
    with user_code(name):
        own = problem.operators()
    if own is not None and not isinstance(own, Operators):
        raise HookError(f"{name} must return Operators or None, got {type(own).__name__}")
    if own is not None:
        operators = checked(own, problem)
    elif problem.representation == "mixed":
        operators = mixed_operators(problem.vars)
    else:
        operators = default_operators(problem)
    return replace(operators, sampling=started(problem, operators.sampling))


def checked(operators: Operators, problem: CompressionProblem) -> Operators:
    """The operators, each of which raises HookError where it fails or returns what does not fit the problem."""
    check = _Check(problem)
    found: dict[str, Any] = {"sampling": check.sampling(operators.sampling)}
    if operators.crossover is not None:
        found["crossover"] = check.crossover(operators.crossover)
    if operators.mutation is not None:
        found["mutation"] = check.rows("mutation", operators.mutation)
    if operators.repair is not None:
        found["repair"] = check.rows("repair", operators.repair)
    try:
        moves = dict(operators.moves)
    except (TypeError, ValueError):
        raise HookError(f"{check.name('moves')} must be a mapping of names to Move objects") from None
    for name, move in moves.items():
        if not isinstance(move, Move):
            raise HookError(f"{check.name('moves')} must hold Move objects, {name!r} is a {type(move).__name__}")
        moves[name] = replace(move, apply=check.rows(f"moves[{name!r}]", move.apply))
    return replace(operators, moves=moves, **found)


class _Check:
    """Wraps the functions of one problem's operators."""

    def __init__(self, problem: CompressionProblem) -> None:
        self.problem = problem
        self.n_var = problem.n_var
        self.kind = problem.representation

    def name(self, operator: str) -> str:
        return f"{hook_name(self.problem, 'operators')}().{operator}"

    def rows(self, operator: str, function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        """`(X, ...) -> X'` with as many rows."""
        name = self.name(operator)

        def call(X: np.ndarray, *others: Any) -> np.ndarray:
            with user_code(name):
                changed = function(X, *others)
            return self._array(name, changed, len(X))

        return call

    def crossover(self, function: Callable[..., Any]) -> Callable[..., tuple[np.ndarray, np.ndarray]]:
        name = self.name("crossover")

        def call(A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
            with user_code(name):
                children = function(A, B, rng)
            if not isinstance(children, (tuple, list)) or len(children) != 2:
                raise HookError(f"{name} must return a pair (C, D) of arrays, got {type(children).__name__}")
            return self._array(name, children[0], len(A)), self._array(name, children[1], len(A))

        return call

    def sampling(self, function: Callable[..., np.ndarray]) -> Callable[[int, np.random.Generator], np.ndarray]:
        name = self.name("sampling")

        def call(n: int, rng: np.random.Generator) -> np.ndarray:
            parts: list[np.ndarray] = []
            lacking = n
            for _ in range(MOST_CALLS):
                with user_code(name):
                    drawn = function(lacking, rng)
                parts.append(self._array(name, drawn, lacking, fewer=True))
                lacking -= len(parts[-1])
                if lacking == 0:
                    break
            X = np.concatenate(parts) if len(parts) > 1 else parts[0]
            if not len(X) and n:
                raise HookError(f"{name} returned no candidate where {n} were asked")
            # a small space may have no more: equal candidates are evaluated once
            return X if not lacking else X[np.arange(n) % len(X)]

        return call

    def _array(self, name: str, X: Any, n: int, *, fewer: bool = False) -> np.ndarray:
        """X with the kind of numbers that the representation has.

        Raises:
            HookError: It is no array of n rows (or fewer), or holds other values.
        """
        if not isinstance(X, np.ndarray):
            raise HookError(f"{name} must return an array of shape ({n}, {self.n_var}), got {type(X).__name__}")
        if X.ndim != 2 or X.shape[1] != self.n_var or not (len(X) == n or (fewer and len(X) < n)):
            raise HookError(f"{name} must return shape ({n}, {self.n_var}), got {X.shape}")
        if self.kind in ("object", "mixed"):
            if X.dtype != object:
                raise HookError(f"{name} must return an array of dtype object, got {X.dtype}")
            return X
        wanted = {"real": "f", "integer": "iu", "permutation": "iu", "binary": "b"}[self.kind]
        if X.dtype.kind in wanted:
            return X
        return self._converted(name, X)

    def _converted(self, name: str, X: np.ndarray) -> np.ndarray:
        """Numbers of another kind that stand for the right ones, such as whole floats for integers."""
        kind = {"real": np.float64, "integer": np.int64, "permutation": np.int64, "binary": np.bool_}[self.kind]
        try:
            converted: np.ndarray = X.astype(kind)
            is_same = bool((converted == X).all())
        except (TypeError, ValueError, OverflowError):
            is_same = False
        if not is_same:
            raise HookError(f"{name} must return {self.kind} values, got dtype {X.dtype} with others; round them")
        return converted
