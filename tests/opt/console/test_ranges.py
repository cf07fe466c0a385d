"""What numbers a parameter takes, and how a wrong one is told."""

from __future__ import annotations

import math

import pytest

from opt.console.errors import UsageError
from opt.console.ranges import COUNT, SEED, SHARE, Range
from opt.flags.search_options import check_option

OPEN = Range(0.0, 1.0, is_above=True, is_below=True)


@pytest.mark.parametrize(
    ("allowed", "value"),
    [
        (SEED, 0),
        (SEED, 2**63 - 1),
        (COUNT, 1),
        (SHARE, 0.0),
        (SHARE, 1),
        (OPEN, 5e-324),
        (Range(), -1e308),
        (SEED, None),
    ],
)
def test_number_within_is_taken(allowed, value):
    allowed.check("x", value)


@pytest.mark.parametrize(
    ("allowed", "value", "words"),
    [
        (SEED, -1, "x must be at least 0, got -1"),
        (SEED, 2**63, f"x must be at most {2**63 - 1}, got {2**63}"),
        (COUNT, 10**30, "x must be at most 1000000000000, got a number of 31 digits"),
        (COUNT, -(10**400), "x must be at least 1, got a number of 401 digits"),
        (SHARE, 1.5, "x must lie between 0 and 1, got 1.5"),
        (SHARE, math.nan, "x must lie between 0 and 1, got nan"),
        (OPEN, 0.0, "x must be above 0 and below 1, got 0.0"),
        (Range(0.0), math.inf, "x must be finite, got inf"),
        (Range(0.0), -math.inf, "x must be at least 0, got -inf"),
        (Range(0.0), math.nan, "x must be finite, got nan"),
        (Range(), math.inf, "x must be finite, got inf"),
        (Range(0.0, 4.0, is_above=True), 0.0, "x must be above 0, got 0.0"),
        (Range(2, 9), math.inf, "x must be at most 9, got inf"),
    ],
)
def test_number_outside_is_refused_in_a_line(allowed, value, words):
    with pytest.raises(UsageError) as caught:
        allowed.check("x", value)
    assert str(caught.value) == words


def test_options_are_told_by_name():
    with pytest.raises(UsageError, match=r"^--cache-size must be at least 1, got 0"):
        check_option("cache-size", 0)
