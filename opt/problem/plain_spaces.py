"""Spaces of plain vectors: how many there are, and all of them in turn."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from opt.problem.bounds import has_finite_bounds

CHUNK = 1000
"""Rows of one array of `all_plain`."""
MOST = 2**63


def n_plain(kind: str, n_var: int, xl: np.ndarray | None, xu: np.ndarray | None) -> int | None:
    """The number of plain vectors: of integers in a box, bits, permutations, or reals that are all fixed.

    Args:
        kind: The representation.
        n_var: Number of variables.
        xl: (n_var,) lower bounds, or None.
        xu: (n_var,) upper bounds, or None.

    Returns:
        None where there is no finite number, or more than 2**63, or the representation is another.
    """
    if kind == "binary":
        return product([2] * n_var)
    if kind == "permutation":
        return product(range(1, n_var + 1))
    if kind not in ("real", "integer") or xl is None or xu is None or not has_finite_bounds(xl, xu):
        return None
    if kind == "real":
        return 1 if bool(np.all(xl == xu)) else None
    return product(int(high) - int(low) + 1 for low, high in zip(xl, xu, strict=True))


def product(sides: Iterable[int]) -> int | None:
    """The product of numbers of at least 1, or None beyond 2**63, more than any search could see."""
    whole = 1
    for side in sides:
        whole *= side
        if whole > MOST:
            return None
    return whole


def all_plain(kind: str, n_var: int, xl: np.ndarray, xu: np.ndarray) -> Iterator[np.ndarray]:
    """Every plain vector in lexicographic order, as arrays of shape (k, n_var); arguments as of `n_plain`."""
    rows: Iterator[tuple[Any, ...]]
    dtype: Any = np.int64
    if kind == "binary":
        rows, dtype = itertools.product((False, True), repeat=n_var), np.bool_
    elif kind == "permutation":
        rows = itertools.permutations(range(n_var))
    elif kind == "real":
        rows, dtype = iter([tuple(xl)]), np.float64
    else:
        yield from grid([range(int(low), int(high) + 1) for low, high in zip(xl, xu, strict=True)], dtype)
        return
    yield from _chunks(rows, n_var, dtype)


def grid(sides: Sequence[Sequence[Any] | np.ndarray], dtype: Any) -> Iterator[np.ndarray]:
    """Every combination of one value a variable, in lexicographic order.

    Args:
        sides: The values of each variable.
        dtype: Of the arrays.

    Returns:
        Arrays of shape (k, len(sides)).
    """
    return _chunks(_product(tuple(sides)), len(sides), dtype)


def _chunks(rows: Iterator[tuple[Any, ...]], n_var: int, dtype: Any) -> Iterator[np.ndarray]:
    while chunk := list(itertools.islice(rows, CHUNK)):
        yield np.array(chunk, dtype=dtype).reshape(len(chunk), n_var)


def _product(sides: tuple[Sequence[Any] | np.ndarray, ...]) -> Iterator[tuple[Any, ...]]:
    """As itertools.product, which would first write every side out in full."""
    if not sides:
        yield ()
        return
    for value in sides[0]:
        for rest in _product(sides[1:]):
            yield (value, *rest)
