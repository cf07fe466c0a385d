"""Exact optima against enumeration, and the published heuristic against them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.spatial import ConvexHull

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


def random_table(seed, *, ties=False, schemes=(0,)):
    rng = np.random.default_rng(seed)
    errors = {}
    for scheme, layer in itertools.product(schemes, LAYERS):
        for k in layer.slices:
            values = np.sort(rng.random(layer.full_rank(scheme, k)))[::-1]
            errors[option_key(layer.name, scheme, k)] = np.append(np.round(values, 1) if ties else values, 0.0)
    n = sum(layer.parameters for layer in LAYERS)
    whole = Whole(n + 20, sum(layer.macs for layer in LAYERS), 4 * n + 80)
    return ChoiceTable(LAYERS, errors, whole, schemes=schemes)


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


def errors_by_rank(table):
    """For each layer and option the errors at rank 1, 2, ..., to the first that leaves the layer as it is."""
    columns = []
    for i, pairs in enumerate(table.options):
        columns.append([])
        for option in range(len(pairs)):
            X = np.tile(table.whole_row(), (int(table.top[i, option]), 1))
            X[:, 2 * i], X[:, 2 * i + 1] = option, 1 + np.arange(len(X))
            columns[i].append(table.errors(X)[:, i].tolist())
    return columns


def naive_row(table, errors, chosen, error, budget, size):
    """Each layer's smallest rank of at most this error, for given options; None where that is over the budget."""
    x = table.whole_row()
    for i, option in enumerate(chosen):
        if option is not None:
            x[2 * i : 2 * i + 2] = option, 1 + next(j for j, e in enumerate(errors[i][option]) if e <= error)
    x = table.canonical(x[None])[0]
    return x if table.sizes(x[None], size)[0] <= budget else None


def naive_global(table, errors, chosen, budget, size):
    """The least of all errors, one by one, whose allocation fits."""
    values = {e for i, option in enumerate(chosen) if option is not None for e in errors[i][option]}
    for error in sorted(values | {0.0}):
        x = naive_row(table, errors, chosen, error, budget, size)
        if x is not None:
            return x
    return None


def naive_local(table, errors, own, x, size):
    """For each layer the option of least error at the rank that comes nearest to the layer's present size."""
    chosen = []
    for i, options in enumerate(own):
        present = table.layer_sizes(x[None], size)[0, i]
        ranks = [max(1, math.floor(present / table.rank_size[size][i, o] + 0.5)) for o in options]
        left = [errors[i][o][min(j, len(errors[i][o])) - 1] for o, j in zip(options, ranks, strict=True)]
        chosen.append(options[left.index(min(left))] if options else None)
    return chosen


def naive_start(table, budget, number, rng, *, size, n_iterations):
    """One start of the published heuristic, from its description, without its shortcuts."""
    own = [[o for o, (scheme, _) in enumerate(pairs) if scheme == 0] for pairs in table.options]
    errors = errors_by_rank(table)

    def nearest(layer, wanted):
        options = own[layer]
        return min(options, key=lambda o: abs(table.options[layer][o][1] - wanted)) if options else None

    if number < 4:
        chosen = [nearest(i, (3, 5, 7, 9)[number]) for i in range(len(own))]
    else:
        places = [int(rng.integers(max(1, len(options)))) for options in own]
        chosen = [options[c] if options else None for options, c in zip(own, places, strict=True)]
    while naive_row(table, errors, chosen, np.inf, budget, size) is None:
        if all(o is None or o == options[0] for o, options in zip(chosen, own, strict=True)):
            return None
        chosen = [None if o is None else nearest(i, table.options[i][o][1] // 2) for i, o in enumerate(chosen)]
    x = naive_global(table, errors, chosen, budget, size)
    for _ in range(n_iterations):
        chosen = naive_local(table, errors, own, x, size)
        better = naive_global(table, errors, chosen, budget, size)
        if better is None:
            break
        if table.errors(better[None]).max() < table.errors(x[None]).max():
            x = better
    return x


@pytest.mark.parametrize("size", ["parameters", "macs"])
@pytest.mark.parametrize("schemes", [(0,), (3, 0)])
@pytest.mark.parametrize("n_iterations", [0, 1, 4])
def test_heuristic_is_its_description_without_shortcuts(n_iterations, schemes, size):
    n_moved = 0
    for seed in range(3):
        table = random_table(seed, ties=seed == 2, schemes=schemes)
        ladder, heuristic = Ladder(table, size), PublishedHeuristic(table, size, n_iterations=n_iterations)
        for budget in np.linspace(ladder.smallest, ladder.largest, 6):
            for number in range(6):
                options = {"size": size, "rng": np.random.default_rng(number)}
                expected = naive_start(table, budget, number, n_iterations=n_iterations, **options)
                np.testing.assert_array_equal(heuristic.start(budget, number, np.random.default_rng(number)), expected)
                options = {"size": size, "rng": np.random.default_rng(number)}
                n_moved += (naive_start(table, budget, number, n_iterations=0, **options) != expected).any()
        assert heuristic.start(ladder.smallest - 1, 0, np.random.default_rng(0)) is None
    assert (n_moved > 10) == (n_iterations > 0)


def test_heuristic_leaves_layers_without_its_scheme_as_they_are():
    table = random_table(0, schemes=(3,))
    heuristic, rng = PublishedHeuristic(table), np.random.default_rng(0)
    assert all(scheme == 3 for pairs in table.options for scheme, _ in pairs)
    total = table.total("parameters")
    for number in (0, 5):
        assert heuristic.start(total, number, rng).tolist() == table.whole_row().tolist()
        assert heuristic.start(total - 1, number, rng) is None


@pytest.mark.parametrize("n_starts", [1, 6])
def test_heuristic_takes_the_best_of_its_starts(n_starts):
    table = random_table(1)
    heuristic = PublishedHeuristic(table)
    budget = (Ladder(table).smallest + Ladder(table).largest) // 2
    rng = np.random.default_rng(3)
    starts = [heuristic.start(budget, number, rng) for number in range(n_starts)]
    best = min(table.errors(x[None]).max() for x in starts if x is not None)
    x = heuristic.allocate(budget, np.random.default_rng(3), n_starts=n_starts)
    assert table.errors(x[None]).max() == best


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
