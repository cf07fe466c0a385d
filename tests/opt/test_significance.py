from __future__ import annotations

import itertools
import math

import numpy as np
import pandas as pd
import pytest
import scikit_posthocs
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests

from opt.significance import (
    RESAMPLES,
    SEED,
    compare_pair,
    effect_in_words,
    expected_running_time,
    holm,
    least_p,
    rank_groups,
    spread_of,
    vargha_delaney,
)


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    return rng.normal(0, 1, 12), rng.normal(1, 1, 12)


@pytest.mark.parametrize("n", [1, 2, 7, 20])
def test_holm_equals_statsmodels(n):
    p = np.random.default_rng(n).uniform(0, 0.3, n)
    np.testing.assert_allclose(holm(p), multipletests(p, method="holm")[1], rtol=1e-14)


def test_holm_leaves_unknown_p_values_out_of_the_family():
    found = holm(np.array([0.01, math.nan, 0.02]))
    assert np.isnan(found[1])
    np.testing.assert_allclose(found[[0, 2]], holm(np.array([0.01, 0.02])))
    assert len(holm(np.empty(0))) == 0


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
    st.lists(st.integers(0, 5), min_size=1, max_size=8),
)
def test_vargha_delaney_counts_pairs(a, b):
    wins = sum((x > y) + 0.5 * (x == y) for x, y in itertools.product(a, b))
    assert vargha_delaney(np.array(a, float), np.array(b, float)) == pytest.approx(wins / (len(a) * len(b)))


@pytest.mark.parametrize(
    ("a12", "word"), [(0.5, "negligible"), (0.56, "small"), (0.36, "medium"), (0.71, "large"), (0.0, "large")]
)
def test_effect_in_words(a12, word):
    assert effect_in_words(a12) == word


def test_compare_pair_equals_scipy(samples):
    a, b = samples
    paired, apart = (compare_pair(a, b, is_paired=paired) for paired in (True, False))
    assert (paired.statistic, paired.p) == tuple(stats.wilcoxon(a, b))
    assert (apart.statistic, apart.p) == tuple(stats.mannwhitneyu(a, b))
    assert paired.test != apart.test


@pytest.mark.parametrize("is_paired", [True, False])
def test_compare_pair_of_equal_samples_finds_nothing(is_paired):
    same = np.full(6, 2.5)
    found = compare_pair(same, same.copy(), is_paired=is_paired)
    assert (found.p, found.a12, found.n_ties) == (1.0, 0.5, 6)


def test_compare_pair_refuses_what_cannot_be_compared():
    with pytest.raises(ValueError, match="one length"):
        compare_pair(np.ones(3), np.ones(4), is_paired=True)
    with pytest.raises(ValueError, match="must hold a value"):
        compare_pair(np.empty(0), np.ones(4), is_paired=False)


@pytest.mark.parametrize(("n", "m"), [(3, 3), (4, 4), (6, 6), (3, 7)])
def test_least_p_is_what_the_exact_tests_reach(n, m):
    a, b = np.arange(n) + 0.1 * np.arange(n) ** 2, 100.0 + np.arange(m)
    assert compare_pair(a, b, is_paired=False).p == pytest.approx(least_p(n, m, is_paired=False))
    if n == m:
        assert compare_pair(a, b, is_paired=True).p == pytest.approx(least_p(n, n, is_paired=True))


def test_spread_equals_scipy_and_is_repeatable(samples):
    a, _ = samples
    found = spread_of(a)
    rng = np.random.default_rng(SEED)
    interval = stats.bootstrap((a,), np.median, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    assert (found.ci_low, found.ci_high) == tuple(interval)
    assert found.median == np.median(a)
    assert (found.q1, found.q3) == tuple(np.quantile(a, (0.25, 0.75)))
    assert found == spread_of(a)


def test_spread_of_few_values():
    assert math.isnan(spread_of(np.empty(0)).median)
    one = spread_of(np.array([4.0]))
    assert (one.n, one.median) == (1, 4.0) and math.isnan(one.ci_low)
    same = spread_of(np.full(5, 4.0))
    assert (same.ci_low, same.ci_high) == (4.0, 4.0)


def test_ranks_equal_scipy_and_scikit_posthocs():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(6, 4)) + np.arange(4), columns=list("abcd"))
    found = rank_groups(table, is_more_better=True)
    statistic, p = stats.friedmanchisquare(*(-table[c] for c in table))
    assert (found.statistic, found.p) == (statistic, p)
    np.testing.assert_array_equal(found.nemenyi, scikit_posthocs.posthoc_nemenyi_friedman(-table.to_numpy()))
    assert found.ranks.index[0] == "d"
    assert list(found.ranks) == sorted(found.ranks)


def test_ranks_of_equal_groups_find_nothing():
    found = rank_groups(pd.DataFrame(np.ones((4, 3)), columns=list("abc")), is_more_better=False)
    assert (found.p, list(found.ranks)) == (1.0, [2.0, 2.0, 2.0])


def test_ranks_need_three_groups_and_no_gap():
    with pytest.raises(ValueError, match="3 groups"):
        rank_groups(pd.DataFrame(np.ones((4, 2))), is_more_better=True)
    with pytest.raises(ValueError, match="no gaps"):
        rank_groups(pd.DataFrame([[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]]), is_more_better=True)


def test_expected_running_time_counts_what_failed_runs_spent():
    assert expected_running_time([100, 300, 1000], [True, True, False]) == 700
    assert math.isnan(expected_running_time([1000, 1000], [False, False]))
