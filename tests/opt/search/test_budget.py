"""Budgets: how they are written, and what is refused."""

from __future__ import annotations

import pytest

from opt import UsageError
from opt.search.budget import Budget, parse_seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90", 90), ("90s", 90), ("10m", 600), ("1.5h", 5400), ("2d", 172800), ("1h30m", 5400), (" 5m ", 300), (7.5, 7.5)],
)
def test_parse_seconds(text, seconds):
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", " ", "m", "10 m", "-5", "5x", "1e3", "10mm", "inf", "nan", "1:30", "ten", "5m-"])
def test_parse_seconds_refuses_the_rest(text):
    with pytest.raises(UsageError, match="--time must be like"):
        parse_seconds(text)


@pytest.mark.parametrize("name", ["n_gen", "n_eval", "patience"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_below_one_are_refused(name, value):
    with pytest.raises(UsageError, match=f"--{name.replace('_', '-')} must be at least 1, got {value}"):
        Budget.of(**{name: value})


@pytest.mark.parametrize("time", [0, "0s", -1.0, float("nan")])
def test_no_time_is_refused(time):
    with pytest.raises(UsageError, match="--time must be longer than 0"):
        Budget.of(time=time)


def test_negative_tolerance_is_refused():
    with pytest.raises(UsageError, match="--tolerance"):
        Budget.of(tolerance=-1e-9)


def test_default_is_fifty_generations_only_when_nothing_was_given():
    assert Budget.of().n_gen == 50
    assert Budget.of(n_eval=7).n_gen is None
    assert Budget.of(time="1m").n_gen is None
    assert Budget.of(patience=3).n_gen is None


def test_fraction_is_that_of_the_nearest_limit():
    budget = Budget.of(n_gen=10, n_eval=100, time=10)
    assert budget.fraction(n_gen=1, n_eval=50, seconds=2) == 0.5
    assert budget.fraction(n_gen=20, n_eval=50, seconds=2) == 1.0
    assert Budget.of(patience=3).fraction(n_gen=1, n_eval=5, seconds=2) == 0.0


def test_round_trip_through_plain_data():
    budget = Budget.of(n_gen=3, time="2m", patience=4, tolerance=0.5)
    assert Budget(**budget.as_dict()) == budget
