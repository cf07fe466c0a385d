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

from opt.comparison.significance import (
    RESAMPLES,
    SEED,
    PairTest,
    Spread,
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
    b[2] = a[2]  # a tie in its pair
    b[5] = a[7]  # and one across
    a12 = float((a[:, None] > b).mean() + (a[:, None] == b).mean() / 2)
    paired, apart = (compare_pair(a, b, is_paired=paired) for paired in (True, False))
    assert paired == PairTest("Wilcoxon signed-rank", *stats.wilcoxon(a, b), pytest.approx(a12), 2.0**-11, 1)
    expected = stats.mannwhitneyu(a, b, alternative="two-sided")
    assert apart == PairTest("Mann-Whitney U", *expected, pytest.approx(a12), 2 / math.comb(24, 12), 2)


def test_compare_pair_compares_samples_that_lie_within_one_unit():
    a, b = np.array([0.0, 1.0, 0.0, 0.0]), np.array([1.0, 1.0, 1.0, 0.0])
    assert compare_pair(a, b, is_paired=False).p == stats.mannwhitneyu(a, b).pvalue < 1


@pytest.mark.parametrize("is_paired", [True, False])
def test_compare_pair_of_equal_samples_finds_nothing(is_paired):
    same = np.full(6, 2.5)
    found = compare_pair(same, same.copy(), is_paired=is_paired)
    # U of samples without a difference is half of all pairs; of 0 differences the sum of ranks is 0
    name, statistic = ("Wilcoxon signed-rank", 0.0) if is_paired else ("Mann-Whitney U", 18.0)
    assert found == PairTest(name, statistic, 1.0, 0.5, least_p(6, 6, is_paired=is_paired), 6)


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


def test_least_p_is_no_more_than_one():
    assert least_p(1, 1, is_paired=True) == least_p(1, 1, is_paired=False) == 1.0
    assert least_p(0, 0, is_paired=True) == least_p(0, 5, is_paired=False) == 1.0


def test_spread_equals_scipy_and_is_repeatable():
    # an even number of values, so that a resample's median is one of many and the interval follows the seed
    a = np.random.default_rng(3).normal(0, 1, 40)
    found = spread_of(a)
    rng = np.random.default_rng(SEED)
    interval = stats.bootstrap((a,), np.median, n_resamples=RESAMPLES, method="percentile", rng=rng).confidence_interval
    q1, q3 = np.quantile(a, (0.25, 0.75))
    assert found == Spread(40, np.median(a), q1, q3, *interval) == spread_of(a)


def test_spread_of_few_values():
    np.testing.assert_equal(spread_of(np.empty(0)), Spread(0, *[math.nan] * 5))
    np.testing.assert_equal(spread_of(np.array([4.0])), Spread(1, 4.0, 4.0, 4.0, math.nan, math.nan))
    assert spread_of(np.full(5, 4.0)) == Spread(5, 4.0, 4.0, 4.0, 4.0, 4.0)
    two = spread_of(np.array([4.0, 5.0]))
    assert (two.median, two.ci_low, two.ci_high) == (4.5, 4.0, 5.0)


@pytest.mark.parametrize("is_more_better", [True, False])
@pytest.mark.parametrize("n_problems", [2, 6])
def test_ranks_equal_scipy_and_scikit_posthocs(n_problems, is_more_better):
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(n_problems, 4)) + 2 * np.arange(4), columns=list("abcd"))
    found = rank_groups(table, is_more_better=is_more_better)
    oriented = -table if is_more_better else table
    statistic, p = stats.friedmanchisquare(*(oriented[c] for c in table))
    assert (found.statistic, found.p) == (statistic, p)
    nemenyi = scikit_posthocs.posthoc_nemenyi_friedman(oriented.to_numpy()).to_numpy()
    np.testing.assert_array_equal(found.nemenyi, nemenyi)
    assert found.p_between("b", "d") == nemenyi[1, 3] != found.p_between("a", "d") == nemenyi[0, 3]
    ranks = stats.rankdata(oriented, axis=1).mean(axis=0)
    assert found.ranks.to_dict() == dict(zip("abcd", ranks, strict=True))
    assert list(found.ranks) == sorted(ranks) and found.ranks.index[0] == ("d" if is_more_better else "a")


def test_groups_of_one_rank_stay_in_the_order_of_the_table():
    names = [f"{i:02}" for i in range(30)]
    table = pd.DataFrame([range(30), range(29, -1, -1)], columns=names)
    assert list(rank_groups(table, is_more_better=False).ranks.index) == names


def test_ranks_of_equal_groups_find_nothing():
    found = rank_groups(pd.DataFrame(np.ones((4, 3)), columns=list("abc")), is_more_better=False)
    assert (found.statistic, found.p, list(found.ranks)) == (0.0, 1.0, [2.0, 2.0, 2.0])
    assert found.p_between("a", "c") == 1.0 and found.nemenyi.shape == (3, 3)


@pytest.mark.parametrize(
    "table", [np.ones((4, 2)), np.ones((1, 3)), [[1.0, 2.0, math.nan], [1.0, 2.0, 3.0]]], ids=["groups", "rows", "gap"]
)
def test_ranks_need_three_groups_two_problems_and_no_gap(table):
    with pytest.raises(ValueError, match="2 problems and 3 groups or more and no gaps, got shape"):
        rank_groups(pd.DataFrame(table), is_more_better=True)


def test_expected_running_time_counts_what_failed_runs_spent():
    assert expected_running_time([100, 300, 1000], [True, True, False]) == 700
    assert math.isnan(expected_running_time([1000, 1000], [False, False]))
