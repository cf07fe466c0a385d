"""Quality indicators of fronts: hypervolume, IGD+ and additive epsilon of every run of a problem on one scale."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import moocore
import numpy as np
import pandas as pd

from opt.comparison.growth import Scale, Trace, trace_of, uncollected
from opt.console.errors import UsageError
from opt.fronts.archive import LARGEST, hypervolume, igd_plus, nondominated
from opt.problem import Objective
from opt.runs.front_files import EXACT_FRONT, spread
from opt.runs.run import Run

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
        values: (n, n_obj) its front, minimised, in the objectives' units.
        F: (n, n_obj) its front, normalised.
        joint_points: (n,) int64 which point of the joint front each solution is, -1 for none. Runs whose solutions
            have exactly equal objectives share a point.
        hypervolume: Of its final front; more is better.
        igd_plus: To the reference front; less is better, as for epsilon.
        epsilon: Additive epsilon to the reference front.
        trace: How its hypervolume grew; None where its objectives changed their meaning.
    """

    run: Run
    group: str
    front: pd.DataFrame
    values: np.ndarray
    F: np.ndarray
    joint_points: np.ndarray
    hypervolume: float
    igd_plus: float
    epsilon: float
    trace: Trace | None

    @property
    def is_joint(self) -> np.ndarray:
        """(n,) which of its solutions are on the joint front."""
        return self.joint_points >= 0

    @property
    def n_joint(self) -> int:
        """How many points of the joint front it has."""
        return len(np.unique(self.joint_points[self.is_joint]))

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
        exact: (m, n_obj) the problem's exact front, minimised, in the objectives' units; None where none is known.
        joint: (k, n_obj) the nondominated set of all runs' fronts, each point once, normalised.
        runs: The runs, by group and seed.
        targets: Hypervolumes to reach, by share of the joint front's.
        warnings: Why the comparison may mislead.
        all_groups: The groups of all problems compared, so that one has one colour in every picture.
    """

    problem: str
    objectives: list[Objective]
    scale: Scale
    reference: np.ndarray
    exact: np.ndarray | None
    joint: np.ndarray
    runs: list[MeasuredRun]
    targets: dict[float, float]
    warnings: list[str] = field(default_factory=list)
    all_groups: list[str] = field(default_factory=list)

    @property
    def is_exact(self) -> bool:
        """Whether the reference is the problem's exact front, not the joint front of the runs."""
        return self.exact is not None

    @property
    def groups(self) -> list[str]:
        """The groups, in the order of their first run."""
        return list(dict.fromkeys(m.group for m in self.runs))

    def of(self, group: str) -> list[MeasuredRun]:
        """The runs of one group."""
        return [m for m in self.runs if m.group == group]

    def joint_owners(self) -> np.ndarray:
        """(k, n_groups) bool: which groups have a solution at each point of the joint front."""
        owners = np.zeros((len(self.joint), len(self.groups)), dtype=bool)
        for column, group in enumerate(self.groups):
            for m in self.of(group):
                owners[m.joint_points[m.is_joint], column] = True
        return owners


def measure_runs(problem: str, runs: Sequence[Run], groups: Sequence[str]) -> Comparison:
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
    values = [_objectives(front, objectives, run.path / "front.csv") for front, run in zip(fronts, runs, strict=True)]
    exact = _exact_front(runs, objectives)
    scale = scale_of(values, objectives=_loosest(runs), exact=exact)
    points, joint_points = joint_front(values)
    joint = scale(points)
    reference = scale(exact) if exact is not None else joint[spread(joint, MOST_REFERENCE)]
    whole = hypervolume(joint, scale.ref_point)
    targets = {share: share * whole for share in TARGETS}
    with uncollected():
        goals = list(targets.values())
        traces = [trace_of(run, scale, goals) if run.is_stationary else None for run in runs]
    measured = []
    for k, (run, group) in enumerate(zip(runs, groups, strict=True)):
        F = scale(values[k])
        measured.append(
            MeasuredRun(
                run=run,
                group=group,
                front=fronts[k],
                values=values[k],
                F=F,
                joint_points=joint_points[k],
                hypervolume=hypervolume(F, scale.ref_point),
                igd_plus=igd_plus(F, reference) if len(F) else math.nan,
                epsilon=epsilon(F, reference) if len(F) else math.nan,
                trace=traces[k],
            )
        )
    return Comparison(problem, objectives, scale, reference, exact, joint, measured, targets)


