"""Operators for plain variables, at the edges of their ranges."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymoo.core.problem import Problem
from pymoo.core.variable import Choice, Integer, Real

from opt import UsageError
from opt.problem.adapt import as_compression_problem
from opt.problem.default_operators import (
    binary_operators,
    integer_operators,
    permutation_operators,
    real_operators,
)
from opt.problem.mixed_variables import mixed_operators


def vary(operators, X, seed):
    rng = np.random.default_rng(seed)
    half = len(X) // 2
    C, D = operators.crossover(X[:half], X[half:], rng)
    return [C, D, operators.mutation(X, rng), operators.mutation(np.concatenate([C, D]), rng)]


@given(st.lists(st.tuples(st.integers(-50, 50), st.integers(0, 3)), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_integers_stay_in_their_bounds_and_move(sides, seed):
    xl = np.array([low for low, _ in sides])
    xu = xl + [width for _, width in sides]
    operators = integer_operators(xl.astype(float), xu.astype(float))
    X = operators.sampling(20, np.random.default_rng(seed))
    for Y in [X, *vary(operators, X, seed)]:
        assert Y.dtype == np.int64 and (xl <= Y).all() and (xu >= Y).all()
    if (xu > xl).any():
        assert (operators.mutation(X, np.random.default_rng(seed)) != X).any(axis=1).all()


def test_every_integer_is_sampled_alike():
    X = integer_operators(np.zeros(1), np.full(1, 4.0)).sampling(5000, np.random.default_rng(0))
    assert (np.bincount(X[:, 0], minlength=5) > 900).all()


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0, 1e3)), min_size=1, max_size=5), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_reals_stay_in_their_bounds(sides, seed):
    xl = np.array([low for low, _ in sides])
    xu = xl + [width for _, width in sides]
    operators = real_operators(xl, xu)
    X = operators.sampling(20, np.random.default_rng(seed))
    for Y in [X, *vary(operators, X, seed)]:
        assert (xl <= Y).all() and (xu >= Y).all() and np.isfinite(Y).all()


@pytest.mark.parametrize("n_var", [1, 2, 9])
def test_bits_exchange_sections_and_always_flip(n_var):
    operators = binary_operators(n_var)
    X = operators.sampling(40, np.random.default_rng(0))
    C, D, M, _ = vary(operators, X, 1)
    assert C.dtype == M.dtype == bool
    # nothing is made or lost: bit by bit the children hold what the parents held
    assert ((C.astype(int) + D) == (X[:20].astype(int) + X[20:])).all()
    assert (M != X).any(axis=1).all()


@pytest.mark.parametrize("n_var", [1, 2, 3, 9])
def test_orders_stay_orders(n_var):
    operators = permutation_operators(n_var)
    X = operators.sampling(40, np.random.default_rng(0))
    for Y in [X, *vary(operators, X, 1)]:
        assert (np.sort(Y, axis=1) == np.arange(n_var)).all()
    if n_var > 1:
        assert (operators.mutation(X, np.random.default_rng(2)) != X).any(axis=1).all()


def test_choices_keep_their_values_whatever_they_are():
    options = ["a", 2, None, (1, 2)]
    operators = mixed_operators({"which": Choice(options=options), "n": Integer(bounds=(1, 1))})
    X = operators.sampling(60, np.random.default_rng(0))
    for Y in [X, *vary(operators, X, 1)]:
        assert all(x["which"] in options and x["n"] == 1 for x in Y[:, 0])
    assert len({str(x["which"]) for x in X[:, 0]}) == 4


def test_variables_of_unknown_type_are_refused():
    class Odd(Real):
        pass

    with pytest.raises(UsageError, match="speed"):
        mixed_operators({"speed": Odd(bounds=(0, 1)), "n": Integer(bounds=(1, 2))})


def test_equality_constraints_and_missing_bounds_are_refused():
    with pytest.raises(UsageError, match="two inequalities"):
        as_compression_problem(Problem(n_var=2, n_obj=1, n_eq_constr=1, xl=0, xu=1))
    with pytest.raises(UsageError, match="needs bounds"):
        as_compression_problem(Problem(n_var=2, n_obj=1))
    with pytest.raises(UsageError, match="pymoo Problem"):
        as_compression_problem("zdt1")
