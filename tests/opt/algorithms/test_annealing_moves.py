"""Moves, their mixture, their steps, and the calibration that looks at what they do."""

from __future__ import annotations

import numpy as np
import pytest
import sample_problems as samples
from hypothesis import example, given, settings
from hypothesis import strategies as st

from opt import Move, Operators, UsageError
from opt.algorithms.annealing.calibration import FLAT, affordable_trials, calibrated_temperature
from opt.algorithms.annealing.moves import MoveMixture, Quality, Steps, chosen_moves, moves_of
from opt.problem.default_operators import default_operators

PLAIN = {"real": samples.Bowl, "integer": samples.Steps, "binary": samples.Switches, "permutation": samples.Tour}


def steps(rule="adaptive", **more):
    return Steps(rule, **({"n_moves": 2, "n_groups": 1, "target": 0.4, "decay": 0.5, "smallest": 0.01} | more))


@pytest.mark.parametrize("kind", PLAIN)
def test_moves_of_plain_variables_are_valid_seeded_and_leave_their_input_alone(kind):
    problem = PLAIN[kind]()
    operators = default_operators(problem)
    X = operators.sampling(40, np.random.default_rng(0))
    X.flags.writeable = False
    assert len(operators.moves) > 1
    for move in operators.moves.values():
        for step in (1e-9, 0.1, 1.0):
            args = [np.full(40, step)] if move.has_step else []
            Y, again = (move.apply(X, *args, np.random.default_rng(5)) for _ in range(2))
            assert Y.shape == X.shape and Y.dtype == X.dtype and (again == Y).all()
            if kind in ("real", "integer"):
                assert (problem.xl <= Y).all() and (problem.xu >= Y).all()
            if kind == "permutation":
                assert (np.sort(Y, axis=1) == np.arange(problem.n_var)).all()
            assert (Y != X).any(axis=1).all()


def test_coordinate_moves_one_variable_by_its_step_at_most_and_reaches_both_sides():
    move = default_operators(samples.Bowl(n_var=4)).moves["coordinate"]
    X = np.full((2000, 4), 0.5)
    for step in (0.01, 0.4):
        D = move.apply(X, np.full(2000, step), np.random.default_rng(0)) - X
        assert ((D != 0).sum(axis=1) == 1).all()
        assert 0.95 * 3 * step < np.abs(D).max() <= 3 * step  # the box is 3 wide
        assert abs(D.sum(axis=1).mean()) < 0.1 * step
    edge = move.apply(np.full((2000, 4), 2.0), np.ones(2000), np.random.default_rng(0))
    assert edge.min() >= -1.0 and edge.max() <= 2.0


def test_swap_of_bits_keeps_the_number_of_ones_and_flips_where_there_is_no_pair():
    operators = default_operators(samples.Switches())
    X = operators.sampling(100, np.random.default_rng(0))
    X[:2] = [[True] * 14, [False] * 14]
    Y = operators.moves["swap"].apply(X, np.random.default_rng(1))
    assert (Y[2:].sum(axis=1) == X[2:].sum(axis=1)).all() and ((Y[2:] != X[2:]).sum(axis=1) == 2).all()
    assert Y[:2].sum(axis=1).tolist() == [13, 1]


def test_moves_of_permutations_do_what_they_are_called():
    moves = default_operators(samples.Tour()).moves
    X = np.tile(np.arange(8), (200, 1))
    assert ((moves["swap"].apply(X, np.random.default_rng(0)) != X).sum(axis=1) == 2).all()
    for row in moves["insertion"].apply(X, np.random.default_rng(0)):
        # without the one that went elsewhere the order is as before
        assert any((np.diff(np.delete(row, i)) > 0).all() for i in range(8))


def test_moves_default_to_the_mutation():
    mutation = default_operators(samples.Bowl()).mutation
    sampling = default_operators(samples.Bowl()).sampling
    assert moves_of(Operators(sampling, mutation=mutation)) == {"mutation": Move(mutation)}
    assert moves_of(Operators(sampling, moves={"a": Move(mutation)})) == {"a": Move(mutation)}
    with pytest.raises(UsageError, match="neither"):
        moves_of(Operators(sampling))


def test_moves_are_chosen_by_name_with_weights():
    moves = {name: Move(lambda X, rng: X) for name in ("swap", "shift", "flip")}
    assert chosen_moves(moves, "all")[1].tolist() == [1 / 3] * 3
    chosen, shares = chosen_moves(moves, "shift:3, swap")
    assert list(chosen) == ["shift", "swap"] and shares.tolist() == [0.75, 0.25]
    assert list(chosen_moves(moves, "shift:0,flip:2")[0]) == ["flip"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("swop", "did you mean 'swap'"),
        ("swap:x", "numbers"),
        ("swap:-1", "0 or more"),
        ("swap:0", "not all 0"),
        ("", "no move ''"),
        (3, "needs names"),
    ],
)
def test_moves_that_cannot_be_chosen_are_a_usage_error(text, message):
    with pytest.raises(UsageError, match=message):
        chosen_moves({"swap": Move(lambda X, rng: X)}, text)


