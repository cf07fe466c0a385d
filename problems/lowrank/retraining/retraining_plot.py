"""The trade-off of accuracy and size of many methods: as a table with intervals, as a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from opt.console.errors import UsageError
from opt.console.picture import rendered
from opt.files import atomic

DPI = 110

LABELS = {"none": "", "batch-norm": " + batch norm", "refit": " + refit"}
_LINES = {"none": ":", "batch-norm": "--", "refit": "-"}
_MARKERS = "os^DvPX*<>hpd"
# the dark half of tab20 first: ten well told apart, then their light ones
_COLOURS = (*range(0, 20, 2), *range(1, 20, 2))


def results_table(frame: pd.DataFrame, limited: str, budgets: Sequence[float]) -> str:
    """Mean accuracy with the 95 % interval of the mean over parents, as a Markdown table.

    Args:
        frame: Columns `parent`, `method`, `compensation`, `limited`, `budget`, `accuracy`.
        limited: Rows with this value of `limited`; the parents' own accuracy comes first.
        budgets: Columns of the table.

    Returns:
        The table; "-" where no network of a method stays within a budget.
    """
    head = ["method", *(f"{100 * b:g} %" for b in budgets)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    parent = frame[frame["method"] == "parent"]
    if len(parent):
        lines.append(f"| parent | {interval(parent['accuracy'])} |" + " |" * (len(budgets) - 1))
    rows = frame[(frame["limited"] == limited) & (frame["method"] != "parent")]
    for (method, compensation), group in rows.groupby(["method", "compensation"], sort=False):
        cells = [interval(group.loc[np.isclose(group["budget"], b), "accuracy"]) for b in budgets]
        lines.append(f"| {method}{LABELS[str(compensation)]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def differences_table(
    frame: pd.DataFrame, pairs: Sequence[tuple[tuple[str, str], tuple[str, str]]], budgets: Sequence[float]
) -> str:
    """Differences of accuracy between methods on the same parents, with 95 % intervals of the mean, as Markdown.

    Args:
        frame: As for `results_table`.
        pairs: (method, compensation) twice: the accuracy of the second is taken from that of the first.
        budgets: Columns of the table.

    Returns:
        A row for each pair and each value of `limited`; pairs of which nothing is known are left out.
    """
    head = ["difference", *(f"{100 * b:g} %" for b in budgets)]
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    keys = ["limited", "method", "compensation", "budget", "parent"]
    known = frame[frame["method"] != "parent"].set_index(keys)["accuracy"].sort_index()
    for limited, (a, b) in itertools.product(dict.fromkeys(frame["limited"]), pairs):
        if not all((limited, *one) in known.index for one in (a, b)):
            continue
        cells = [
            interval(known.loc[(limited, *a, budget)] - known.loc[(limited, *b, budget)], signed=True)
            if (limited, *a, budget) in known.index and (limited, *b, budget) in known.index
            else "-"
            for budget in budgets
        ]
        names = [method + LABELS[compensation] for method, compensation in (a, b)]
        size = {"macs": "multiply-adds"}.get(str(limited), str(limited))
        lines.append(f"| {size}: {names[0]} against {names[1]} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def interval(values: pd.Series, *, signed: bool = False) -> str:
    """Mean and half the width of its 95 % interval by Student's t, ".912 ± .004", or with its sign, "+.012 ± .004"."""
    values = values.dropna()
    n = len(values)
    if not n:
        return "-"
    text = f"{values.mean():+.3f}".replace("0.", ".", 1) if signed else f"{values.mean():.3f}".lstrip("0")
    if n < 2:
        return text
    half = float(stats.t.ppf(0.975, n - 1) * values.std(ddof=1) / np.sqrt(n))
    return f"{text} ± " + f"{half:.3f}".lstrip("0")


