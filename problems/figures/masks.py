"""python -m problems.figures.masks RUN... --out DIR: similarity and structure of searched masks beside criteria's."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from opt.console.command import execute
from opt.console.options import OptionParser
from opt.console.picture import rendered, without_formulas
from opt.console.terminal import tell
from opt.files import csv_table
from opt.plots.series import PALETTE
from opt.runs.run import Run, load_run
from problems.figures.files import write_files
from problems.figures.mask_runs import NamedMask, masks_of
from problems.masking.criterion_masks import named_criteria
from problems.masking.mask_overlap import (
    cosine_matrix,
    excess_matrix,
    jacobian_singular_values,
    kept_energy,
    masked_weights,
    mean_orthogonality,
    orthogonality,
)
from problems.masking.space import with_masks
from problems.masks import Masks

DPI = 150
CRITERIA = "random,magnitude,magsign,snip,synflow"
JACOBIAN_IMAGES = 100
BLUE, ORANGE = PALETTE[:2]


def similarity_table(masks: Sequence[NamedMask]) -> pd.DataFrame:
    """Cosines of every pair, and their excess over what random masks share: one row a pair."""
    arrays = [m.mask for m in masks]
    cosine, excess = cosine_matrix(arrays), excess_matrix(arrays)
    rows = [
        {"first": a.name, "second": b.name, "cosine": cosine[i, j], "excess": excess[i, j]}
        for i, a in enumerate(masks)
        for j, b in enumerate(masks)
    ]
    return pd.DataFrame(rows)


def similarity_figure(masks: Sequence[NamedMask]) -> Figure:
    """Heat map of the excess over the keep fraction, with the numbers in it."""
    excess = excess_matrix([m.mask for m in masks])
    names, n = [m.name for m in masks], len(masks)
    off = excess[~np.eye(n, dtype=bool)] if n > 1 else np.array([1.0])
    limit = max(float(np.abs(off).max()), 0.02)
    side = 1.8 + 0.62 * n
    figure = Figure(figsize=(side + 1.6, side), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    image = ax.imshow(np.where(np.eye(n, dtype=bool), np.nan, excess), cmap="RdBu_r", vmin=-limit, vmax=limit)
    for i in range(n):
        for j in range(n):
            strong = i != j and abs(excess[i, j]) > 0.6 * limit
            text = "" if i == j else f"{excess[i, j]:.2f}".replace("0.", ".").replace("-.00", ".00")
            ax.text(j, i, text, ha="center", va="center", fontsize=8, color="white" if strong else "0.1")
    ax.set_xticks(range(n), names, rotation=40, ha="right", fontsize=9)
    ax.set_yticks(range(n), names, fontsize=9)
    kept = np.mean([m.mask.mean() for m in masks])
    figure.colorbar(image, ax=ax, shrink=0.8, label=f"cosine less that of random masks ({kept:.2f})")
    return figure


def structure_table(problem: Masks, masks: Sequence[NamedMask]) -> pd.DataFrame:
    """Loss, accuracy, orthogonality, energy and Jacobian of the judged network under each mask: one row a mask."""
    from operators.masks import MaskGenome, as_population
    from opt.search.evaluation import evaluate_batch

    rows = []
    assert problem.dataset is not None
    images = problem.dataset.test.images[:JACOBIAN_IMAGES]
    for named in masks:
        X = as_population([MaskGenome.from_mask(named.mask)])
        F, _, _ = evaluate_batch(problem, X)
        state = with_masks(problem.state, problem.space.tensors(named.mask))
        weights = masked_weights(problem.model, state, problem.space.names)
        values = jacobian_singular_values(problem.decode(X[0]), problem.decode(X[0]).state_dict(), images)
        parameters, macs = problem.space.cost(named.mask)
        parts = zip(problem.space.labels, problem.layout.split(named.mask), strict=True)
        rows.append(
            {
                "mask": named.name,
                "searched": named.is_searched,
                problem.objectives[0].name: float(F[0, 0]),
                "test_accuracy": problem.test(X[0])["accuracy"],
                "parameters": parameters,
                "macs": macs,
                "orthogonality": orthogonality(weights),
                "mean_orthogonality": mean_orthogonality(weights),
                "energy": kept_energy(weights),
                "jacobian_largest": float(values[:, 0].mean()),
                "jacobian_mean": float(values.mean()),
                "jacobian_condition": float(np.median(values[:, 0] / np.maximum(values[:, -2], 1e-12))),
                **{f"kept_{label}": float(part.mean()) for label, part in parts},
            }
        )
    return pd.DataFrame(rows)


def structure_figure(table: pd.DataFrame) -> Figure:
    """The thesis's score against kept energy and against accuracy; the Jacobian's largest value beside it."""
    figure = Figure(figsize=(10.5, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3)
    panels = (
        ("energy", "mean_orthogonality", "sum of squares of kept weights", "mean (W^T W - I)^2"),
        ("mean_orthogonality", "test_accuracy", "mean (W^T W - I)^2", "test accuracy, untrained"),
        ("jacobian_largest", "test_accuracy", "largest singular value of the Jacobian", "test accuracy, untrained"),
    )
    for ax, (x, y, x_label, y_label) in zip(axes, panels, strict=True):
        for searched, colour, marker, name in ((True, BLUE, "o", "searched"), (False, ORANGE, "s", "criterion")):
            part = table[table["searched"] == searched]
            if len(part):
                ax.plot(part[x], part[y], linestyle="none", marker=marker, color=colour, label=name, markersize=6)
        _write_names(ax, table, x, y)
        ax.set_xlabel(x_label)
        ax.set_ylabel(y_label)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.margins(0.18, 0.12)
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def _write_names(ax: Axes, table: pd.DataFrame, x: str, y: str) -> None:
    """Names beside the points, moved until no two overlap."""
    from adjustText import adjust_text

    texts = [
        ax.text(a, b, name, fontsize=7, color="0.2")
        for a, b, name in zip(table[x], table[y], table["mask"], strict=True)
    ]
    figure = ax.get_figure(root=True)
    assert figure is not None
    without_formulas(figure)  # before adjustText measures them
    adjust_text(texts, ax=ax, expand=(1.2, 1.5), arrowprops={"arrowstyle": "-", "color": "0.6", "linewidth": 0.5})


def write_analyses(runs: Sequence[Run], criteria: Sequence[str], out: Path, *, trust: bool = False) -> list[Path]:
    """Write similarity.csv and .png, structure.csv and .png; the files written. `trust` as in `masks_of`.

    Raises:
        UsageError: The runs cannot be compared, or the folder cannot be written.
    """
    problem, masks = masks_of(runs, criteria, trust=trust)
    structure = structure_table(problem, masks)
    files: dict[str, bytes] = {
        "similarity.csv": csv_table.encode(similarity_table(masks)),
        "similarity.png": rendered(similarity_figure(masks), dpi=DPI),
        "structure.csv": csv_table.encode(structure),
        "structure.png": rendered(structure_figure(structure), dpi=DPI),
    }
    return write_files(out, files)


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog="python -m problems.figures.masks",
        description="Compare the best masks of runs with each other and with criteria's: similarity, orthogonality, "
        "Jacobian.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories of problems/masks.py on one network")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for tables and pictures")
    parser.add_argument("--criteria", default=CRITERIA, help=f"criteria beside them, or none (default: {CRITERIA})")
    parser.add_argument(
        "--trust", action="store_true", help="call functions that a run's manifest names, wherever they are"
    )
    options = parser.read(argv)
    criteria = named_criteria(options.criteria)
    runs = [load_run(path) for path in options.runs]
    for file in write_analyses(runs, criteria, Path(options.out), trust=options.trust):
        tell(f"wrote {file}")
    return 0


if __name__ == "__main__":
    execute(main)
