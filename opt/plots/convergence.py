"""Convergence plots: hypervolume and each objective over the evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.console.errors import UsageError
from opt.fronts.archive import hypervolume, nondominated
from opt.plots.axes_layout import few_ticks, legend_below, wrapped
from opt.plots.number_format import Magnitude, magnitude_of
from opt.plots.series import GREY, Series, group_label, grouped, subject
from opt.problem import Objective
from opt.search.recorded import feasible

LOG_RATIO = 100.0
"""Best values that span more than this ratio, all positive, are drawn on a logarithmic scale."""
SAMPLES = 50
"""Generations at which a hypervolume is computed again."""
MOST_PLACES = 400
"""Numbers of evaluations at which a median and a range are computed."""
BAND = 0.15
"""Opacity of a range."""


@dataclass(frozen=True)
class Curve:
    """What one run's line shows in a panel: (n,) evaluations, and (n,) values, NaN where there is none."""

    x: np.ndarray
    y: np.ndarray


def convergence_figure(series: Sequence[Series]) -> Figure:
    """Hypervolume and the best value of each objective over the evaluations, as a figure to be saved.

    One run also shows the mean and the worst of each generation as a band; several show their best
    lines only, and repeats of a setting their median and the range between the best and the worst of them. Where the
    objectives changed their meaning during a run, values of different generations cannot be compared, and the best of
    each generation is drawn instead of the best so far.
    """
    objectives = series[0].run.objectives
    histories = [_history(s) for s in series]
    moving = not all(s.run.is_stationary for s in series)
    n_panels = 1 + len(objectives)
    n_columns = min(n_panels, 2 if n_panels == 4 else 3)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(3.6 * n_columns, 2.9 * n_rows + 0.9), layout="constrained")
    axes = [figure.add_subplot(n_rows, n_columns, k + 1) for k in range(n_panels)]
    note, volumes = _hypervolumes(series, histories, moving=moving)
    _draw_panel(axes[0], series, volumes, f"hypervolume{note}", sign=-1.0)
    for ax, objective in zip(axes[1:], objectives, strict=True):
        curves = [Curve(h["n_eval"].to_numpy(dtype=float), best_values(h, objective, moving=moving)) for h in histories]
        _draw_objective(ax, series, histories, curves, objective)
    for k, ax in enumerate(axes):
        few_ticks(ax, y=ax.get_yscale() != "log", n=5)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        if k + n_columns >= n_panels:
            ax.set_xlabel("evaluations")
        if not any(np.isfinite(np.asarray(line.get_ydata(), dtype=float)).any() for line in ax.get_lines()):
            ax.text(0.5, 0.5, "nothing measured", transform=ax.transAxes, ha="center", va="center")
            ax.set(xticks=[], yticks=[])
    legend_below(figure, _handles(series, moving=moving))
    figure.suptitle(wrapped(figure, f"Convergence: {subject([s.run for s in series])}"), fontsize=10)
    return figure


def best_values(history: pd.DataFrame, objective: Objective, *, moving: bool) -> np.ndarray:
    """(n,) best value of the objective so far, or of each generation when `moving`; NaN before the first."""
    values = history[f"best_{objective.name}"].to_numpy(dtype=float)
    if moving:
        return values
    return np.asarray(np.fmin.accumulate(values * objective.sign) * objective.sign)


def _history(series: Series) -> pd.DataFrame:
    history = series.run.history.apply(pd.to_numeric, errors="coerce")
    stats = [f"{stat}_{o.name}" for o in series.run.objectives for stat in ("best", "mean", "worst")]
    for name in ("n_eval", "hypervolume", *stats):
        if name not in history:
            raise UsageError(f"{series.run.path / 'history.csv'} has no column {name!r}; resume or repeat the run")
    return history


def _hypervolumes(
    series: Sequence[Series], histories: Sequence[pd.DataFrame], *, moving: bool
) -> tuple[str, list[Curve]]:
    """Hypervolume of each run over its evaluations, to one reference point where the runs' own ones differ.

    Without a stated worst value a run takes its reference point from its first generation, so that
    the recorded hypervolumes of two runs are of different scales; they are then computed again.
    """
    recorded = [Curve(*(h[name].to_numpy(dtype=float) for name in ("n_eval", "hypervolume"))) for h in histories]
    points = [s.run.manifest.get("ref_point") for s in series]
    if all(point == points[0] for point in points):
        return "", recorded
    if moving or not all(points):
        return " (own reference points)", recorded
    journals = [s.run.journal() for s in series]
    common = np.max(np.array(points, dtype=float), axis=0)
    return " (common reference)", [_recomputed(records, common) for records in journals]


def _recomputed(records: Sequence[dict[str, Any]], ref_point: np.ndarray) -> Curve:
    """Hypervolume over evaluations to `ref_point`, from a journal, at SAMPLES generations or fewer."""
    sampled = set(np.linspace(0, len(records) - 1, min(SAMPLES, len(records)), dtype=int).tolist())
    points = []
    pending = [np.empty((0, len(ref_point)))]
    n_eval = 0
    for k, record in enumerate(records):
        n_eval += int(record["new"])
        pending.append(feasible(record, len(ref_point)))
        if k in sampled:
            F = np.concatenate(pending)
            pending = [F[nondominated(F)] if len(F) else F]
            points.append((n_eval, hypervolume(pending[0], ref_point)))
    table = np.array(points, dtype=float).reshape(-1, 2)
    return Curve(table[:, 0], table[:, 1])


