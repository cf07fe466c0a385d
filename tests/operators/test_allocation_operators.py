"""Operators on allocations: what is drawn, crossed, mutated and repaired."""

from __future__ import annotations

import numpy as np
import pytest

from operators.ranks import BudgetRepair, BudgetSampling, LayerCrossover, RankMutation

TOP = np.array([[9, 5, 1], [21, 11, 6], [4, 1, 1]])
RANK = np.array([[10, 17, 1], [5, 9, 16], [30, 1, 1]])
DENSE = np.array([90, 100, 110])


def sizes(X):
    options, ranks = X[:, 0::2], X[:, 1::2]
    rows = np.arange(3)[None]
    return np.where(ranks >= TOP[rows, options], DENSE, ranks * RANK[rows, options])


def population(n=200, seed=0):
    rng = np.random.default_rng(seed)
    options = np.column_stack([rng.integers(0, k, n) for k in (2, 3, 1)])
    ranks = rng.integers(1, 22, size=(n, 3))
    X = np.empty((n, 6), dtype=np.int64)
    X[:, 0::2], X[:, 1::2] = options, ranks
    X.setflags(write=False)
    return X


def is_valid(X):
    options, ranks = X[:, 0::2], X[:, 1::2]
    return (options >= 0).all() and (TOP[np.arange(3)[None], options] > 1).all() and (ranks >= 1).all()


def test_crossover_exchanges_whole_layers():
    A, B = population(seed=1), population(seed=2)
    C, D = LayerCrossover()(A, B, np.random.default_rng(0))
    pairs = [Y.reshape(-1, 3, 2) for Y in (A, B, C, D)]
    from_a = (pairs[2] == pairs[0]).all(axis=2) & (pairs[3] == pairs[1]).all(axis=2)
    from_b = (pairs[2] == pairs[1]).all(axis=2) & (pairs[3] == pairs[0]).all(axis=2)
    assert (from_a | from_b).all()
    differing = (pairs[0] != pairs[1]).any(axis=2).sum(axis=1)
    is_new = (C != A).any(axis=1) & (C != B).any(axis=1)
    assert is_new[differing >= 2].all(), "children are new wherever that is possible"


def test_crossover_of_equal_parents_gives_them_back():
    A = population(5)
    C, D = LayerCrossover()(A, A, np.random.default_rng(0))
    np.testing.assert_array_equal(C, A)
    np.testing.assert_array_equal(D, A)


def test_mutation_changes_every_row_and_stays_valid():
    X = population()
    Y = RankMutation(TOP, RANK)(X, np.random.default_rng(0))
    assert is_valid(Y)
    before = np.minimum(X[:, 1::2], TOP[np.arange(3)[None], X[:, 0::2]])
    is_changed = (Y[:, 0::2] != X[:, 0::2]) | (Y[:, 1::2] != before)
    assert is_changed.any(axis=1).all()
    assert is_changed.mean() < 0.7, "most of a good candidate remains"
    assert (Y[:, 1::2] <= TOP[np.arange(3)[None], Y[:, 0::2]]).all()


def test_mutation_to_other_slices_keeps_the_size_of_a_layer():
    X = np.tile([0, 8, 1, 6, 0, 2], (300, 1))
    Y = RankMutation(TOP, RANK, rate=1.0, option_prob=1.0)(X, np.random.default_rng(0))
    moved = Y[:, 2] != 1
    assert moved.any()
    change = np.abs(sizes(Y)[moved, 1] - sizes(X)[moved, 1])
    assert change.max() <= RANK[1].max() / 2 + 1


@pytest.mark.parametrize("budget", [46, 60, 120, 250])
def test_repair_meets_its_budget_and_leaves_the_rest_alone(budget):
    repair = BudgetRepair(sizes, TOP, budget)
    X = population()
    Y = repair(X)
    assert is_valid(Y) and (sizes(Y).sum(axis=1) <= budget).all()
    was_within = sizes(X).sum(axis=1) <= budget
    np.testing.assert_array_equal(Y[was_within], X[was_within])
    np.testing.assert_array_equal(repair(Y), Y)


def test_repair_spends_what_is_left():
    repair = BudgetRepair(sizes, TOP, 150)
    X = population()
    Y = repair(X)
    checked = 0
    for x, y in zip(X[sizes(X).sum(axis=1) > 150], Y[sizes(X).sum(axis=1) > 150], strict=True):
        if (x[0::2] != y[0::2]).any():
            continue  # given other slices, whose ranks keep their share only
        left = 150 - sizes(y[None]).sum()
        for i in range(3):
            more = y.copy()
            more[2 * i + 1] += 1
            if more[2 * i + 1] <= min(x[2 * i + 1], TOP[i, y[2 * i]]):
                assert sizes(more[None]).sum() - sizes(y[None]).sum() > left
                checked += 1
    assert checked > 20


def test_repair_refuses_what_cannot_be():
    with pytest.raises(ValueError, match="budget must be at least 45, got 44"):
        BudgetRepair(sizes, TOP, 44)


def test_sampling_begins_with_optima_of_spread_budgets():
    asked = []

    def way(number):
        def allocate(budget, weights):
            asked.append((number, budget, weights))
            return np.full(6, number, dtype=np.int64)

        return allocate

    sampling = BudgetSampling([way(1), way(2)], 10.0, 1000.0, 3, seeded=0.5)
    X = sampling(8, np.random.default_rng(0))
    assert X.shape == (8, 6) and X.dtype == np.int64
    assert [(n, w) for n, _, w in asked[:4]] == [(1, None), (2, None), (1, None), (2, None)]
    np.testing.assert_allclose([b for _, b, _ in asked[:4]], np.geomspace(1000, 10, 4))
    assert all(10 <= b <= 1000 and w.shape == (3,) and (w > 0).all() for _, b, w in asked[4:])
