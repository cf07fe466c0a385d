"""A comparison as tables: one row a run, one a group and measure, one a pair of groups, ranks over problems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from opt.comparison.grouped_runs import Comparison, MeasuredRun
from opt.comparison.significance import (
    ALPHA,
    PairTest,
    RankTest,
    compare_pair,
    effect_in_words,
    expected_running_time,
    holm,
    least_p,
    rank_groups,
    spread_of,
)

TESTED = ("hypervolume", "igd_plus", "epsilon")
"""What is tested; of the first more is better, of the others less."""
MORE_IS_BETTER = ("hypervolume",)


@dataclass(frozen=True)
class Tables:
    """Everything that is said in numbers; each is a CSV file of the same name."""

    problems: pd.DataFrame
    indicators: pd.DataFrame
    summary: pd.DataFrame
    tests: pd.DataFrame
    ranks: pd.DataFrame
    nemenyi: pd.DataFrame
    joint_front: pd.DataFrame


def make_tables(comparisons: Sequence[Comparison]) -> tuple[Tables, dict[str, RankTest], list[str]]:
    """The tables, the rank tests over several problems by measure, and warnings on what was tested."""
    tests = []
    for comparison in comparisons:
        rows, warnings = _tests(comparison)
        comparison.warnings += warnings
        tests += [row | {"warnings": len(comparison.warnings)} for row in rows]
    ranks, warnings = _ranked(comparisons)
    tables = Tables(
        problems=pd.DataFrame([row for c in comparisons for row in _problem(c)]),
        indicators=pd.DataFrame([_run(c, m) for c in comparisons for m in c.runs]),
        summary=pd.DataFrame([row for c in comparisons for row in _summary(c)]),
        tests=pd.DataFrame(tests, columns=TEST_COLUMNS),
        ranks=pd.DataFrame(
            [
                {"measure": measure, "group": group, "mean_rank": rank, "friedman": test.statistic, "p": test.p}
                for measure, test in ranks.items()
                for group, rank in test.ranks.items()
            ],
            columns=["measure", "group", "mean_rank", "friedman", "p"],
        ),
        nemenyi=pd.DataFrame(
            [
                {"measure": measure, "a": a, "b": b, "p": test.p_between(str(a), str(b))}
                for measure, test in ranks.items()
                for a, b in itertools.combinations(test.ranks.index, 2)
            ],
            columns=["measure", "a", "b", "p"],
        ),
        joint_front=pd.concat([_joint(c) for c in comparisons], ignore_index=True),
    )
    return tables, ranks, warnings


TEST_COLUMNS = [
    *("problem", "measure", "a", "b", "n_a", "n_b", "median_a", "median_b", "test", "statistic", "p", "p_holm"),
    *("least_p", "n_ties", "a12", "effect", "verdict", "warnings"),
]


def values_of(runs: Sequence[MeasuredRun], measure: str) -> np.ndarray:
    """(n,) the measure of each run, NaN where a run has none."""
    return np.array([getattr(m, measure) for m in runs], dtype=float)


def _problem(c: Comparison) -> list[dict[str, object]]:
    """One row an objective: what was done to make the runs comparable."""
    rows = []
    for k, objective in enumerate(c.objectives):
        rows.append(
            {
                "problem": c.problem,
                "objective": objective.name,
                "sense": objective.sense,
                "unit": objective.unit,
                "ideal": objective.sign * c.scale.ideal[k],
                "nadir": objective.sign * c.scale.nadir[k],
                "ref_point": objective.sign * c.scale.ref_point_in_units[k],
                "ref_point_normalised": c.scale.ref_point[k],
                "reference_front": "exact" if c.is_exact else "joint",
                "n_reference": len(c.reference),
                "n_joint": len(c.joint),
                "n_runs": len(c.runs),
                "warnings": len(c.warnings),
            }
        )
    return rows


def _run(c: Comparison, m: MeasuredRun) -> dict[str, object]:
    row: dict[str, object] = {
        "problem": c.problem,
        "group": m.group,
        "algo": m.run.manifest["algo"]["name"],
        "seed": m.run.manifest["seed"],
        "run": str(m.run.path),
        "hypervolume": m.hypervolume,
        "igd_plus": m.igd_plus,
        "epsilon": m.epsilon,
        "n_solutions": len(m.F),
        "n_joint": m.n_joint,
        "n_eval": m.n_eval,
        "seconds": m.seconds,
    }
    for share, target in c.targets.items():
        reached = None if m.trace is None else m.trace.reaches(target)
        row[f"n_eval_to_{share:.0%}"], row[f"seconds_to_{share:.0%}"] = reached or (math.nan, math.nan)
    return row | {"command": m.run.manifest.get("command") or ""}


def _summary(c: Comparison) -> list[dict[str, object]]:
    rows = []
    for group in c.groups:
        runs = c.of(group)
        first = {"problem": c.problem, "group": group}
        for measure in (*TESTED, "n_eval", "seconds"):
            values = values_of(runs, measure)
            rows.append({**first, "measure": measure, **asdict(spread_of(values[np.isfinite(values)]))})
        traced = [m for m in runs if m.trace is not None]
        for share, target in c.targets.items():
            reached = [m.trace.reaches(target) for m in traced if m.trace is not None]
            for k, unit in enumerate(("n_eval", "seconds")):
                costs = [
                    getattr(m, unit) if found is None else found[k] for m, found in zip(traced, reached, strict=True)
                ]
                hits = np.array([found[k] for found in reached if found is not None], dtype=float)
                row = {**first, "measure": f"{unit}_to_{share:.0%}", **asdict(spread_of(hits))}
                ert = expected_running_time(costs, [found is not None for found in reached])
                rows.append(row | {"success_rate": len(hits) / len(traced) if traced else math.nan, "ert": ert})
    for row in rows:
        row |= {"warnings": len(c.warnings)}
    return rows


def _tests(c: Comparison) -> tuple[list[dict[str, object]], list[str]]:
    """One row a measure and pair of groups; each measure is one family for Holm's correction."""
    rows: list[dict[str, object]] = []
    warnings = []
    pairs = list(itertools.combinations(c.groups, 2))
    tied, powerless = [], []
    for measure in TESTED:
        found: list[tuple[str, str, np.ndarray, np.ndarray, PairTest | None]] = []
        for one, other in pairs:
            a, b, is_paired = _samples(c, one, other, measure, n_pairs=len(pairs))
            test = compare_pair(a, b, is_paired=is_paired) if len(a) and len(b) else None
            found.append((one, other, a, b, test))
        adjusted = holm(np.array([math.nan if t is None else t.p for *_, t in found]))
        n_family = int(np.isfinite(adjusted).sum())
        for (one, other, a, b, test), p_holm in zip(found, adjusted, strict=True):
            if test is None:
                continue
            if test.n_ties:
                tied.append(f"{measure} of {one} and {other} ({test.n_ties})")
            # the best that the smallest p-value of the family can come to
            if test.least_p * n_family > ALPHA and (one, other) not in powerless:
                powerless.append((one, other))
            medians = float(np.median(a)), float(np.median(b))
            rows.append(
                {
                    "problem": c.problem,
                    "measure": measure,
                    "a": one,
                    "b": other,
                    "n_a": len(a),
                    "n_b": len(b),
                    "median_a": medians[0],
                    "median_b": medians[1],
                    "test": test.test,
                    "statistic": test.statistic,
                    "p": test.p,
                    "p_holm": float(p_holm),
                    "least_p": min(1.0, test.least_p * n_family),
                    "n_ties": test.n_ties,
                    "a12": test.a12,
                    "effect": effect_in_words(test.a12),
                    "verdict": _verdict(one, other, test, float(p_holm), measure, n_family),
                }
            )
    if powerless:
        some = "; ".join(f"{one} and {other}" for one, other in powerless[:3])
        more = f" and {len(powerless) - 3} more pairs" if len(powerless) > 3 else ""
        warnings.append(f"cannot tell, too few runs for any p-value of {ALPHA} after Holm's correction: {some}{more}")
    if tied:
        more = f" and {len(tied) - 3} more" if len(tied) > 3 else ""
        warnings.append(f"ties, which weaken the tests: {'; '.join(tied[:3])}{more}")
    return rows, warnings


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


