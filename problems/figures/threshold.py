"""python -m problems.figures.threshold RUN... --out DIR: the published figures of the threshold search, from runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from adjustText import adjust_text
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from opt.console.command import execute
from opt.console.errors import UsageError
from opt.console.options import OptionParser
from opt.console.picture import rendered
from opt.console.terminal import tell
from opt.plots.series import GREY, PALETTE
from opt.runs.front_files import EXACT_FRONT, spread
from opt.runs.run import Run
from opt.runs.run_listing import find_runs
from problems.figures.files import write_files
from problems.threshold import UNPRUNED
from problems.thresholds.fitness import published_fitness

DPI = 150
LABELS = 16
NEEDED = ("error", "kept", "test_accuracy")
BLUE, ORANGE, GREEN = PALETTE[:3]


def pareto_figure(run: Run) -> Figure:
    """Test accuracy against weights removed, for the front of one run; thresholds written beside the points.

    Beside it stand the exact front where the run knows it, the unpruned network, and the solution of
    the best published fitness on the search split.
    """
    front, references = _front(run), _references(run)
    figure = Figure(figsize=(7.4, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    exact = references[references["reference"] == EXACT_FRONT].sort_values("kept")
    if len(exact):
        ax.plot(*_point(exact), color=GREY, linewidth=1.0, zorder=2, label=f"exact front ({len(exact)} masks)")
    x, y = _point(front)
    name = run.manifest["algo"]["name"]
    ax.plot(x, y, linestyle="none", marker="o", markersize=4.5, markeredgecolor="white", markeredgewidth=0.4,
            color=BLUE, zorder=3, label=f"{name} ({len(front)} solutions)")  # fmt: skip
    whole = references[references["reference"] == UNPRUNED]
    ax.plot(*_point(whole), linestyle="none", marker="s", markersize=8, color=GREEN, zorder=5, label=UNPRUNED)
    best = front.iloc[[int(_fitness(front, whole).argmax())]]
    ax.plot(*_point(best), linestyle="none", marker="*", markersize=14, markeredgecolor="white", color=ORANGE, zorder=5,
            label="best fitness")  # fmt: skip
    ax.set_xlabel("weights removed [%]")
    ax.set_ylabel("test accuracy [%]")
    ax.grid(True, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)
    ax.margins(0.06, 0.08)
    ax.legend(loc="lower left", fontsize=9, frameon=False)
    ax.set_title(f"{_subject(run)}, seed {run.manifest['seed']}; labels: thresholds", fontsize=10)
    _label(ax, front, x, y, avoid=_point(exact))
    return figure


def _label(
    ax: Axes, front: pd.DataFrame, x: np.ndarray, y: np.ndarray, *, avoid: tuple[np.ndarray, np.ndarray]
) -> None:
    """Write thresholds beside points spread along the front, moved until no two overlap."""
    columns = [c for c in front.columns if str(c).startswith("threshold")]
    if not columns:
        return
    chosen = spread(np.column_stack([x, y]), LABELS)
    names = [" / ".join(f"{front[c].iloc[i]:.3g}" for c in columns) for i in chosen]
    # labels begin above and to the right of the front, where there is room; adjustText parts what still touches
    texts = [
        ax.text(x[i] + 1.2, y[i] + 2.0, name, fontsize=8, color="0.15", zorder=6)
        for i, name in zip(chosen, names, strict=True)
    ]
    line_x, line_y = avoid
    if len(line_x) > 1:
        along = np.linspace(0, len(line_x) - 1, 4 * len(line_x))
        line_x, line_y = (np.interp(along, np.arange(len(line_x)), values) for values in (line_x, line_y))
    adjust_text(
        texts, x=np.concatenate([x, line_x]), y=np.concatenate([y, line_y]), ax=ax, target_x=x[chosen],
        target_y=y[chosen], ensure_inside_axes=True, iter_lim=2000,
        expand=(1.15, 1.4), force_text=(0.3, 0.5), force_static=(0.2, 0.4),
        arrowprops={"arrowstyle": "-", "color": "0.55", "linewidth": 0.6, "shrinkA": 1, "shrinkB": 3},
    )  # fmt: skip


def models_figure(runs: Sequence[Run]) -> Figure:
    """Box plots over runs on different networks: accuracy, compression ratio and fitness of each run's best solution.

    The best is the one of the highest published fitness on the search split; what is drawn of it is
    measured on the test set. The ratio is the weights of the pruned layers over those that are left.
    """
    rows = []
    for run in runs:
        front, references = _front(run), _references(run)
        whole = references[references["reference"] == UNPRUNED]
        chosen = front.iloc[int(_fitness(front, whole).argmax())]
        base = float(whole["test_accuracy"].iloc[0])
        accuracy, kept = float(chosen["test_accuracy"]), float(chosen["kept"])
        rows.append((base, accuracy, 1 / max(kept, 1e-9), float(published_fitness(accuracy, base, kept))))
    table = np.array(rows)
    figure = Figure(figsize=(9.0, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    left, middle, right = figure.subplots(1, 3, width_ratios=(1.6, 1, 1))
    _boxes(left, [100 * table[:, 0], 100 * table[:, 1]], ["unpruned", "pruned"], "test accuracy [%]", (GREEN, BLUE))
    _boxes(middle, [table[:, 2]], ["pruned"], "weights / weights left", (BLUE,))
    _boxes(right, [table[:, 3]], ["pruned"], "fitness (unpruned: 1)", (BLUE,))
    for ax, title in ((left, "accuracy"), (middle, "compression ratio"), (right, "fitness")):
        ax.set_title(title, fontsize=10)
    figure.suptitle(f"{_subject(runs[0])}: best of each of {len(runs)} runs", fontsize=10)
    return figure


def _boxes(ax: Axes, columns: list[np.ndarray], names: list[str], label: str, colours: Sequence[str]) -> None:
    """Boxes with every value beside them; values of one run at one place, joined where there are two boxes."""
    boxes = ax.boxplot(columns, widths=0.42, showfliers=False, patch_artist=True, medianprops={"color": "black"})
    for box, colour in zip(boxes["boxes"], colours, strict=True):
        box.set(facecolor=colour, alpha=0.3)
    offsets = np.linspace(-0.12, 0.12, len(columns[0])) if len(columns[0]) > 1 else np.zeros(1)
    for k, (values, colour) in enumerate(zip(columns, colours, strict=True), start=1):
        ax.plot(k + offsets, values, linestyle="none", marker="o", markersize=4, color=colour, markeredgecolor="white",
                markeredgewidth=0.4, zorder=3)  # fmt: skip
    if len(columns) == 2:
        for offset, a, b in zip(offsets, *columns, strict=True):
            ax.plot([1 + offset, 2 + offset], [a, b], color="0.75", linewidth=0.7, zorder=1)
    ax.set_xticks(range(1, len(names) + 1), names)
    ax.set_ylabel(label)
    ax.grid(True, axis="y", color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)


def write_plots(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write `pareto.png` of the first run and, of several runs, `models.png`; the files written.

    Raises:
        UsageError: A run is of another problem, or has no front, or the folder cannot be written.
    """
    figures = {"pareto.png": pareto_figure(runs[0])}
    if len(runs) > 1:
        figures["models.png"] = models_figure(runs)
    return write_files(out, {name: rendered(figure, dpi=DPI) for name, figure in figures.items()})


