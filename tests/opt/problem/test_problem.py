"""What every problem has without stating it: distances between candidates."""

from __future__ import annotations

import numpy as np
import pytest
import sample_problems as samples
from pymoo.core.problem import Problem

from opt import CompressionProblem, Objective
from opt.problem.adapt import as_compression_problem


def frozen(values):
    X = np.array(values)
    X.flags.writeable = False
    return X


@pytest.mark.parametrize(
    ("build", "X", "Y", "expected"),
    [
        (samples.Switches, [[True] * 14, [False] * 14], [[True] * 14, [False] * 12 + [True] * 2], [0, 2]),
        (samples.Tour, [range(8)], [[1, 0, *range(2, 8)]], [2]),
        (samples.Steps, [[0, 0, 2, 7], [0, 0, 2, 7]], [[0, 0, 2, 40], [1, 1, 2, 40]], [1, 3]),
        # the box of the bowl is 3 wide on every side
        (samples.Bowl, [[-1.0, 0.0, 2.0], [0.0, 0.0, 0.0]], [[2.0, 0.0, 2.0], [0.3, 0.0, 0.4]], [1, 0.5 / 3]),
    ],
)
def test_distance_counts_variables_or_measures_in_the_box(build, X, Y, expected):
    X, Y = frozen(X), frozen(Y)
    found = build().distance(X, Y)
    assert found.dtype == np.float64 and found.shape == (len(X),)
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    np.testing.assert_array_equal(found, build().distance(Y, X))


def test_distance_passes_over_a_side_without_width_and_takes_numbers_without_bounds_as_they_are():
    class Wall(CompressionProblem):
        objectives = (Objective("a"),)

    fixed = Wall(n_var=2, xl=np.array([0.0, 5.0]), xu=np.array([10.0, 5.0]))
    np.testing.assert_allclose(fixed.distance(np.array([[0.0, 5.0]]), np.array([[5.0, 5.0]])), [0.5])
    free = Wall(n_var=2)
    np.testing.assert_allclose(free.distance(np.array([[0.0, 0.0]]), np.array([[3.0, 4.0]])), [5.0])


def test_distance_of_objects_is_unknown_and_of_mixed_variables_the_number_that_differ():
    words = samples.Words()
    X = words.operators().sampling(3, np.random.default_rng(0))
    assert np.isnan(words.distance(X, X)).all() and words.distance(X, X).shape == (3,)
    parts = as_compression_problem(samples.Parts())
    X = parts.operators().sampling(2, np.random.default_rng(0))
    Y = X.copy()
    Y[0, 0] = X[0, 0] | {"share": X[0, 0]["share"] / 2 + 0.1, "doubled": not X[0, 0]["doubled"]}
    assert parts.distance(X, Y).tolist() == [2.0, 0.0]


def test_distance_of_a_plain_problem_follows_its_variables():
    plain = as_compression_problem(Problem(n_var=3, n_obj=1, xl=0, xu=9, vtype=int))
    assert plain.distance(np.array([[1, 2, 3]]), np.array([[1, 5, 4]])).tolist() == [2.0]
