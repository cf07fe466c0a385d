"""The picture of convergence: hypervolume and each objective over the evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.archive import hypervolume, nondominated
from opt.errors import UsageError
from opt.plot_layout import few_ticks, legend_below, wrapped
from opt.plot_series import Series, subject
from opt.problem import Objective
from opt.recorded import feasible

LOG_RATIO = 100.0
"""Best values that span more than this ratio, all positive, are drawn on a logarithmic scale."""
SAMPLES = 50
"""Generations at which a hypervolume is computed again."""


def convergence_figure(series: Sequence[Series]) -> Figure:
    """Hypervolume and the best value of each objective over the evaluations, as a figure to be saved.

    One run also shows the mean and the worst of each generation as a band; several show their best
    lines only. Where the objectives changed their meaning during a run, values of different generations
    cannot be compared, and the best of each generation is drawn instead of the best so far.
    """
    objectives = series[0].run.objectives
    histories = [_history(s) for s in series]
    moving = not all(s.run.is_stationary for s in series)
    n_panels = 1 + len(objectives)
    n_columns = min(n_panels, 2 if n_panels == 4 else 3)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(3.6 * n_columns, 2.9 * n_rows + 0.9), layout="constrained")
    axes = [figure.add_subplot(n_rows, n_columns, k + 1) for k in range(n_panels)]
    note, curves = _hypervolumes(series, histories, moving=moving)
    axes[0].set_ylabel(f"hypervolume{note}")
    for s, (n_eval, hypervolumes) in zip(series, curves, strict=True):
        _line(axes[0], s, n_eval, hypervolumes)
    for ax, objective in zip(axes[1:], objectives, strict=True):
        ax.set_ylabel(objective.label)
        lines = [best_values(history, objective, moving=moving) for history in histories]
        for s, history, best in zip(series, histories, lines, strict=True):
            if len(series) == 1:
                _band(ax, s, history, objective)
            _line(ax, s, history["n_eval"], best)
        _scale(ax, lines, histories, objective, with_band=len(series) == 1)
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
) -> tuple[str, list[tuple[np.ndarray, np.ndarray]]]:
    """Evaluations and hypervolume of each run, to one reference point where the runs' own ones differ.

    Without a stated worst value a run takes its reference point from its first generation, so that
    the recorded hypervolumes of two runs are of different scales; they are then computed again.
    """
    recorded = [(h["n_eval"].to_numpy(dtype=float), h["hypervolume"].to_numpy(dtype=float)) for h in histories]
    points = [s.run.manifest.get("ref_point") for s in series]
    if all(point == points[0] for point in points):
        return "", recorded
    if moving or not all(points):
        return " (own reference points)", recorded
    journals = [s.run.journal() for s in series]
    common = np.max(np.array(points, dtype=float), axis=0)
    return " (common reference)", [_recomputed(records, common) for records in journals]


def _recomputed(records: Sequence[dict[str, Any]], ref_point: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Evaluations and hypervolume to `ref_point`, from a journal, at SAMPLES generations or fewer."""
    sampled = set(np.linspace(0, len(records) - 1, min(SAMPLES, len(records)), dtype=int).tolist())
    found = []
    pending = [np.empty((0, len(ref_point)))]
    n_eval = 0
    for k, record in enumerate(records):
        n_eval += int(record["new"])
        pending.append(feasible(record, len(ref_point)))
        if k in sampled:
            F = np.concatenate(pending)
            pending = [F[nondominated(F)] if len(F) else F]
            found.append((n_eval, hypervolume(pending[0], ref_point)))
    table = np.array(found, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _line(ax: Axes, series: Series, x: np.ndarray | pd.Series, y: np.ndarray) -> None:
    # a single generation has no line: its marker shows where it stands
    marker = series.marker if len(x) < 2 else None
    ax.plot(x, y, color=series.colour, linestyle=series.line, linewidth=1.4, marker=marker, zorder=3, gid="best")


def _band(ax: Axes, series: Series, history: pd.DataFrame, objective: Objective) -> None:
    mean, worst = (history[f"{stat}_{objective.name}"].to_numpy(dtype=float) for stat in ("mean", "worst"))
    ax.fill_between(history["n_eval"], mean, worst, color=series.colour, alpha=0.18, linewidth=0, zorder=1)
    ax.plot(history["n_eval"], mean, color=series.colour, linewidth=0.7, alpha=0.7, zorder=2, gid="mean")


def _scale(
    ax: Axes, lines: Sequence[np.ndarray], histories: Sequence[pd.DataFrame], objective: Objective, *, with_band: bool
) -> None:
    """A logarithmic scale where best values span decades; a view that a few wild values do not flatten."""
    best = np.concatenate([line[np.isfinite(line)] for line in lines])
    if not len(best):
        return
    shown = [best]
    if with_band:
        for stat in ("mean", "worst"):
            values = histories[0][f"{stat}_{objective.name}"].to_numpy(dtype=float)
            values = values[np.isfinite(values)]
            share = 95.0 if objective.sign > 0 else 5.0
            shown.append(np.array([np.percentile(values, share)]) if stat == "worst" and len(values) else values)
    everything = np.concatenate(shown)
    low, high = float(everything.min()), float(everything.max())
    if low > 0 and best.max() > LOG_RATIO * best.min():
        ax.set_yscale("log")
        ax.set_ylim(low / 1.3, high * 1.3)
    elif high > low:
        margin = 0.05 * (high - low)
        ax.set_ylim(low - margin, high + margin)


def _handles(series: Sequence[Series], *, moving: bool) -> list[Artist]:
    best = "best of the generation" if moving else "best so far"
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