def _point(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    return 100 * (1 - table["kept"].to_numpy(float)), 100 * table["test_accuracy"].to_numpy(float)


def _fitness(front: pd.DataFrame, whole: pd.DataFrame) -> np.ndarray:
    """The published fitness on the search split."""
    base = 1 - float(whole["error"].iloc[0])
    return published_fitness(1 - front["error"].to_numpy(float), base, front["kept"].to_numpy(float))


def _front(run: Run) -> pd.DataFrame:
    front = run.front
    missing = [c for c in NEEDED if c not in front]
    if missing:
        raise UsageError(f"{run.path} has no column {missing[0]!r}; give threshold runs that count weights")
    if not len(front):
        raise UsageError(f"the front of {run.path} is empty; give another run")
    return front


def _references(run: Run) -> pd.DataFrame:
    table = run.references
    if "reference" not in table or UNPRUNED not in set(table["reference"]):
        raise UsageError(f"{run.path} has no row of the unpruned network; give a finished threshold run")
    return table


def _subject(run: Run) -> str:
    parameters = run.manifest["problem"].get("parameters") or {}
    return f"threshold search, {run.manifest['algo']['name']}, {parameters.get('data', 'digits')}"


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog="python -m problems.figures.threshold",
        description="Draw the first run's front with its thresholds, and box plots over all runs.",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="run directories of problems/threshold.py, or their study"
    )
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for pareto.png and models.png")
    options = parser.read(argv)
    for file in write_plots(find_runs(options.runs), Path(options.out)):
        tell(f"wrote {file}")
    return 0


if __name__ == "__main__":
    execute(main)
