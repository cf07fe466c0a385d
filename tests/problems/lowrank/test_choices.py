"""The table of choices against layers, ranks and errors one by one."""

from __future__ import annotations

import numpy as np
import pytest
from random_tables import LAYERS, random_errors, random_table

from problems.lowrank.choices import Choice
from problems.lowrank.layer_matrices import Layer
from problems.lowrank.spectra import option_key

MORE = [
    *LAYERS,
    Layer("d", 8, 2, 1, (3, 3), (5, 5), (5, 5), True, True),  # two slices make it smaller by one scheme only
    Layer("e", 4, 4, 1, (), (), (), True, True),  # two ranks have as many parameters as the layer
    Layer("f", 2, 4, 1, (), (), (), True, True),  # two slices of one rank have
    Layer("g", 2, 3, 1, (), (), (), True, True),  # one rank has one parameter less
]


def cost(layer, choice, size):
    """What a layer takes up whole, or in the two factors of a choice."""
    factor = 4 if size == "bytes" else 1
    if choice is None:
        return layer.macs if size == "macs" else factor * layer.parameters
    one = layer.rank_macs if size == "macs" else layer.rank_parameters
    return factor * choice.j * one(choice.scheme, choice.k)


def random_rows(table, rng, n):
    """Allocations with ranks from below the least to above the highest."""
    columns = []
    for options in table.options:
        columns += [rng.integers(len(options), size=n), rng.integers(-1, 16, size=n)]
    return np.column_stack(columns)


@pytest.mark.parametrize("size", ["parameters", "macs", "bytes"])
@pytest.mark.parametrize("schemes", [(0,), (3, 0, 1)])
def test_look_up_is_that_of_single_choices(schemes, size):
    given = {"schemes": schemes, "layers": MORE}
    table, errors = random_table(7, **given), random_errors(7, **given)
    whole = {"parameters": 20, "macs": 0, "bytes": 80}[size]
    assert table.rest[size] == whole and table.total(size) == whole + sum(cost(layer, None, size) for layer in MORE)
    assert table.n_layers == len(MORE)
    X = random_rows(table, np.random.default_rng(0), 60)
    X.setflags(write=False)
    for x, e, s, own in zip(X, table.errors(X), table.sizes(X, size), table.layer_sizes(X, size), strict=True):
        choices = table.choices(x)
        assert list(choices) == [*"abcdefg"]
        for i, (layer, choice) in enumerate(zip(MORE, choices.values(), strict=True)):
            scheme, k = table.options[i][x[2 * i]]
            rank = max(int(x[2 * i + 1]), 1)
            # the whole layer is as good and no larger, once the factors have as many parameters or all ranks
            is_whole = rank > layer.full_rank(scheme, k) or rank * layer.rank_parameters(scheme, k) >= layer.parameters
            assert choice == (None if is_whole else Choice(scheme, k, rank))
            assert e[i] == (0 if is_whole else errors[option_key(layer.name, scheme, k)][rank])
            assert own[i] == cost(layer, choice, size)
        assert s == whole + own.sum()
        assert table.is_whole(x[None])[0].tolist() == [choice is None for choice in choices.values()]


@pytest.mark.parametrize("schemes", [(0,), (3, 0, 1)])
def test_rows_of_one_network_are_one_identity(schemes):
    table = random_table(7, schemes=schemes)
    X = random_rows(table, np.random.default_rng(1), 60)
    before = X.copy()
    rows = np.array([table.row(table.choices(x)) for x in X])
    np.testing.assert_array_equal(table.identity(rows), table.identity(X))
    np.testing.assert_array_equal(X, before)
    for x, same, short in zip(X, table.identity(X), table.canonical(X), strict=True):
        assert table.choices(same) == table.choices(short) == table.choices(x)
        np.testing.assert_array_equal(short[::2], x[::2])
        for i, choice in enumerate(table.choices(same).values()):
            assert choice is not None or same[2 * i : 2 * i + 2].tolist() == [0, table.top[i, 0]]
    assert rows.dtype == table.identity(X).dtype == np.int64


def test_row_leaves_unnamed_layers_whole_and_refuses_what_it_does_not_have():
    table = random_table(7, schemes=(0, 3))
    (scheme, k), *_ = table.options[1]
    x = table.row({"b": Choice(scheme, k, 1), "other": Choice(0, 1, 1), "a": None})
    assert table.choices(x) == {"a": None, "b": Choice(scheme, k, 1), "c": None}
    for choice in (Choice(2, 1, 1), Choice(0, 5, 1)):
        with pytest.raises(ValueError, match=f"layer a has no option scheme {choice.scheme}, k {choice.k}"):
            table.row({"a": choice})


@pytest.mark.parametrize("size", ["parameters", "macs", "bytes"])
def test_flat_lists_every_choice_once_and_the_whole_layer_last(size):
    table = random_table(7, schemes=(0, 3))
    for i, layer in enumerate(LAYERS):
        option, rank, error, sizes = table.flat(i, size)
        assert len(set(zip(option.tolist(), rank.tolist(), strict=True))) == len(option)
        assert len(option) == 1 + int((table.top[i, : len(table.options[i])] - 1).sum())
        X = np.tile(table.whole_row(), (len(option), 1))
        X[:, 2 * i], X[:, 2 * i + 1] = option, rank
        np.testing.assert_array_equal(table.errors(X)[:, i], error)
        np.testing.assert_array_equal(table.layer_sizes(X, size)[:, i], sizes)
        assert table.is_whole(X)[:, i].tolist() == [False] * (len(option) - 1) + [True]
        assert (error[-1], sizes[-1]) == (0, cost(layer, None, size))


@pytest.mark.parametrize("schemes", [(0,), (0, 1, 2, 3)])
def test_options_are_those_of_which_one_rank_makes_the_layer_smaller(schemes):
    table = random_table(0, schemes=schemes, layers=MORE)
    for layer, pairs in zip(table.layers, table.options, strict=True):
        every = [(s, k) for s in schemes if s in layer.schemes for k in layer.slices]
        assert pairs == [(s, k) for s, k in every if layer.rank_parameters(s, k) < layer.parameters]


def test_layers_that_no_option_makes_smaller_are_left_out():
    small = Layer("h", 1, 5, 1, (), (), (), True, True)
    table = random_table(0, layers=[small, *LAYERS])
    assert [layer.name for layer in table.layers] == ["a", "b", "c"] and len(table.options) == 3
    assert table.rest["parameters"] == 20 + 5, "it stays as it is"
    assert table.total("parameters") == 25 + sum(layer.parameters for layer in LAYERS)


def test_choice_that_cannot_make_its_layer_smaller_leaves_it_whole_and_the_others_as_they_are_chosen():
    table = random_table(0)
    assert table.row({"c": Choice(0, 12, 1)}).tolist() == table.whole_row().tolist(), "k f + c >= f c"
    x = table.row({"b": Choice(0, 6, 1), "c": Choice(0, 1, 2)})
    assert table.choices(x) == {"a": None, "b": None, "c": Choice(0, 1, 2)}
    rows = table.canonical(x[None].astype(float))
    assert rows.dtype == np.int64 and rows.tolist() == [x.tolist()]