def draw_trade_off(frame: pd.DataFrame, path: Path, *, title: str) -> Path:
    """Accuracy over parameters and over multiply-adds kept, a curve a method; bands are 95 % intervals of the mean.

    Args:
        frame: As for `results_table`, and `parameters` and `macs` of each network.
        path: Picture to write.
        title: Of the picture.
    """
    parent = frame[frame["method"] == "parent"]
    base = float(parent["accuracy"].mean()) if len(parent) else None
    whole = {s: float(parent[s].mean()) if len(parent) else float(frame[s].max()) for s in ("parameters", "macs")}
    rows = frame[(frame["method"] != "parent") & (frame["limited"] == "parameters")]
    groups = list(rows.groupby(["method", "compensation"], sort=False))
    colours = plt.get_cmap("tab20")
    figure, axes = plt.subplots(1, 2, figsize=(13, 6.2), sharey=True, layout="constrained")
    names = list(dict.fromkeys(method for (method, _), _ in groups))
    for (method, compensation), group in groups:
        number = names.index(method)
        for axis, size in zip(axes, ("parameters", "macs"), strict=True):
            per_budget = group.groupby("budget")
            x = per_budget[size].mean().to_numpy() / whole[size]
            y = per_budget["accuracy"].mean().to_numpy()
            n = per_budget["accuracy"].count().to_numpy()
            half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * per_budget["accuracy"].std().fillna(0.0) / np.sqrt(n)
            order = np.argsort(x)
            axis.errorbar(
                x[order],
                y[order],
                yerr=half.to_numpy()[order],
                linestyle=_LINES[str(compensation)],
                marker=_MARKERS[number % len(_MARKERS)],
                color="black" if method == "search" else colours(_COLOURS[number % len(_COLOURS)]),
                label=f"{method}{LABELS[str(compensation)]}",
                linewidth=2.2 if method == "search" else 1.4,
                markersize=5,
                capsize=2,
            )
    for axis, size in zip(axes, ("parameters kept", "multiply-adds kept"), strict=True):
        if base is not None:
            axis.axhline(base, color="black", linewidth=0.8, linestyle=":", label="parent")
        axis.set_xscale("log")
        left = axis.get_xlim()[0]
        ticks = [tick for tick in (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0) if tick >= left]
        axis.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axis.minorticks_off()
        axis.set_xlabel(f"{size} [fraction]")
        axis.grid(alpha=0.3)
        axis.set_ylim(0.0, 1.0)
    axes[0].set_ylabel("accuracy on the test images")
    figure.suptitle(title)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right center", fontsize=8)
    _write(figure, path)
    return path


def draw_amounts(frame: pd.DataFrame, path: Path) -> Path:
    """Accuracy over epochs of retraining, a panel for each budget, a line a method; bars are 95 % intervals.

    Args:
        frame: As for `results_table`, and `epochs`.
        path: Picture to write.
    """
    budgets = sorted(frame["budget"].unique(), reverse=True)
    colours = plt.get_cmap("tab10")
    figure, axes = plt.subplots(1, len(budgets), figsize=(3.4 * len(budgets), 4.2), layout="constrained", squeeze=False)
    names = list(dict.fromkeys(frame["method"]))
    for axis, budget in zip(axes[0], budgets, strict=True):
        for number, name in enumerate(names):
            group = frame[(frame["method"] == name) & (frame["budget"] == budget)].groupby("epochs")["accuracy"]
            n = group.count()
            half = stats.t.ppf(0.975, np.maximum(n - 1, 1)) * group.std().fillna(0.0) / np.sqrt(n)
            axis.errorbar(
                n.index.to_numpy() + 0.015 * (number - len(names) / 2),
                group.mean(),
                yerr=half,
                marker=_MARKERS[number],
                color=colours(number),
                label=name,
                linewidth=1.4,
                markersize=5,
                capsize=2,
            )
        axis.set_title(f"{100 * budget:g} % of parameters")
        axis.set_xlabel("epochs of retraining")
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("accuracy on the test images")
    handles, labels = axes[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, fontsize=8)
    _write(figure, path)
    return path


def _write(figure: Figure, path: Path) -> None:
    picture = rendered(figure, dpi=DPI)
    plt.close(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(path, picture)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror}; give another --out DIR") from None
