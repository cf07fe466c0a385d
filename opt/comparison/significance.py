"""Statistics of samples: intervals, pairwise tests with Holm's correction, effect sizes, ranks over problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05
CONFIDENCE = 0.95
RESAMPLES = 4999
SEED = 1


@dataclass(frozen=True)
class Spread:
    """Median, quartiles and the bootstrap interval of the median; NaN where there is nothing to say."""

    n: int
    median: float
    q1: float
    q3: float
    ci_low: float
    ci_high: float


def spread_of(values: np.ndarray) -> Spread:
    """Where a sample lies.

    Args:
        values: (n,) float64, finite; n may be 0.

    Returns:
        Its spread; the interval needs two values and is one point where all are equal. It is SciPy's
        percentile bootstrap, from one seed whatever else is computed.

    Source: Efron 1979, doi:10.1214/aos/1176344552.
    """
    n = len(values)
    if n == 0:
        return Spread(0, *[math.nan] * 5)
    q1, median, q3 = (float(v) for v in np.quantile(values, (0.25, 0.5, 0.75)))
    if n == 1:
        return Spread(1, median, q1, q3, math.nan, math.nan)
    if float(np.ptp(values)) == 0.0:
        return Spread(n, median, q1, q3, median, median)
    rng = np.random.default_rng(SEED)
    interval = stats.bootstrap(
        (values,), np.median, n_resamples=RESAMPLES, confidence_level=CONFIDENCE, method="percentile", rng=rng
    ).confidence_interval
    return Spread(n, median, q1, q3, float(interval.low), float(interval.high))


def holm(p: np.ndarray) -> np.ndarray:
    """P-values of one family, adjusted by Holm's step-down procedure.

    Args:
        p: (n,) float64; NaN stays NaN and is no member of the family.

    Returns:
        (n,) float64, at most 1.

    Source: Holm 1979, Scand. J. Stat. 6, 65-70.
    """
    adjusted = np.full(len(p), math.nan)
    members = np.flatnonzero(np.isfinite(p))
    order = members[np.argsort(p[members], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return adjusted


def vargha_delaney(a: np.ndarray, b: np.ndarray) -> float:
    """A12: the probability that a value of `a` exceeds one of `b`, ties counted half; 0.5 is no effect.

    Args:
        a: (n,) float64, n >= 1.
        b: (m,) float64, m >= 1.

    Source: Vargha and Delaney 2000, doi:10.3102/10769986025002101, eq. 14.
    """
    ranks = stats.rankdata(np.concatenate([a, b]))
    n, m = len(a), len(b)
    return float((ranks[:n].sum() / n - (n + 1) / 2) / m)


def effect_in_words(a12: float) -> str:
    """negligible, small, medium or large, by Vargha and Delaney's thresholds."""
    size = round(abs(a12 - 0.5), 12)
    return "large" if size >= 0.21 else "medium" if size >= 0.14 else "small" if size >= 0.06 else "negligible"


@dataclass(frozen=True)
class PairTest:
    """Two samples compared.

    Attributes:
        test: Which test it was.
        statistic: Its statistic.
        p: Its two-sided p-value, before any correction.
        a12: Vargha and Delaney's A12 of the first against the second.
        least_p: The smallest p-value that samples of this size can reach.
        n_ties: Values that are equal across the two samples: they weaken the test.
    """

    test: str
    statistic: float
    p: float
    a12: float
    least_p: float
    n_ties: int


