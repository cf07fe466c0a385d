"""The picture of convergence: hypervolume and each objective over the evaluations."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from opt.plot_series import Series, few_ticks, subject
from opt.problem import Objective

LOG_RATIO = 100.0
"""Best values that span more than this ratio, all positive, are drawn on a logarithmic scale."""
FALL = 1e-9
"""A relative fall of hypervolume beyond rounding: the objectives changed their meaning during the run."""


def convergence_figure(series: Sequence[Series]) -> Figure:
    """Hypervolume and the best value of each objective over the evaluations, as a figure to be saved.

    One run also shows the mean and the worst of each generation as a band; several show their best
    lines only. Where hypervolume falls, values of different generations cannot be compared, and the
    best of each generation is drawn instead of the best so far.
    """
    objectives = series[0].run.objectives
    histories = [_history(s) for s in series]
    moving = any(falls(history["hypervolume"].to_numpy(dtype=float)) for history in histories)
    n_panels = 1 + len(objectives)
    n_columns = min(n_panels, 2 if n_panels == 4 else 3)
    n_rows = math.ceil(n_panels / n_columns)
    figure = Figure(figsize=(3.6 * n_columns, 2.9 * n_rows + 0.9), layout="constrained")
    axes = [figure.add_subplot(n_rows, n_columns, k + 1) for k in range(n_panels)]
    axes[0].set_ylabel("hypervolume")
    for s, history in zip(series, histories, strict=True):
        _line(axes[0], s, history["n_eval"], history["hypervolume"])
    for ax, objective in zip(axes[1:], objectives, strict=True):
        ax.set_ylabel(objective.label)
        lines = [best_values(history, objective, moving=moving) for history in histories]
        for s, history, best in zip(series, histories, lines, strict=True):
            if len(series) == 1:
                _band(ax, s, history, objective)
            _line(ax, s, history["n_eval"], best)
        _scale(ax, lines, histories, objective, with_band=len(series) == 1)
    for k, ax in enumerate(axes):
        few_ticks(ax, y=ax.get_yscale() != "log", n=4)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        if k + n_columns >= n_panels:
            ax.set_xlabel("evaluations")
        if not any(len(history) for history in histories):
            ax.text(0.5, 0.5, "no generation recorded", transform=ax.transAxes, ha="center", va="center")
    handles = _handles(series, moving=moving)
    entry = 0.6 + 0.075 * max(len(str(h.get_label())) for h in handles)
    n_lines = math.ceil(len(handles) / max(1, int(3.6 * n_columns / entry)))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=math.ceil(len(handles) / n_lines), fontsize=9, frameon=False
    )
    figure.suptitle(f"Convergence: {subject([s.run for s in series])}", fontsize=11)
    return figure


def falls(hypervolume: np.ndarray) -> bool:
    """Whether a hypervolume, (n,) by generation, ever falls: then the objectives changed their meaning."""
    values = hypervolume[np.isfinite(hypervolume)]
    return bool((np.diff(values) < -FALL * np.abs(values[:-1])).any())


def best_values(history: pd.DataFrame, objective: Objective, *, moving: bool) -> np.ndarray:
    """(n,) best value of the objective so far, or of each generation when `moving`; NaN before the first."""
    values = history[f"best_{objective.name}"].to_numpy(dtype=float)
    if moving:
        return values
    return np.asarray(np.fmin.accumulate(values * objective.sign) * objective.sign)


def _history(series: Series) -> pd.DataFrame:
    return series.run.history.apply(pd.to_numeric, errors="coerce")


def _line(ax: Axes, series: Series, x: pd.Series, y: np.ndarray | pd.Series) -> None:
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
