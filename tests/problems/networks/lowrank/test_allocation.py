"""Exact optima against enumeration, and the published heuristic against them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from problems.networks.lowrank.choices import Choice, ChoiceTable
from problems.networks.lowrank.heuristic import PublishedHeuristic
from problems.networks.lowrank.ladder import Ladder
from problems.networks.lowrank.layers import Layer, Whole
from problems.networks.lowrank.spectra import option_key

LAYERS = [
    Layer("a", 6, 4, 1, (3, 3), (5, 5), (5, 5), True, True),
    Layer("b", 5, 6, 1, (1, 1), (4, 4), (4, 4), False, True),
    Layer("c", 8, 12, 1, (), (), (), True, True),
]


def random_table(seed, *, ties=False):
    rng = np.random.default_rng(seed)
    errors = {}
    for layer in LAYERS:
        for k in layer.slices:
            values = np.sort(rng.random(layer.full_rank(0, k)))[::-1]
            errors[option_key(layer.name, 0, k)] = np.append(np.round(values, 1) if ties else values, 0.0)
    n = sum(layer.parameters for layer in LAYERS)
    return ChoiceTable(LAYERS, errors, Whole(n + 20, sum(layer.macs for layer in LAYERS), 4 * n + 80))


def everything(table, size):
    """(m, layers) errors and (m,) sizes of every allocation."""
    flats = [table.flat(i, size) for i in range(table.n_layers)]
    errors = np.array(list(itertools.product(*(f[2] for f in flats))))
    sizes = np.array(list(itertools.product(*(f[3] for f in flats)))).sum(axis=1) + table.rest[size]
    return errors, sizes


@pytest.mark.parametrize("size", ["parameters", "macs"])
@pytest.mark.parametrize(("seed", "ties"), [(0, False), (1, False), (2, True), (3, True)])
def test_front_is_that_of_every_allocation(seed, ties, size):
    table = random_table(seed, ties=ties)
    errors, sizes = everything(table, size)
    worst = errors.max(axis=1)
    got_errors, got_sizes = Ladder(table, size).front()
    rows = Ladder(table, size).front_rows()
    np.testing.assert_array_equal(table.sizes(rows, size), got_sizes)
    np.testing.assert_array_equal(table.errors(rows).max(axis=1), got_errors)
    order = np.lexsort((worst, sizes))
    best = np.minimum.accumulate(worst[order])
    is_new = np.append(True, best[1:] < best[:-1])
    # of equal size the least error; of equal error the least size
    expected = {(float(e), int(s)) for e, s in zip(worst[order][is_new], sizes[order][is_new], strict=True)}
    expected = {p for p in expected if not any(q != p and q[0] <= p[0] and q[1] <= p[1] for q in expected)}
    assert set(zip(got_errors.tolist(), got_sizes.tolist(), strict=True)) == expected


@pytest.mark.parametrize("seed", range(4))
def test_allocation_is_lexicographically_optimal_within_its_budget(seed):
    table = random_table(seed)
    errors, sizes = everything(table, "parameters")
    ladder = Ladder(table)
    for budget in np.linspace(ladder.smallest, ladder.largest, 23):
        x = ladder.allocate(budget)
        assert table.sizes(x[None], "parameters")[0] <= budget
        fitting = np.sort(errors[sizes <= budget], axis=1)[:, ::-1]
        best = fitting[np.lexsort(fitting.T[::-1])[0]]
        np.testing.assert_allclose(np.sort(table.errors(x[None])[0])[::-1], best)
    with pytest.raises(ValueError, match="budget must be at least"):
        ladder.allocate(ladder.smallest - 1)


def test_weighted_errors_move_the_optimum():
    table = random_table(5)
    ladder, heavy = Ladder(table), Ladder(table, weights=np.array([100.0, 1.0, 1.0]))
    budget = (ladder.smallest + ladder.largest) // 2
    assert table.errors(heavy.allocate(budget)[None])[0, 0] < table.errors(ladder.allocate(budget)[None])[0, 0]


@pytest.mark.parametrize("seed", range(4))
def test_least_sum_is_optimal_at_the_corners_of_the_hull(seed):
    table = random_table(seed)
    errors, sizes = everything(table, "parameters")
    cost = (errors**2).sum(axis=1)
    ladder = Ladder(table, aggregate="sum")
    for budget in ladder._cumulative.tolist():
        x = ladder.allocate(budget, spend=False)
        assert (table.errors(x[None]) ** 2).sum() == pytest.approx(cost[sizes <= budget].min(), abs=1e-12)
    for budget in np.linspace(ladder.smallest, ladder.largest, 17):
        x = ladder.allocate(budget)
        assert table.sizes(x[None], "parameters")[0] <= budget


def test_heuristic_stays_within_its_budget_and_never_beats_the_optimum():
    for seed in range(6):
        table = random_table(seed)
        ladder, heuristic = Ladder(table), PublishedHeuristic(table)
        for budget in np.linspace(ladder.smallest, ladder.largest, 9):
            x = heuristic.allocate(budget, np.random.default_rng(seed))
            assert x is not None
            assert table.sizes(x[None], "parameters")[0] <= budget
            best = table.errors(ladder.allocate(budget)[None]).max()
            assert table.errors(x[None]).max() >= best - 1e-12
        below = heuristic.allocate(ladder.smallest - 1, np.random.default_rng(0))
        assert below is None


def test_heuristic_often_finds_the_optimum():
    """Not a strawman: with three layers and fifteen starts it is mostly exact."""
    hits, n = 0, 0
    for seed in range(6):
        table = random_table(seed)
        ladder, heuristic = Ladder(table), PublishedHeuristic(table)
        for budget in np.linspace(ladder.smallest, ladder.largest, 9):
            x = heuristic.allocate(budget, np.random.default_rng(seed))
            hits += table.errors(x[None]).max() <= table.errors(ladder.allocate(budget)[None]).max() + 1e-12
            n += 1
    assert hits > n / 2


def test_look_up_is_that_of_single_choices():
    table = random_table(7)
    rng = np.random.default_rng(0)
    X = np.array(
        [
            [v for i, o in enumerate(table.options) for v in (rng.integers(len(o)), rng.integers(1, 14))]
            for _ in range(50)
        ]
    )
    X.setflags(write=False)
    errors, sizes = table.errors(X), table.sizes(X, "macs")
    for x, e, s in zip(X, errors, sizes, strict=True):
        total = table.rest["macs"]
        for i, layer in enumerate(table.layers):
            choice = table.choices(x)[layer.name]
            total += layer.macs if choice is None else choice.j * layer.rank_macs(choice.scheme, choice.k)
            if choice is None:
                assert e[i] == 0
        assert total == s
    rows = np.array([table.row(table.choices(x)) for x in X])
    np.testing.assert_array_equal(table.identity(rows), table.identity(X))


def test_options_that_never_make_a_layer_smaller_are_not_offered():
    table = random_table(0)
    for layer, pairs in zip(table.layers, table.options, strict=True):
        assert all(layer.rank_parameters(s, k) < layer.parameters for s, k in pairs)
    assert table.row({"c": Choice(0, 12, 1)}).tolist() == table.whole_row().tolist(), "k f + c >= f c"
