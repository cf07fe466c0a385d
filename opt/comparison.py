"""Runs of one problem made comparable: one normalisation, one reference point, one reference front, indicators."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import moocore
import numpy as np
import pandas as pd

from opt.archive import hypervolume, igd_plus, nondominated
from opt.errors import UsageError
from opt.front import EXACT_FRONT, spread
from opt.growth import Scale, Trace, trace_of, uncollected
from opt.problem import Objective
from opt.run import Run

"""What references.csv calls a problem's known front."""
MARGIN = 0.1
"""The reference point lies so far beyond the worst value of any run's front, in shares of the range."""
TARGETS = (0.90, 0.95, 0.99)
"""Shares of the joint front's hypervolume that a run is to reach."""
MOST_REFERENCE = 1000
"""Points of a joint front that IGD+ and epsilon are measured to, spread along it where it has more."""


@dataclass(frozen=True)
class MeasuredRun:
    """One run with its indicators.

    Attributes:
        run: The run.
        group: What it is compared as, such as its algorithm's name.
        front: Its front.csv.
        F: (n, n_obj) its front, normalised.
        is_joint: (n,) which of its solutions are on the joint front; of equal ones the first run's.
        hypervolume: Of its final front; more is better.
        igd_plus: To the reference front; less is better, as for epsilon.
        epsilon: Additive epsilon to the reference front.
        trace: How its hypervolume grew; None where its objectives changed their meaning.
    """

    run: Run
    group: str
    front: pd.DataFrame
    F: np.ndarray
    is_joint: np.ndarray
    hypervolume: float
    igd_plus: float
    epsilon: float
    trace: Trace | None

    @property
    def n_eval(self) -> float:
        """Evaluations in all."""
        return float(self.run.manifest.get("n_eval") or math.nan)

    @property
    def seconds(self) -> float:
        """Search time in all."""
        return float(self.run.manifest.get("seconds") or math.nan)


@dataclass
class Comparison:
    """The runs of one problem.

    Attributes:
        problem: Its name.
        objectives: Its objectives.
        scale: The one normalisation.
        reference: (m, n_obj) the reference front, normalised.
        is_exact: Whether that is the problem's exact front, not the joint front of the runs.
        joint: (k, n_obj) the nondominated set of all runs' fronts, normalised.
        runs: The runs, by group and seed.
        targets: Hypervolumes to reach, by share of the joint front's.
        warnings: Why the comparison may mislead.
        all_groups: The groups of all problems compared, so that one has one colour in every picture.
    """

    problem: str
    objectives: list[Objective]
    scale: Scale
    reference: np.ndarray
    is_exact: bool
    joint: np.ndarray
    runs: list[MeasuredRun]
    targets: dict[float, float]
    warnings: list[str] = field(default_factory=list)
    all_groups: list[str] = field(default_factory=list)

    @property
    def groups(self) -> list[str]:
        """The groups, in the order of their first run."""
        return list(dict.fromkeys(m.group for m in self.runs))

    def of(self, group: str) -> list[MeasuredRun]:
        """The runs of one group."""
        return [m for m in self.runs if m.group == group]


def compare_runs(problem: str, runs: Sequence[Run], groups: Sequence[str]) -> Comparison:
    """Measure runs of one problem on one scale.

    Args:
        problem: What to call it.
        runs: Finished runs with the same objectives.
        groups: What each is compared as.

    Raises:
        UsageError: A run's files cannot be read, or no run has a solution.
    """
    objectives = runs[0].objectives
    fronts = [_front(run) for run in runs]
    values = [_objectives(front, objectives, run) for front, run in zip(fronts, runs, strict=True)]
    exact = _exact_front(runs, objectives)
    scale = scale_of(values, objectives=_loosest(runs), exact=exact)
    normalised = [scale(F) for F in values]
    everything = np.concatenate(normalised)
    is_joint = nondominated(everything)
    joint = everything[is_joint]
    reference = scale(exact) if exact is not None else joint[spread(joint, MOST_REFERENCE)]
    whole = hypervolume(joint, scale.ref_point)
    shares = np.split(is_joint, np.cumsum([len(F) for F in normalised])[:-1])
    targets = {share: share * whole for share in TARGETS}
    with uncollected():
        goals = list(targets.values())
        traces = [trace_of(run, scale, goals) if run.is_stationary else None for run in runs]
    measured = [
        MeasuredRun(
            run=run,
            group=group,
            front=front,
            F=F,
            is_joint=share,
            hypervolume=hypervolume(F, scale.ref_point),
            igd_plus=igd_plus(F, reference) if len(F) else math.nan,
            epsilon=epsilon(F, reference) if len(F) else math.nan,
            trace=trace,
        )
        for run, group, front, F, share, trace in zip(runs, groups, fronts, normalised, shares, traces, strict=True)
    ]
    return Comparison(
        problem=problem,
        objectives=objectives,
        scale=scale,
        reference=reference,
        is_exact=exact is not None,
        joint=joint,
        runs=measured,
        targets=targets,
    )