def joint_front(fronts: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """The nondominated set of several fronts, and which of its points every solution is.

    Equality is that of the numbers themselves: normalised, two solutions may become one by rounding.

    Args:
        fronts: (n, n_obj) objectives of each front, minimised, finite; n may be 0.

    Returns:
        (k, n_obj) the points, each once; and for each front (n,) int64 places among them, -1 for none.
    """
    everything = np.concatenate(fronts) + 0.0  # -0.0 becomes 0.0: equal numbers have equal bytes
    points = everything[nondominated(everything)]
    place = {point.tobytes(): k for k, point in enumerate(points)}
    places = np.array([place.get(row.tobytes(), -1) for row in everything], dtype=np.int64)
    return points, np.split(places, np.cumsum([len(F) for F in fronts])[:-1])


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
    with np.errstate(over="ignore"):
        nadir = np.where(nadir > ideal, nadir, np.minimum(ideal + np.maximum(np.abs(ideal), 1.0), LARGEST))
    return Scale(ideal=ideal, nadir=nadir, ref_point=ref_point)


def epsilon(F: np.ndarray, reference: np.ndarray) -> float:
    """Least shift of F in every objective at once after which it weakly dominates the reference; 0 is perfect.

    Args:
        F: (n, n_obj) float64, minimised, n >= 1.
        reference: (m, n_obj) float64, m >= 1.

    Source: Zitzler et al. 2003, doi:10.1109/TEVC.2003.810758; computed by moocore.
    """
    if F.shape[1] == 1:
        return float(np.clip(float(F.min()) - float(reference.min()), -LARGEST, LARGEST))
    return float(moocore.epsilon_additive(F, ref=reference))


def _front(run: Run) -> pd.DataFrame:
    front = run.front
    for objective in run.objectives:
        if objective.name not in front:
            raise UsageError(f"{run.path / 'front.csv'} has no column {objective.name!r}; resume or repeat the run")
    return front


def _objectives(table: pd.DataFrame, objectives: Sequence[Objective], file: Path) -> np.ndarray:
    """(n, n_obj) minimised objectives of a table's rows that are finite in all."""
    columns = [pd.to_numeric(table[o.name], errors="coerce").to_numpy(dtype=float) * o.sign for o in objectives]
    F = np.column_stack(columns)
    if not np.isfinite(F).all():
        raise UsageError(f"{file} holds an objective that is no number; resume or repeat the run")
    return F


def _exact_front(runs: Sequence[Run], objectives: Sequence[Objective]) -> np.ndarray | None:
    """(m, n_obj) the exact front, minimised, if every run that names one names the same; else None."""
    exact: np.ndarray | None = None
    for run in runs:
        table = run.references
        rows = table[table["reference"] == EXACT_FRONT]
        if not len(rows) or any(o.name not in rows for o in objectives):
            return None
        F = _objectives(rows, objectives, run.path / "references.csv")
        if exact is not None and (F.shape != exact.shape or not _is_close(F, exact)):
            return None
        exact = F
    return exact


def _is_close(F: np.ndarray, other: np.ndarray) -> bool:
    """Whether two fronts are one up to rounding, whatever the objectives' units."""
    with np.errstate(over="ignore"):
        return bool(np.allclose(F, other, rtol=1e-9, atol=1e-9 * np.abs(other).max(axis=0)))


def _loosest(runs: Sequence[Run]) -> list[Objective]:
    """The first run's objectives, each with the loosest worst value that any run states."""
    loosest = []
    for same in zip(*(run.objectives for run in runs), strict=True):
        first = same[0]
        stated = [first.sign * o.worst for o in same if o.worst is not None]
        worst = first.sign * max(stated) if len(stated) == len(same) else None
        loosest.append(Objective(first.name, first.sense, first.unit, first.weight, worst))
    return loosest
