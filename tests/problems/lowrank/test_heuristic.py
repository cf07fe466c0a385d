"""The published heuristic against its description, and against the optimum."""

from __future__ import annotations

import math

import numpy as np
import pytest
from random_tables import LAYERS, random_table

from problems.lowrank.heuristic import PublishedHeuristic
from problems.lowrank.ladder import Ladder
from problems.lowrank.layer_matrices import Layer

ODD = [
    Layer("d", 20, 15, 1, (), (), (), True, True),  # half of its 5 slices lies between 1 and 3
    Layer("e", 1, 4, 1, (3, 3), (5, 5), (5, 5), True, True),  # scheme 0 cannot make it smaller
    Layer("f", 2, 3, 1, (), (), (), True, True),  # one number of slices only
    LAYERS[0],
]


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
@pytest.mark.parametrize(("schemes", "layers"), [((0,), LAYERS), ((3, 0), LAYERS), ((3, 0), ODD)])
@pytest.mark.parametrize("n_iterations", [0, 1, 4])
def test_heuristic_is_its_description_without_shortcuts(n_iterations, schemes, layers, size):
    n_moved = 0
    for seed in range(3):
        table = random_table(seed, ties=seed == 2, schemes=schemes, layers=layers)
        ladder, heuristic = Ladder(table, size), PublishedHeuristic(table, size, n_iterations=n_iterations)
        for budget in np.linspace(ladder.smallest, ladder.largest, 6):
            for number in range(6):
                options = {"size": size, "rng": np.random.default_rng(number)}
                expected = naive_start(table, budget, number, n_iterations=n_iterations, **options)
                np.testing.assert_array_equal(heuristic.start(budget, number, np.random.default_rng(number)), expected)
                options = {"size": size, "rng": np.random.default_rng(number)}
                first = naive_start(table, budget, number, n_iterations=0, **options)
                n_moved += expected is not None and (first != expected).any()
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
