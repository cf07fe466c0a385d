"""Variables of several types in one candidate: an object genome that holds one dict of values by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pymoo.core.variable import Binary, Choice, Integer, Real

from opt.console.errors import UsageError
from opt.problem import Operators
from opt.problem.bounds import checked_bounds, has_finite_bounds
from opt.problem.default_operators import binary_operators, integer_operators, real_operators
from opt.problem.plain_spaces import product

LONGEST_CELL = 60
_NUMBERS = (bool, int, float, np.bool_, np.integer, np.floating)
_PLAIN = (bool, int, float, str, bytes, type(None))


_KINDS = (Real, Integer, Binary, Choice)


def mixed_operators(variables: Mapping[str, Any]) -> Operators:
    """Operators for pymoo's named variables of several types: X is (n, 1), each entry a dict by name.

    Raises:
        UsageError: A variable is of another type, or its bounds are none.
    """
    odd = [name for name, variable in variables.items() if type(variable) not in _KINDS]
    if odd:
        raise UsageError(f"variables must be Real, Integer, Binary or Choice, and {', '.join(odd)} are not")
    mixed = _MixedOperators(variables)
    return Operators(mixed.sampling, mixed.crossover, mixed.mutation)


class _MixedOperators:
    """Each type of variables is a block of columns with the default operators of its type."""

    def __init__(self, variables: Mapping[str, Any]) -> None:
        self.variables = variables
        self.blocks = [
            (names, _operators_of(kind, [_range(name, variables[name]) for name in names]))
            for kind in _KINDS
            if (names := [name for name, variable in variables.items() if type(variable) is kind])
        ]

    def _columns(self, X: np.ndarray, names: list[str]) -> np.ndarray:
        """(n, len(names)) numbers of the variables of one type."""
        return np.array([[_index(self.variables[name], x[name]) for name in names] for x in X[:, 0]])

    def _assembled(self, columns: list[np.ndarray], n: int) -> np.ndarray:
        """(n, 1) candidates from a block of columns a type."""
        X = np.empty((n, 1), dtype=object)
        for i in range(n):
            X[i, 0] = {
                name: _value(self.variables[name], values[i, j])
                for (names, _), values in zip(self.blocks, columns, strict=True)
                for j, name in enumerate(names)
            }
        return X

    def sampling(self, n: int, rng: np.random.Generator) -> np.ndarray:
        """(n, 1) candidates."""
        return self._assembled([operators.sampling(n, rng) for _, operators in self.blocks], n)

    def crossover(self, A: np.ndarray, B: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Two children a pair, each type crossed by itself."""
        children = []
        for names, operators in self.blocks:
            assert operators.crossover is not None
            children.append(operators.crossover(self._columns(A, names), self._columns(B, names), rng))
        return self._assembled([C for C, _ in children], len(A)), self._assembled([D for _, D in children], len(B))

    def mutation(self, X: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Every candidate mutated in the variables of one type, drawn uniformly."""
        columns = []
        drawn = rng.integers(0, len(self.blocks), size=len(X))
        for k, (names, operators) in enumerate(self.blocks):
            assert operators.mutation is not None
            values, rows = self._columns(X, names), drawn == k
            if rows.any():
                values[rows] = operators.mutation(values[rows], rng)
            columns.append(values)
        return self._assembled(columns, len(X))


def _operators_of(kind: type, ranges: list[tuple[float, float]]) -> Operators:
    low, high = np.array(ranges, dtype=float).T
    if kind is Binary:
        return binary_operators(len(ranges))
    return real_operators(low, high) if kind is Real else integer_operators(low, high)


def typed_values(variables: Mapping[str, Any], x: Any) -> dict[str, Any]:
    """A candidate's values in the types that the operators give them.

    Raises:
        ValueError: It is no mapping of the variables' names, or a value is none of its variable's.
    """
    if not isinstance(x, Mapping) or set(x) != set(variables):
        raise ValueError(f"a candidate must be a mapping of {', '.join(variables)}, got {_line(x)[:LONGEST_CELL]}")
    return {name: _typed_value(name, variable, x[name]) for name, variable in variables.items()}


def _typed_value(name: str, variable: Any, value: Any) -> Any:
    if isinstance(variable, Choice):
        return variable.options[_index(variable, value)]
    low, high = _range(name, variable)
    kind = {Integer: int, Binary: bool}.get(type(variable), float)
    try:
        typed = kind(value)
        is_right = typed == value and low <= typed <= high
    except (TypeError, ValueError):
        is_right = False
    if not is_right:
        raise ValueError(f"{name} must be {kind.__name__} from {low:g} to {high:g}, got {_line(value)[:LONGEST_CELL]}")
    return typed


def n_mixed(variables: Mapping[str, Any]) -> int | None:
    """The number of combinations of values; None where a variable is real."""
    if any(isinstance(variable, Real) for variable in variables.values()):
        return None
    sides = [_range(name, variable) for name, variable in variables.items()]
    return product(int(high) - int(low) + 1 for low, high in sides)


def mixed_fingerprint(variables: Mapping[str, Any], x: Mapping[str, Any]) -> bytes:
    """Bytes that identify the values of x; a choice of anything but plain values counts by its place."""
    named = {}
    for name, value in x.items():
        value = value.item() if isinstance(value, np.generic) else value
        named[name] = value if isinstance(value, _PLAIN) else f"option {_index(variables[name], value)}"
    return repr(sorted(named.items())).encode()


def is_same(a: Any, b: Any) -> bool:
    """Whether two values of one variable are equal, arrays and what holds them too."""
    if a is b:
        return True
    if not _is_comparable(a, b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(is_same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(is_same(a[k], b[k]) for k in a)
    try:
        return bool(a == b)
    except (TypeError, ValueError):
        return False


def _is_comparable(a: Any, b: Any) -> bool:
    """Whether two values are of one type, arrays of any kind, or numbers of any type."""
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return isinstance(a, np.ndarray) and isinstance(b, np.ndarray)
    return type(a) is type(b) or (isinstance(a, _NUMBERS) and isinstance(b, _NUMBERS))


def readable(variable: Any, value: Any) -> Any:
    """A variable's value as a cell of a table: plain as it is, anything else as one line, cut where it is long."""
    if isinstance(value, _PLAIN):
        return value
    text = _line(value)
    return text if len(text) <= LONGEST_CELL else f"option {_index(variable, value)}: {text[:LONGEST_CELL]}..."


def _line(value: Any) -> str:
    return " ".join(str(value.tolist() if isinstance(value, np.ndarray) else value).split())


def _range(name: str, variable: Any) -> tuple[float, float]:
    if isinstance(variable, Choice):
        if not len(variable.options):
            raise UsageError(f"variable {name} is a Choice without options; give it at least one")
        return 0.0, len(variable.options) - 1.0
    if isinstance(variable, Binary):
        return 0.0, 1.0
    kind = "integer" if isinstance(variable, Integer) else "real"
    try:
        low, high = variable.bounds
        xl, xu = checked_bounds(kind, low, high, 1, name=f"variable {name}")
    except (TypeError, ValueError) as error:
        raise UsageError(f"bounds of variable {name} must be (lower, upper): {error}") from None
    if xl is None or xu is None or not has_finite_bounds(xl, xu):
        raise UsageError(f"variable {name} needs finite bounds, got {variable.bounds}")
    return float(xl[0]), float(xu[0])


def _index(variable: Any, value: Any) -> Any:
    if not isinstance(variable, Choice):
        return value
    for i, option in enumerate(variable.options):
        if is_same(option, value):
            return i
    raise UsageError(f"{_line(value)[:LONGEST_CELL]} is none of the options of its Choice variable")


def _value(variable: Any, value: Any) -> Any:
    return variable.options[int(value)] if isinstance(variable, Choice) else value.item()
