"""Hypothesis tests of a comparison: each pair of groups with Holm's correction, and ranks over several problems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from opt.comparison.indicators import Comparison, MeasuredRun
from opt.comparison.significance import (
    ALPHA,
    PairTest,
    RankTest,
    compare_pair,
    effect_in_words,
    holm,
    least_p,
    rank_groups,
)
from opt.console.wording import some

TESTED = ("hypervolume", "igd_plus", "epsilon")
"""What is tested; of the first more is better, of the others less."""
MORE_IS_BETTER = ("hypervolume",)
FEW_PROBLEMS = 5
"""Ranks over fewer problems than this hardly find differences."""


def values_of(runs: Sequence[MeasuredRun], measure: str) -> np.ndarray:
    """(n,) the measure of each run, NaN where a run has none."""
    return np.array([getattr(m, measure) for m in runs], dtype=float)


@dataclass(frozen=True)
class _TestedPair:
    """Two groups, their values of one measure, and the test where both have values.

    Attributes:
        one: The first group.
        other: The second.
        a: (n,) values of the first group.
        b: (m,) values of the second.
        test: Their test; None where a group has no value.
    """

    one: str
    other: str
    a: np.ndarray
    b: np.ndarray
    test: PairTest | None


def pairwise_tests(c: Comparison) -> tuple[list[dict[str, object]], list[str]]:
    """One row a measure and pair of groups, and warnings; each measure is one family for Holm's correction."""
    rows: list[dict[str, object]] = []
    tied: list[str] = []
    powerless: dict[tuple[str, str], None] = {}
    for measure in TESTED:
        pairs = _tested_pairs(c, measure)
        adjusted = holm(np.array([math.nan if pair.test is None else pair.test.p for pair in pairs]))
        n_family = int(np.isfinite(adjusted).sum())
        for pair, p_holm in zip(pairs, adjusted, strict=True):
            if pair.test is None:
                continue
            if pair.test.n_ties:
                tied.append(f"{measure} of {pair.one} and {pair.other} ({pair.test.n_ties})")
            # the best that the smallest p-value of the family can come to
            if pair.test.least_p * n_family > ALPHA:
                powerless[pair.one, pair.other] = None
            rows.append({"problem": c.problem, "measure": measure} | _row(pair, pair.test, measure, p_holm, n_family))
    return rows, _warnings(tied, [f"{one} and {other}" for one, other in powerless])


def _tested_pairs(c: Comparison, measure: str) -> list[_TestedPair]:
    """Every pair of groups with its test on one measure, before any correction."""
    pairs = list(itertools.combinations(c.groups, 2))
    tested = []
    for one, other in pairs:
        a, b, is_paired = _samples(c, one, other, measure, n_pairs=len(pairs))
        test = compare_pair(a, b, is_paired=is_paired) if len(a) and len(b) else None
        tested.append(_TestedPair(one, other, a, b, test))
    return tested


def _row(pair: _TestedPair, test: PairTest, measure: str, p_holm: float, n_family: int) -> dict[str, object]:
    return {
        "a": pair.one,
        "b": pair.other,
        "n_a": len(pair.a),
        "n_b": len(pair.b),
        "median_a": float(np.median(pair.a)),
        "median_b": float(np.median(pair.b)),
        "test": test.test,
        "statistic": test.statistic,
        "p": test.p,
        "p_holm": float(p_holm),
        "least_p": min(1.0, test.least_p * n_family),
        "n_ties": test.n_ties,
        "a12": test.a12,
        "effect": effect_in_words(test.a12),
        "verdict": _verdict(pair.one, pair.other, test, float(p_holm), measure, n_family),
    }


def _warnings(tied: Sequence[str], powerless: Sequence[str]) -> list[str]:
    warnings = []
    if powerless:
        more = f" and {len(powerless) - 3} more pairs" if len(powerless) > 3 else ""
        pairs = "; ".join(powerless[:3]) + more
        warnings.append(f"cannot tell, too few runs for any p-value of {ALPHA} after Holm's correction: {pairs}")
    if tied:
        warnings.append(f"ties, which weaken the tests: {some(tied, separator='; ')}")
    return warnings


def _samples(c: Comparison, one: str, other: str, measure: str, *, n_pairs: int) -> tuple[np.ndarray, np.ndarray, bool]:
    """The values of two groups; paired by seed where both have the same seeds once each and no gap.

    Pairs that are too few for the paired test to reach ALPHA after correction are not paired when the other
    test can: the sizes decide that, not the values.
    """
    runs = [sorted(c.of(group), key=lambda m: m.run.manifest["seed"]) for group in (one, other)]
    seeds = [[m.run.manifest["seed"] for m in side] for side in runs]
    a, b = (values_of(side, measure) for side in runs)
    is_paired = seeds[0] == seeds[1] and len(set(seeds[0])) == len(seeds[0])
    is_paired = is_paired and bool(np.isfinite(a).all() and np.isfinite(b).all())
    if is_paired:
        paired, apart = (least_p(len(a), len(b), is_paired=side) * n_pairs for side in (True, False))
        return a, b, paired <= ALPHA or apart > ALPHA
    return a[np.isfinite(a)], b[np.isfinite(b)], False


def _verdict(one: str, other: str, test: PairTest, p_holm: float, measure: str, n_family: int) -> str:
    if test.least_p * n_family > ALPHA:
        return "cannot tell: too few runs"
    if p_holm > ALPHA:
        return "no difference shown"
    # the direction is that of the effect; where it has none a significant test says no more than "different"
    if test.a12 == 0.5:
        return "different, neither is better"
    return f"{one if (test.a12 > 0.5) == (measure in MORE_IS_BETTER) else other} is better"


# -- over several problems -------------------------------------------------------------------------------


def ranks_over_problems(comparisons: Sequence[Comparison]) -> tuple[dict[str, RankTest], list[str]]:
    """Friedman and Nemenyi on each measure's medians over the problems that have every group, and warnings."""
    if len(comparisons) < 2:
        return {}, []
    groups = list(dict.fromkeys(group for c in comparisons for group in c.groups))
    whole = [c for c in comparisons if set(c.groups) == set(groups)]
    warnings = []
    if len(whole) < len(comparisons):
        missing = ", ".join(c.problem for c in comparisons if c not in whole)
        warnings.append(f"ranks over problems leave out those without every group: {missing}")
    if len(groups) < 3 or len(whole) < 2:
        warnings.append(
            f"no ranks over problems: Friedman's test needs 3 groups and 2 problems with all of them, "
            f"there are {len(groups)} and {len(whole)}"
        )
        return {}, warnings
    if len(whole) < FEW_PROBLEMS:
        warnings.append(
            f"ranks over only {len(whole)} problems: Friedman's and Nemenyi's tests hardly find differences"
        )
    ranks = {}
    for measure in TESTED:
        table = _medians(whole, groups, measure)
        if not bool(table.isna().to_numpy().any()):
            ranks[measure] = rank_groups(table, is_more_better=measure in MORE_IS_BETTER)
    return ranks, warnings


def _medians(comparisons: Sequence[Comparison], groups: Sequence[str], measure: str) -> pd.DataFrame:
    """Each group's median of a measure, one row a problem and one column a group."""
    medians = {c.problem: {g: float(np.nanmedian(values_of(c.of(g), measure))) for g in groups} for c in comparisons}
    return pd.DataFrame.from_dict(medians, orient="index")[list(groups)]
