"""The picture of an annealing trace: value and distance on two axes, temperature and acceptance below them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from opt.console.errors import UsageError
from opt.plots.axes_layout import few_ticks, legend_below, wrapped
from opt.plots.number_format import magnitude_of
from opt.plots.series import LINES, PALETTE, LineStyle, subject
from opt.runs.run import Run

VALUE, DISTANCE, TEMPERATURE, ACCEPTANCE = PALETTE[0], PALETTE[1], PALETTE[6], PALETTE[2]
BINS = 60
"""Distance and acceptance are means over so many parts of a run, or over single generations of a short one."""
LOG_RATIO = 30.0
"""What spans more than this ratio, all positive, is drawn on a logarithmic scale."""
MOST_PANELS = 6
"""Columns of an algorithm of the user's that are drawn, the first ones."""
COLUMNS = ("n_eval", "phase", "temperature", "acceptance", "distance", "current", "best")


def trace_figure(run: Run) -> Figure:
    """Draw the trace of one run over its evaluations, as a figure to be saved.

    Above, the current and the best value in one colour and the distance of the proposals from the current
    candidates in another; in the middle, temperature and acceptance; below, where there are several moves,
    the acceptance of each. Values of one objective are in its own sense, those of several are scalarised
    and minimised. A trace of other columns, an own algorithm's, is drawn column by column.

    Raises:
        UsageError: The run has no trace, or a column of it is missing.
    """
    trace = run.trace
    if trace is None:
        raise UsageError(f"{run.path} has no trace.csv: {run.manifest['algo']['name']} writes none")
    if "phase" not in trace:  # what an algorithm of the user's tells, in columns of its own
        return _own_columns(run, trace)
    missing = [name for name in COLUMNS if name not in trace]
    if missing:
        raise UsageError(f"{run.path / 'trace.csv'} has no column {missing[0]!r}; resume or repeat the run")
    moves = [str(c).removeprefix("proposed_") for c in trace if str(c).startswith("proposed_")]
    n_panels = 2 + (len(moves) > 1)
    figure = Figure(figsize=(7.6, 2.0 + 1.9 * n_panels), layout="constrained")
    grid = figure.add_gridspec(n_panels, 1, height_ratios=[1.7, *([1.0] * (n_panels - 1))])
    axes = [figure.add_subplot(grid[0])]
    axes += [figure.add_subplot(grid[k], sharex=axes[0]) for k in range(1, n_panels)]
    handles = _values(axes[0], run, trace) + _temperatures(axes[1], trace)
    if len(moves) > 1:
        handles += _moves(axes[2], trace, moves)
    for x in trace.loc[trace["phase"] == "restart", "n_eval"]:
        for ax in axes:
            ax.axvline(x, color="0.75", linewidth=0.8, linestyle=":", zorder=0, gid="restart")
    for ax in axes:
        few_ticks(ax, x=ax is axes[-1], y=ax.get_yscale() != "log", n=5)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.label_outer(remove_inner_ticks=False)
    axes[-1].set_xlabel("evaluations")
    legend_below(figure, handles)
    figure.suptitle(wrapped(figure, f"Trace: {subject([run])}"), fontsize=10)
    return figure


def _own_columns(run: Run, trace: pd.DataFrame) -> Figure:
    """Every column of numbers over the evaluations, in a panel of its own."""
    names = [str(c) for c in trace if c not in ("n_gen", "n_eval") and trace[c].dtype.kind in "iuf"][:MOST_PANELS]
    n_panels = max(len(names), 1)
    figure = Figure(figsize=(7.6, 1.5 + 1.7 * n_panels), layout="constrained")
    panels = figure.subplots(n_panels, 1, sharex=True, squeeze=False)[:, 0]
    x = trace["n_eval"].to_numpy(dtype=float)
    for k, (ax, name) in enumerate(zip(panels, names, strict=False)):
        values = trace[name].to_numpy(dtype=float)
        magnitude = magnitude_of(values)
        ax.plot(x, magnitude(values), color=PALETTE[k % len(PALETTE)], linewidth=1.2, gid=name)
        ax.set_ylabel(magnitude.label(name))
        few_ticks(ax, x=ax is panels[-1], y=True, n=5)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
    panels[-1].set_xlabel("evaluations")
    figure.suptitle(wrapped(figure, f"Trace: {subject([run])}"), fontsize=10)
    return figure