def scale_of(fronts: Sequence[np.ndarray], *, objectives: Sequence[Objective], exact: np.ndarray | None) -> Scale:
    """The normalisation that holds every front.

    Args:
        fronts: (n, n_obj) objectives of each run's front, minimised, finite.
        objectives: The objectives: a stated worst value is the nadir and the reference coordinate.
        exact: (m, n_obj) the exact front, or None.

    Raises:
        UsageError: Every front is empty.
    """
    F = np.concatenate([*fronts] + ([exact] if exact is not None else []))
    if not sum(map(len, fronts)):
        raise UsageError("no run has a feasible solution: there is nothing to compare")
    ideal, nadir = F.min(axis=0), F.max(axis=0)
    ref_point = np.full(len(ideal), 1.0 + MARGIN)
    for k, objective in enumerate(objectives):
        worst = None if objective.worst is None else objective.sign * objective.worst
        if worst is not None and worst > ideal[k]:
            nadir[k], ref_point[k] = worst, 1.0
    nadir = np.where(nadir > ideal, nadir, ideal + np.maximum(np.abs(ideal), 1.0))
    return Scale(ideal=ideal, nadir=nadir, ref_point=ref_point)


def epsilon(F: np.ndarray, reference: np.ndarray) -> float:
    """Least shift of F in every objective at once after which it weakly dominates the reference; 0 is perfect.

    Args:
        F: (n, n_obj) float64, minimised, n >= 1.
        reference: (m, n_obj) float64, m >= 1.

    Source: Zitzler et al. 2003, doi:10.1109/TEVC.2003.810758; computed by moocore.
    """
    if F.shape[1] == 1:
        return float(F.min() - reference.min())
    return float(moocore.epsilon_additive(F, ref=reference))


def _front(run: Run) -> pd.DataFrame:
    front = run.front
    for objective in run.objectives:
        if objective.name not in front:
            raise UsageError(f"{run.path / 'front.csv'} has no column {objective.name!r}; resume or repeat the run")
    return front


def _objectives(table: pd.DataFrame, objectives: Sequence[Objective], run: Run) -> np.ndarray:
    """(n, n_obj) minimised objectives of a table's rows that are finite in all."""
    columns = [pd.to_numeric(table[o.name], errors="coerce").to_numpy(dtype=float) * o.sign for o in objectives]
    F = np.column_stack(columns)
    if not np.isfinite(F).all():
        raise UsageError(f"{run.path / 'front.csv'} holds an objective that is no number; resume or repeat the run")
    return F


def _exact_front(runs: Sequence[Run], objectives: Sequence[Objective]) -> np.ndarray | None:
    """(m, n_obj) the exact front, minimised, if every run that names one names the same; else None."""
    found: np.ndarray | None = None
    for run in runs:
        table = run.references
        rows = table[table["reference"] == EXACT_FRONT]
        if not len(rows) or any(o.name not in rows for o in objectives):
            return None
        F = _objectives(rows, objectives, run)
        if found is not None and (F.shape != found.shape or not np.allclose(F, found, rtol=1e-9)):
            return None
        found = F
    return found


def _loosest(runs: Sequence[Run]) -> list[Objective]:
    """The first run's objectives, each with the loosest worst value that any run states."""
    loosest = []
    for same in zip(*(run.objectives for run in runs), strict=True):
        first = same[0]
        stated = [first.sign * o.worst for o in same if o.worst is not None]
        worst = first.sign * max(stated) if len(stated) == len(same) else None
        loosest.append(Objective(first.name, first.sense, first.unit, first.weight, worst))
    return loosest
