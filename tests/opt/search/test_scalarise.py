"""Weighted sum and achievement scalarisation, against their formulas."""

from __future__ import annotations

import numpy as np
import pytest

from opt import Objective, UsageError, maximise
from opt.search.scalarise import Scalariser

OBJECTIVES = (Objective("error", weight=0.0), Objective("gain", maximise, weight=2.0), Objective("size", weight=0.5))
F = np.array([[1.0, -2.0, 3.0], [0.0, 0.5, -1.0]])


def test_sum_takes_the_problems_weights():
    assert Scalariser.of(OBJECTIVES)(F).tolist() == [[-2.5], [0.5]]


def test_sum_takes_the_users_weights():
    assert Scalariser.of(OBJECTIVES, weights=[1, 0, 1])(F).tolist() == [[4.0], [-1.0]]


def test_asf_is_the_augmented_form_with_the_reference_in_own_senses():
    weights, ref = np.array([1.0, 2.0, 4.0]), np.array([0.5, 3.0, 1.0])
    minimised = ref * [1, -1, 1]
    expected = [max(weights * (f - minimised)) + 1e-4 * sum(weights * (f - minimised)) for f in F]
    found = Scalariser.of(OBJECTIVES, kind="asf", weights=weights, ref=ref)(F)
    np.testing.assert_allclose(found[:, 0], expected, rtol=1e-14)


def test_asf_weighs_all_objectives_alike_unless_told():
    assert Scalariser.of(OBJECTIVES, kind="asf", ref=[0, 0, 0]).weights == (1.0, 1.0, 1.0)


def test_asf_prefers_a_dominating_point():
    asf = Scalariser.of(OBJECTIVES, kind="asf", ref=[0, 0, 0])
    assert asf(np.array([[1.0, 1.0, 0.5]])) < asf(np.array([[1.0, 1.0, 1.0]]))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"weights": [1, 2]}, "--weights needs 3 values (error,gain,size), got 2"),
        ({"weights": [1, 2, 3, 4]}, "got 4"),
        ({"weights": [0, 0, 0]}, "not all 0, got 0,0,0"),
        ({"weights": [1, -1, 1]}, "--weights must be 0 or more and not all 0, got 1,-1,1"),
        ({"weights": [1, float("nan"), 1]}, "--weights needs finite numbers, got 1,nan,1"),
        ({"kind": "asf"}, "--ref"),
        ({"kind": "asf", "ref": [1, 2]}, "--ref needs 3 values"),
        ({"kind": "asf", "ref": [1, 2, float("inf")]}, "finite"),
        ({"ref": [1, 2, 3]}, "--scalarise asf"),
        ({"kind": "product"}, "sum, asf or problem"),
        ({"kind": "problem"}, "overrides scalarise"),
    ],
)
def test_what_does_not_fit_is_refused(given, message):
    with pytest.raises(UsageError) as caught:
        Scalariser.of(OBJECTIVES, **given)
    assert message in str(caught.value)


def test_problem_takes_the_problems_own_value():
    found = Scalariser.of(OBJECTIVES, kind="problem", own=lambda F: F[:, 0] - F[:, 2])(F)
    assert found.tolist() == [[-2.0], [1.0]]
    counts = Scalariser.of(OBJECTIVES, kind="problem", own=lambda F: [3, 4])(F)
    assert counts.tolist() == [[3.0], [4.0]] and counts.dtype == np.float64


@pytest.mark.parametrize("given", [{}, {"kind": "asf", "ref": [0, 0, 0]}])
def test_sum_and_asf_leave_the_problems_own_value_alone(given):
    expected = Scalariser.of(OBJECTIVES, **given)(F)
    assert Scalariser.of(OBJECTIVES, **given, own=lambda F: F[:, 0])(F).tolist() == expected.tolist()


def test_manifest_holds_what_was_asked_for():
    asf = Scalariser.of(OBJECTIVES, kind="asf", weights=[1, 2, 4], ref=[0.5, 3, 1])
    assert asf.as_dict() == {"kind": "asf", "weights": [1.0, 2.0, 4.0], "ref": [0.5, -3.0, 1.0]}
    assert Scalariser.of(OBJECTIVES).as_dict() == {"kind": "sum", "weights": [0.0, 2.0, 0.5], "ref": None}


@pytest.mark.parametrize("given", [{"weights": [1, 1, 1]}, {"ref": [0, 0, 0]}])
def test_problem_takes_no_weights_and_no_reference(given):
    with pytest.raises(UsageError, match="leave"):
        Scalariser.of(OBJECTIVES, kind="problem", own=lambda F: F[:, 0], **given)