def _values(ax: Axes, run: Run, trace: pd.DataFrame) -> list[Artist]:
    """Current and best on the left axis, the distance of proposals on the right one."""
    objectives = run.objectives
    sign = objectives[0].sign if len(objectives) == 1 else 1.0
    x = trace["n_eval"].to_numpy(dtype=float)
    current, best = (sign * trace[name].to_numpy(dtype=float) for name in ("current", "best"))
    magnitude = magnitude_of(current, best)
    current, best = magnitude(current), magnitude(best)
    label = objectives[0].label if len(objectives) == 1 else "scalarised value"
    ax.set_ylabel(magnitude.label(label), color=VALUE)
    ax.tick_params(axis="y", labelcolor=VALUE)
    ax.plot(x, current, color=VALUE, linewidth=0.6, alpha=0.55, gid="current")
    ax.plot(x, best, color=VALUE, linewidth=1.6, gid="best")
    shown = np.concatenate([current, best])
    if shown.min() > 0 and shown.max() > LOG_RATIO * shown.min():
        ax.set_yscale("log")
    handles: list[Artist] = [
        Line2D([], [], color=VALUE, linewidth=0.8, alpha=0.6, label="current"),
        Line2D([], [], color=VALUE, linewidth=1.6, label="best so far"),
    ]
    positions, distance = _binned(x, trace["distance"].to_numpy(dtype=float))
    if len(distance):
        magnitude = magnitude_of(distance)
        distance = magnitude(distance)
        right = ax.twinx()
        right.plot(positions, distance, color=DISTANCE, linewidth=1.0, gid="distance")
        right.set_ylabel(magnitude.label("distance of a proposal"), color=DISTANCE)
        right.tick_params(axis="y", labelcolor=DISTANCE)
        _scale(right, distance)
        handles.append(Line2D([], [], color=DISTANCE, linewidth=1.0, label="distance of a proposal"))
    return handles


def _temperatures(ax: Axes, trace: pd.DataFrame) -> list[Artist]:
    """Temperature on the left axis, the share of accepted proposals on the right one."""
    x = trace["n_eval"].to_numpy(dtype=float)
    temperatures = {n: trace[n].to_numpy(dtype=float) for n in ("temperature", "hottest") if n in trace}
    magnitude = magnitude_of(*temperatures.values())
    ax.set_ylabel(magnitude.label("temperature"), color=TEMPERATURE)
    ax.tick_params(axis="y", labelcolor=TEMPERATURE)
    handles: list[Artist] = []
    shown = []
    lines: tuple[tuple[str, str, LineStyle], ...] = (
        ("temperature", "coldest temperature" if "hottest" in trace else "temperature", "-"),
        ("hottest", "hottest temperature", "--"),
    )
    for name, label, style in lines:
        if name in temperatures:
            is_known = np.isfinite(values := magnitude(temperatures[name]))
            ax.plot(x[is_known], values[is_known], color=TEMPERATURE, linestyle=style, linewidth=1.3, gid=name)
            handles.append(Line2D([], [], color=TEMPERATURE, linestyle=style, linewidth=1.3, label=label))
            shown.append(values[is_known])
    _scale(ax, np.concatenate(shown))
    right = ax.twinx()
    right.set_ylabel("acceptance", color=ACCEPTANCE)
    right.tick_params(axis="y", labelcolor=ACCEPTANCE)
    right.set_ylim(-0.03, 1.03)
    lines = (("acceptance", "acceptance", "-"), ("swaps", "exchanges accepted", ":"))
    for name, label, style in lines:
        if name in trace:
            positions, share = _binned(x, trace[name].to_numpy(dtype=float))
            right.plot(positions, share, color=ACCEPTANCE, linestyle=style, linewidth=1.0, gid=name)
            handles.append(Line2D([], [], color=ACCEPTANCE, linestyle=style, linewidth=1.0, label=label))
    return handles


def _moves(ax: Axes, trace: pd.DataFrame, moves: list[str]) -> list[Artist]:
    """The acceptance of each move."""
    ax.set_ylabel("acceptance by move")
    ax.set_ylim(-0.03, 1.03)
    x = trace["n_eval"].to_numpy(dtype=float)
    colours = (PALETTE[3], PALETTE[4], PALETTE[5], *PALETTE[:3])
    handles: list[Artist] = []
    for k, name in enumerate(moves):
        colour, line = colours[k % len(colours)], LINES[k // len(colours) % len(LINES)]
        proposed, accepted = (trace[f"{kind}_{name}"].to_numpy(dtype=float) for kind in ("proposed", "accepted"))
        positions, share = _binned(x, accepted, over=proposed)
        ax.plot(positions, share, color=colour, linestyle=line, linewidth=1.0, gid=f"move {name}")
        handles.append(Line2D([], [], color=colour, linestyle=line, linewidth=1.0, label=f"move {name}"))
    return handles


def _binned(x: np.ndarray, values: np.ndarray, *, over: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Means of the values in BINS parts of the run of equally many generations; unknown values are left out.

    Args:
        x: (n,) evaluations, ascending.
        values: (n,).
        over: (n,) counts; the sum of the values is then divided by the sum of these.

    Returns:
        Mean evaluations and mean value of every part that has one.
    """
    parts = np.array_split(np.arange(len(x)), min(BINS, max(len(x), 1)))
    points = []
    for part in parts:
        weights = np.isfinite(values[part]).astype(float) if over is None else over[part]
        if weights.sum() > 0:
            # each value by the weights first: a sum of values may be no number
            points.append((x[part].mean(), np.nansum(values[part] / weights.sum())))
    table = np.array(points, dtype=float).reshape(-1, 2)
    return table[:, 0], table[:, 1]


def _scale(ax: Any, values: np.ndarray) -> None:
    if len(values) and values.min() > 0 and values.max() > LOG_RATIO * values.min():
        ax.set_yscale("log")
    elif len(values) and values.max() > 0:
        ax.set_ylim(bottom=0.0)
