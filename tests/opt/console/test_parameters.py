"""Limits as annotations: read from any form of a type, checked before a body runs."""

from __future__ import annotations

import inspect
from typing import Annotated, Literal

import numpy as np
import pytest

from opt.console.errors import UsageError
from opt.console.parameters import REQUIRED, checked, parameters_of
from opt.console.ranges import Count, Epochs, Range, Seed, Share


def trained(
    epochs: Epochs,
    *,
    rate: Annotated[float | None, Range(0.0, 1.0, is_above=True)] = None,
    kind: Literal["a", "b"] = "a",
    seed: Seed = 0,
    n: Count | None = None,
    other: Nowhere = 3,  # noqa: F821 - a name that only a type checker knows
    untyped=4,
):
    """Train.

    Args:
        epochs: Passes over
            the data.
        rate: Step size.
    """
    raise AssertionError("the body ran")


def test_parameters_have_bare_types_limits_defaults_and_help():
    found = parameters_of(trained)
    assert list(found) == ["epochs", "rate", "kind", "seed", "n", "other", "untyped"]
    assert (found["epochs"].kind, found["epochs"].default) == (int, REQUIRED)
    assert found["epochs"].help == "Passes over the data."
    assert found["rate"].kind == float | None and found["rate"].limits == Range(0.0, 1.0, is_above=True)
    assert found["n"].kind == int | None and found["n"].limits == Range(1, 10**12)
    assert found["kind"].limits is None and found["kind"].default == "a"
    assert "epochs" not in parameters_of(trained, is_keyword_only=True)


@pytest.mark.parametrize(
    ("args", "kwargs", "words"),
    [
        ((0,), {}, "epochs must be at least 1, got 0"),
        ((), {"epochs": 10_001}, "epochs must be at most 10000, got 10001"),
        ((3,), {"rate": 0}, "rate must be above 0 and at most 1, got 0"),
        ((3,), {"rate": float("nan")}, "rate must be above 0 and at most 1, got nan"),
        ((3,), {"n": np.int64(0)}, "n must be at least 1, got 0"),
        ((3.0,), {}, "epochs must be a whole number, got 3.0"),
        (("3",), {}, "epochs must be a whole number, got '3'"),
        ((True,), {}, "epochs must be a whole number, got True"),
        ((3,), {"rate": "big"}, "rate must be a number, got 'big'"),
    ],
)
def test_number_outside_is_refused_before_the_body(args, kwargs, words):
    with pytest.raises(UsageError) as caught:
        checked(trained)(*args, **kwargs)
    assert str(caught.value) == words


def test_number_inside_and_none_reach_the_body():
    for kwargs in ({}, {"rate": None}, {"rate": np.float32(0.5), "n": np.int64(2)}):
        with pytest.raises(AssertionError):
            checked(trained)(np.int32(3), **kwargs)
    with pytest.raises(TypeError):
        checked(trained)()


def test_checked_function_is_the_same_to_readers():
    assert inspect.signature(checked(trained)) == inspect.signature(trained)
    assert parameters_of(checked(trained)) == parameters_of(trained)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Range(1, 10_000), "1 to 10,000"),
        (Range(0.0, is_above=True), "above 0"),
        (Range(2), "at least 2"),
        (Range(high=0.5), "at most 0.5"),
        (Range(0.0, 1.0), "0 to 1"),
        (Range(0.0, 1.0, is_above=True), "above 0, at most 1"),
        (Range(0.0, 1.0, is_above=True, is_below=True), "above 0, below 1"),
        (Range(1, 10**12), "1 to 10^12"),
        (Range(0, 2**63 - 1), "0 to 2^63 - 1"),
        (Range(1e-6, 1.0), "1e-06 to 1"),
        (Range(0, 1_234_567_890), "0 to 1,234,567,890"),
        (Range(), ""),
    ],
)
def test_range_in_words(limits, words):
    assert limits.words == words


def test_share_of_any_numeric_type_is_compared_as_a_number():
    @checked
    def kept(share: Share = 0.5):
        return share

    assert kept(np.float32(0.25)) == np.float32(0.25) and kept(1) == 1