def _ranked(comparisons: Sequence[Comparison]) -> tuple[dict[str, RankTest], list[str]]:
    """Friedman and Nemenyi on each measure's medians over the problems that have every group."""
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
    if len(whole) < 5:
        warnings.append(
            f"ranks over only {len(whole)} problems: Friedman's and Nemenyi's tests hardly find differences"
        )
    ranks = {}
    for measure in TESTED:
        medians = {c.problem: {g: float(np.nanmedian(values_of(c.of(g), measure))) for g in groups} for c in whole}
        table = pd.DataFrame.from_dict(medians, orient="index")[groups]
        if not bool(table.isna().to_numpy().any()):
            ranks[measure] = rank_groups(table, is_more_better=measure in MORE_IS_BETTER)
    return ranks, warnings


def _joint(c: Comparison) -> pd.DataFrame:
    """The rows of the runs' fronts that the joint front holds: of a point that several runs have, one row each.

    `point` numbers the points, by their objectives; `n_groups` and `n_runs` say how many have it.
    """
    points = np.empty((len(c.joint), len(c.objectives)))
    n_runs = np.zeros(len(c.joint), dtype=np.int64)
    for m in c.runs:
        points[m.joint_points[m.is_joint]] = m.values[m.is_joint]
        n_runs[np.unique(m.joint_points[m.is_joint])] += 1
    number = np.empty(len(c.joint), dtype=np.int64)
    number[np.lexsort(points.T[::-1])] = np.arange(1, len(c.joint) + 1)
    n_groups = c.joint_owners().sum(axis=1)
    tables = []
    for m in c.runs:
        own = m.joint_points[m.is_joint]
        about: dict[str, Any] = {
            "problem": c.problem,
            "point": number[own],
            "group": m.group,
            "run": str(m.run.path),
        }
        about |= {"n_groups": n_groups[own], "n_runs": n_runs[own]}
        rows = m.front[m.is_joint].rename(columns={name: f"front_{name}" for name in about})
        for k, (name, value) in enumerate(about.items()):
            rows.insert(k, name, value)
        if len(rows):
            tables.append(rows)
    return pd.concat(tables, ignore_index=True).sort_values("point", kind="stable", ignore_index=True)