def compare_pair(a: np.ndarray, b: np.ndarray, *, is_paired: bool) -> PairTest:
    """Wilcoxon's signed-rank test of paired samples, Mann and Whitney's of others; both two-sided.

    Args:
        a: (n,) float64, finite.
        b: (m,) float64, finite; where paired n = m and the values stand in the same order.
        is_paired: Whether a[i] and b[i] belong together.

    Raises:
        ValueError: Paired samples differ in length, or a sample is empty.
    """
    if not len(a) or not len(b):
        raise ValueError(f"both samples must hold a value, got {len(a)} and {len(b)}")
    if is_paired and len(a) != len(b):
        raise ValueError(f"paired samples must be of one length, got {len(a)} and {len(b)}")
    a12 = vargha_delaney(a, b)
    least = least_p(len(a), len(b), is_paired=is_paired)
    if is_paired:
        n_ties = int((a == b).sum())
        if n_ties == len(a):
            return PairTest("Wilcoxon signed-rank", 0.0, 1.0, a12, least, n_ties)
        result = stats.wilcoxon(a, b)
        return PairTest("Wilcoxon signed-rank", float(result.statistic), float(result.pvalue), a12, least, n_ties)
    n_ties = int(np.isin(a, b).sum())
    if float(np.ptp(np.concatenate([a, b]))) == 0.0:
        return PairTest("Mann-Whitney U", len(a) * len(b) / 2, 1.0, a12, least, n_ties)
    result = stats.mannwhitneyu(a, b, alternative="two-sided")
    return PairTest("Mann-Whitney U", float(result.statistic), float(result.pvalue), a12, least, n_ties)


def least_p(n: int, m: int, *, is_paired: bool) -> float:
    """The smallest two-sided p-value of the exact test of samples of sizes n and m: one outcome of each tail."""
    return min(1.0, 2.0 / (2.0**n if is_paired else math.comb(n + m, n)))


@dataclass(frozen=True)
class RankTest:
    """Groups ranked over problems.

    Attributes:
        ranks: Mean rank of each group, 1 is best, ascending.
        statistic: Friedman's chi-square.
        p: Its p-value.
        nemenyi: P-values of every pair by Nemenyi's test, groups x groups.
    """

    ranks: pd.Series
    statistic: float
    p: float
    nemenyi: pd.DataFrame

    def p_between(self, one: str, other: str) -> float:
        """Nemenyi's p-value of two groups."""
        names = list(self.nemenyi.index)
        return float(self.nemenyi.to_numpy()[names.index(one), names.index(other)])


def rank_groups(table: pd.DataFrame, *, is_more_better: bool) -> RankTest:
    """Friedman's test over problems and Nemenyi's test of every pair.

    Args:
        table: One row a problem, one column a group (three or more), without gaps.
        is_more_better: Whether the highest value ranks first.

    Raises:
        ValueError: There are fewer than three groups or two problems, or a value is missing.

    Source: Demšar 2006, JMLR 7, 1-30; computed by SciPy and scikit-posthocs.
    """
    if table.shape[1] < 3 or table.shape[0] < 2 or bool(table.isna().to_numpy().any()):
        raise ValueError(f"table must have 2 problems and 3 groups or more and no gaps, got shape {table.shape}")
    import scikit_posthocs

    oriented = -table if is_more_better else table
    ranks = oriented.rank(axis=1).mean(axis=0)
    if bool((oriented.nunique(axis=1) == 1).all()):
        ones = pd.DataFrame(1.0, index=table.columns, columns=table.columns)
        return RankTest(ranks, 0.0, 1.0, ones)
    statistic, p = stats.friedmanchisquare(*(oriented[name].to_numpy() for name in oriented.columns))
    nemenyi = pd.DataFrame(scikit_posthocs.posthoc_nemenyi_friedman(oriented.to_numpy()))
    nemenyi.index = nemenyi.columns = table.columns
    return RankTest(ranks.sort_values(kind="stable"), float(statistic), float(p), nemenyi)


def expected_running_time(costs: Sequence[float], has_reached: Sequence[bool]) -> float:
    """ERT: everything spent, by the runs that failed too, for each run that reached the target; NaN if none did.

    Args:
        costs: What each run spent until it reached the target, or in all where it did not.
        has_reached: Whether it did.

    Source: Hansen et al. 2009, inria-00362633, sec. 3; after Price 1997, doi:10.1109/ICEC.1997.592287.
    """
    n_reached = sum(has_reached)
    return math.fsum(costs) / n_reached if n_reached else math.nan
