"""A comparison as tables: one row a run, one a group and measure, one a pair of groups, ranks over problems."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from opt.comparison.hypothesis_tests import TESTED, pairwise_tests, ranks_over_problems, values_of
from opt.comparison.indicators import Comparison, MeasuredRun
from opt.comparison.significance import RankTest, expected_running_time, spread_of

TEST_COLUMNS = [
    *("problem", "measure", "a", "b", "n_a", "n_b", "median_a", "median_b", "test", "statistic", "p", "p_holm"),
    *("least_p", "n_ties", "a12", "effect", "verdict", "warnings"),
]


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
        rows, warnings = pairwise_tests(comparison)
        comparison.warnings += warnings
        tests += [row | {"warnings": len(comparison.warnings)} for row in rows]
    ranks, warnings = ranks_over_problems(comparisons)
    tables = Tables(
        problems=pd.DataFrame([row for c in comparisons for row in _problem(c)]),
        indicators=pd.DataFrame([_run(c, m) for c in comparisons for m in c.runs]),
        summary=pd.DataFrame([row for c in comparisons for row in _summary(c)]),
        tests=pd.DataFrame(tests, columns=TEST_COLUMNS),
        ranks=_ranks(ranks),
        nemenyi=_nemenyi(ranks),
        joint_front=pd.concat([_joint(c) for c in comparisons], ignore_index=True),
    )
    return tables, ranks, warnings


def _ranks(ranks: Mapping[str, RankTest]) -> pd.DataFrame:
    """One row a measure and group: its mean rank, and Friedman's test of all groups."""
    rows = [
        {"measure": measure, "group": group, "mean_rank": rank, "friedman": test.statistic, "p": test.p}
        for measure, test in ranks.items()
        for group, rank in test.ranks.items()
    ]
    return pd.DataFrame(rows, columns=["measure", "group", "mean_rank", "friedman", "p"])


def _nemenyi(ranks: Mapping[str, RankTest]) -> pd.DataFrame:
    """One row a measure and pair of groups: Nemenyi's p-value."""
    rows = [
        {"measure": measure, "a": a, "b": b, "p": test.p_between(str(a), str(b))}
        for measure, test in ranks.items()
        for a, b in itertools.combinations(test.ranks.index, 2)
    ]
    return pd.DataFrame(rows, columns=["measure", "a", "b", "p"])


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
    """One row a group and measure; behind the indicators what it took to reach each target."""
    rows = []
    for group in c.groups:
        runs = c.of(group)
        about = {"problem": c.problem, "group": group}
        for measure in (*TESTED, "n_eval", "seconds"):
            values = values_of(runs, measure)
            rows.append({**about, "measure": measure, **asdict(spread_of(values[np.isfinite(values)]))})
        traced = [m for m in runs if m.trace is not None]
        for share, target in c.targets.items():
            rows += [about | row for row in _target_rows(traced, share, target)]
    for row in rows:
        row |= {"warnings": len(c.warnings)}
    return rows


def _target_rows(runs: Sequence[MeasuredRun], share: float, target: float) -> list[dict[str, object]]:
    """Evaluations and seconds until a target: their spread, how many runs came there, the expected running time.

    Args:
        runs: A group's runs whose trace is known.
        share: The target, in shares of the joint front's hypervolume.
        target: The same as a hypervolume.
    """
    rows = []
    reached = [m.trace.reaches(target) for m in runs if m.trace is not None]
    for k, unit in enumerate(("n_eval", "seconds")):
        hits = [place[k] for place in reached if place is not None]
        # a run that never came there has spent all that it had
        costs = [getattr(m, unit) if place is None else place[k] for m, place in zip(runs, reached, strict=True)]
        row = {"measure": f"{unit}_to_{share:.0%}", **asdict(spread_of(np.array(hits, dtype=float)))}
        ert = expected_running_time(costs, [place is not None for place in reached])
        rows.append(row | {"success_rate": len(hits) / len(runs) if runs else math.nan, "ert": ert})
    return rows


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