def test_mixture_proposes_by_its_shares_and_counts_what_was_accepted():
    moves = {
        "up": Move(lambda X, rng: X + 1),
        "scale": Move(lambda X, step, rng: X * step[:, None], has_step=True),
    }
    mixture = MoveMixture(moves, np.array([0.8, 0.2]), steps("full"), by_quality=False)
    X = np.full((4000, 2), 7.0)
    X.flags.writeable = False
    Y = mixture.propose(X, np.zeros(4000, dtype=int), 0, np.random.default_rng(0))
    is_up = mixture.which == 0
    assert is_up.mean() == pytest.approx(0.8, abs=0.03)
    assert (Y[is_up] == 8).all() and (Y[~is_up] == 7).all()
    assert np.isnan(mixture.step[is_up]).all() and (mixture.step[~is_up] == 1).all()
    accepted = np.arange(4000) < 1000
    assert mixture.counts(np.ones(4000, dtype=bool), accepted) == [
        is_up.sum(),
        is_up[:1000].sum(),
        (~is_up).sum(),
        (~is_up[:1000]).sum(),
    ]


@pytest.mark.parametrize("scale", [0.002, 0.05, 0.5])
def test_adaptive_step_finds_the_size_of_which_the_wanted_share_is_accepted(scale):
    rng, sizes = np.random.default_rng(0), steps(smallest=1e-5)
    which, group = np.ones(10, dtype=int), np.zeros(10, dtype=int)
    for _ in range(400):
        step = sizes.draw(which, group, 0, rng)
        # accepted with probability exp(-step / scale): 0.4 at step = scale * log(2.5)
        sizes.learn(which, group, rng.random(10) < np.exp(-step / scale))
    assert step[0] == pytest.approx(scale * np.log(2.5), rel=0.5)
    # the other move has learnt nothing
    assert sizes.draw(np.zeros(1, dtype=int), group[:1], 0, rng)[0] == 1.0


def test_adaptive_step_stays_between_its_ends_and_groups_learn_apart():
    sizes = steps(n_groups=2)
    which = np.zeros(1, dtype=int)
    for _ in range(500):
        sizes.learn(which, np.array([0]), np.array([True]))
        sizes.learn(which, np.array([1]), np.array([False]))
    assert sizes.draw(np.array([0, 0]), np.array([0, 1]), 0, None).tolist() == pytest.approx([1.0, 0.01])


def test_decaying_step_is_a_sawtooth_that_never_falls_below_the_smallest():
    sizes = steps("decay", smallest=0.125)
    one = np.zeros(1, dtype=int)
    drawn = [sizes.draw(one, one, level, None)[0] for level in range(9)]
    assert drawn == [1, 0.5, 0.25, 0.125, 1, 0.5, 0.25, 0.125, 1]
    assert steps("decay", decay=1.0).draw(one, one, 10_000, None)[0] == 1.0


def test_varied_step_is_log_uniform():
    drawn = steps("varied").draw(np.zeros(9000, dtype=int), np.zeros(9000, dtype=int), 0, np.random.default_rng(0))
    shares = np.histogram(np.log10(drawn), bins=4, range=(-2, 0))[0] / 9000
    np.testing.assert_allclose(shares, 0.25, atol=0.02)


def test_quality_prefers_what_moves_the_value_and_starves_nothing():
    quality = Quality(np.array([0.5, 0.25, 0.25]))
    assert quality.shares.tolist() == [0.5, 0.25, 0.25]
    for _ in range(100):
        quality.learn(np.array([0, 1, 2]), np.array([0.0, 3.0, 1.0]))
    shares = quality.shares
    assert shares.sum() == pytest.approx(1.0)
    assert shares[0] == pytest.approx(0.025) and shares[1] / shares[2] == pytest.approx(3.0, rel=0.1)


@given(
    st.lists(st.one_of(st.floats(-1e6, 1e6), st.just(0.0)), min_size=1, max_size=40),
    st.floats(0.01, 0.99),
)
@example([5e-324], 0.125)
@example([-1e-300, 1e6], 0.5)
@settings(max_examples=200, deadline=None)
def test_calibrated_temperature_gives_the_wanted_acceptance(differences, acceptance):
    d = np.array(differences)
    temperature = calibrated_temperature(d, acceptance)
    uphill = d[d > FLAT] if (d > FLAT).any() else -d[d < -FLAT]
    if not len(uphill):
        assert temperature is None
    else:
        assert temperature > 0
        assert np.exp(-uphill / temperature).mean() == pytest.approx(acceptance, abs=1e-6)


def test_calibration_is_bounded_by_the_budget():
    assert affordable_trials(40, None) == 40
    assert affordable_trials(40, 10_000) == 40
    assert affordable_trials(40, 400) == 20
    assert affordable_trials(40, 60) == 5
    assert affordable_trials(3, 60) == 3
    assert affordable_trials(0, 10_000) == 0