def _draw_panel(
    ax: Axes,
    series: Sequence[Series],
    curves: Sequence[Curve],
    label: str,
    *,
    sign: float,
    beside: Sequence[np.ndarray] = (),
) -> Magnitude:
    """Draw a line a run, or a median and a range a group; what the numbers are counted in.

    Args:
        ax: Where to draw.
        series: The runs.
        curves: Their values.
        label: What they are.
        sign: +1 where less is better, -1 where more is.
        beside: Values that will be drawn beside them.
    """
    magnitude = magnitude_of(*(curve.y for curve in curves), *beside)
    ax.set_ylabel(magnitude.label(label))
    counted = [Curve(curve.x, magnitude(curve.y)) for curve in curves]
    groups = grouped(series)
    for group in groups.values():
        own = [curve for curve, s in zip(counted, series, strict=True) if s.group == group[0].group]
        x, best, median, worst = spread_over(own, sign=sign)
        ax.fill_between(x, best, worst, step="post", color=group[0].colour, alpha=BAND, linewidth=0, gid="range")
        _line(ax, group[0], Curve(x, median), drawstyle="steps-post")
    for s, curve in zip([] if groups else series, [] if groups else counted, strict=True):
        _line(ax, s, curve)
    return magnitude


def spread_over(curves: Sequence[Curve], *, sign: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The best, the median and the worst of several runs over the evaluations.

    A value holds until the next one, and the last one after the run has ended. A run that has none yet counts as
    worse than any: where it would be the answer, the answer is NaN.

    Args:
        curves: Of each run; one may be empty.
        sign: +1 where less is better, -1 where more is.

    Returns:
        (n,) evaluations, at most MOST_PLACES of them, and (n,) best, median and worst.
    """
    x = np.unique(np.concatenate([curve.x for curve in curves]))
    if len(x) > MOST_PLACES:
        x = x[np.unique(np.linspace(0, len(x) - 1, MOST_PLACES, dtype=int))]
    values = np.full((len(curves), len(x)), np.inf)
    for row, curve in zip(values, curves, strict=True):
        is_known = np.isfinite(curve.y)
        place = np.searchsorted(curve.x[is_known], x, side="right") - 1
        row[place >= 0] = sign * curve.y[is_known][place[place >= 0]]
    values = np.stack([values.min(axis=0), np.median(values, axis=0), values.max(axis=0)])
    best, median, worst = sign * np.where(np.isfinite(values), values, np.nan)
    return x, best, median, worst


def _draw_objective(
    ax: Axes,
    series: Sequence[Series],
    histories: Sequence[pd.DataFrame],
    curves: Sequence[Curve],
    objective: Objective,
) -> None:
    """Draw the best values of an objective; of a single run, the mean and the worst of each generation too."""
    beside = [
        histories[0][f"{stat}_{objective.name}"].to_numpy(dtype=float) for stat in ("mean", "worst") if len(series) == 1
    ]
    magnitude = _draw_panel(ax, series, curves, objective.label, sign=objective.sign, beside=beside)
    lines = [magnitude(curve.y) for curve in curves]
    shown = list(lines)
    if beside:
        mean, worst = (np.where(np.isfinite(values), magnitude(values), np.nan) for values in beside)
        _band(ax, series[0], histories[0], mean, worst)
        worst = worst[np.isfinite(worst)]
        share = 95.0 if objective.sign > 0 else 5.0
        # a few wild values may leave the view
        shown += [mean, np.percentile(worst, [share]) if len(worst) else worst]
    _scale(ax, lines, shown)


def _line(ax: Axes, series: Series, curve: Curve, **style: Any) -> None:
    # a single generation has no line: its marker shows where it stands
    marker = series.marker if len(curve.x) < 2 else None
    look: dict[str, Any] = {"color": series.colour, "linestyle": series.line, "linewidth": 1.4, "marker": marker}
    ax.plot(curve.x, curve.y, zorder=3, gid="best", **(look | style))


def _band(ax: Axes, series: Series, history: pd.DataFrame, mean: np.ndarray, worst: np.ndarray) -> None:
    ax.fill_between(history["n_eval"], mean, worst, color=series.colour, alpha=0.18, linewidth=0, zorder=1)
    ax.plot(history["n_eval"], mean, color=series.colour, linewidth=0.7, alpha=0.7, zorder=2, gid="mean")


def _scale(ax: Axes, lines: Sequence[np.ndarray], shown: Sequence[np.ndarray]) -> None:
    """A logarithmic scale where best values span decades; a view that a few wild values do not flatten."""
    best, everything = (np.concatenate([some[np.isfinite(some)] for some in values]) for values in (lines, shown))
    if not len(best):
        return
    low, high = float(everything.min()), float(everything.max())
    if low > 0 and best.max() > LOG_RATIO * best.min():
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
    elif high > low:
        margin = 0.05 * (high - low)
        ax.set_ylim(low - margin, high + margin)


def _handles(series: Sequence[Series], *, moving: bool) -> list[Artist]:
    best = "best of the generation" if moving else "best so far"
    if groups := grouped(series):
        handles: list[Artist] = [
            Line2D([], [], color=runs[0].colour, linestyle=runs[0].line, linewidth=1.4, label=group_label(group, runs))
            for group, runs in groups.items()
        ]
        handles.append(Line2D([], [], color=GREY, linewidth=1.4, label="median of the runs"))
        handles.append(Patch(color=GREY, alpha=BAND, linewidth=0, label="range: best to worst run"))
        return handles
    if len(series) > 1:
        return [
            Line2D(
                [],
                [],
                color=s.colour,
                linestyle=s.line,
                linewidth=1.4,
                label=s.label,
            )
            for s in series
        ]
    s = series[0]
    return [
        Line2D([], [], color=s.colour, linestyle=s.line, linewidth=1.4, label=best),
        Line2D([], [], color=s.colour, linewidth=0.7, alpha=0.7, label="mean of the generation"),
        Patch(color=s.colour, alpha=0.18, linewidth=0, label="mean to worst"),
    ]
