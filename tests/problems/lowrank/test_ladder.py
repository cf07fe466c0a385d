"""Exact optima against enumeration of every allocation."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_tables import LAYERS, everything, random_table
from scipy.spatial import ConvexHull

from problems.lowrank.ladder import Ladder


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


@pytest.mark.parametrize("n_layers", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_allocation_is_lexicographically_optimal_within_its_budget(seed, n_layers):
    table = random_table(seed, layers=LAYERS[:n_layers])
    errors, sizes = everything(table, "parameters")
    ladder = Ladder(table)
    for budget in np.linspace(ladder.smallest, ladder.largest, 23):
        x = ladder.allocate(budget)
        assert x.dtype == np.int64 and table.sizes(x[None], "parameters")[0] <= budget
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


def lower_hull(sizes, cost):
    """Corners of the lower convex hull from the smallest size to the least cost: (m, 2) sizes and costs, by SciPy."""
    points = np.unique(np.column_stack([sizes, cost]), axis=0)
    hull = ConvexHull(points / points.max(axis=0))
    faces = (hull.equations[:, 0] < -1e-12) & (hull.equations[:, 1] < -1e-12)
    return points[np.unique(hull.simplices[faces])]


@pytest.mark.parametrize("size", ["parameters", "macs", "bytes"])
@pytest.mark.parametrize("seed", range(4))
def test_least_sum_has_every_corner_of_the_hull_of_all_allocations(seed, size):
    table = random_table(seed)
    weights = np.array([1.0, 0.3, 2.0]) if seed % 2 else None
    factors = np.ones(3) if weights is None else weights
    errors, sizes = everything(table, size)
    corners = lower_hull(sizes, errors**2 @ factors)
    assert len(corners) > 6
    ladder = Ladder(table, size, aggregate="sum", weights=weights)
    for least, cost in corners:
        for budget in (least, least + 0.5):
            x = ladder.allocate(budget, spend=False)
            assert table.sizes(x[None], size)[0] == least
            assert table.errors(x[None])[0] ** 2 @ factors == pytest.approx(cost, abs=1e-12)


@pytest.mark.parametrize("size", ["parameters", "macs"])
@pytest.mark.parametrize("seed", range(3))
def test_least_sum_spends_the_rest_on_the_steps_of_greatest_gain_that_fit(seed, size):
    table = random_table(seed)
    steps = []
    for i in range(table.n_layers):
        _, _, error, cost = table.flat(i, size)
        steps += [(-e / s, i, s) for s, e in np.diff(lower_hull(cost, error**2), axis=0)]
    steps.sort(reverse=True)
    ladder = Ladder(table, size, aggregate="sum")
    start = ladder.allocate(ladder.smallest, spend=False)[None]
    for budget in np.linspace(ladder.smallest, ladder.largest, 31).round():
        left, gain, stuck = budget - ladder.smallest, 0.0, set()
        for slope, i, step in steps:
            if i not in stuck and step <= left:
                left, gain = left - step, gain + slope * step
            else:
                stuck.add(i)  # a layer's later steps build on this one
        x = ladder.allocate(budget)[None]
        assert table.sizes(x, size)[0] == budget - left
        assert (table.errors(x) ** 2).sum() == pytest.approx((table.errors(start) ** 2).sum() - gain, abs=1e-12)


def test_allocations_keep_to_the_options_that_are_named():
    table = random_table(1)
    options = [[1, 2], [0], [3]]
    flats = [table.flat(i, "parameters") for i in range(table.n_layers)]
    used = [np.isin(f[0], o) | (np.arange(len(f[0])) == len(f[0]) - 1) for f, o in zip(flats, options, strict=True)]
    errors = np.array(list(itertools.product(*(f[2][u] for f, u in zip(flats, used, strict=True)))))
    sizes = np.array(list(itertools.product(*(f[3][u] for f, u in zip(flats, used, strict=True))))).sum(axis=1)
    ladder = Ladder(table, options=options)
    n_seen = 0
    for budget in np.linspace(ladder.smallest, ladder.largest, 12):
        x = ladder.allocate(budget)
        within = sizes + table.rest["parameters"] <= budget
        assert table.errors(x[None]).max() == errors[within].max(axis=1).min()
        for i, choice in enumerate(table.choices(x).values()):
            if choice is not None:
                n_seen += 1
                assert x[2 * i] in options[i]
    assert n_seen > 12
    assert ladder.allocate(ladder.largest).tolist() == table.whole_row().tolist()


def test_ladder_without_steps_is_the_network_itself():
    table = random_table(1)
    ladder = Ladder(table, options=[[], [], []])
    assert ladder.smallest == ladder.largest == table.total("parameters")
    errors, sizes = ladder.front()
    assert errors.tolist() == [0.0] and sizes.tolist() == [ladder.largest]
    assert ladder.front_rows().tolist() == [table.whole_row().tolist()]


@pytest.mark.parametrize("aggregate", ["max", "sum"])
@pytest.mark.parametrize("size", ["parameters", "macs", "bytes"])
def test_largest_is_the_network_itself_and_many_budgets_are_one_by_one(size, aggregate):
    table = random_table(2)
    ladder = Ladder(table, size, aggregate=aggregate)
    assert ladder.largest == table.total(size) > ladder.smallest
    assert table.sizes(ladder.allocate(ladder.smallest)[None], size)[0] == ladder.smallest
    budgets = [ladder.smallest, ladder.largest, (ladder.smallest + ladder.largest) / 2]
    for spend in (True, False):
        many = ladder.allocate_many(budgets, spend=spend)
        np.testing.assert_array_equal(many, [ladder.allocate(b, spend=spend) for b in budgets])
    np.testing.assert_array_equal(ladder.allocate_many(budgets), ladder.allocate_many(budgets, spend=True))
    assert ladder.allocate_many([]).shape == (0, 6)
