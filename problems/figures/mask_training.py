"""python -m problems.figures.mask_training RUN... --out DIR: masks trained, with curves beside those of criteria."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from opt.console.command import execute
from opt.console.option_groups import option_group
from opt.console.options import OptionParser
from opt.console.picture import rendered
from opt.console.ranges import Epochs, Range, Seed
from opt.console.terminal import tell
from opt.files import csv_table
from opt.plots.axes_layout import legend_below
from opt.plots.series import PALETTE
from opt.runs.run import Run, load_run
from problems.figures.files import write_files
from problems.figures.mask_runs import NamedMask, masks_of
from problems.figures.masks import DPI
from problems.masking.criterion_masks import named_criteria
from problems.masking.mask_training import Kept, train_mask
from problems.masking.masked_sgd import Dropped
from problems.masking.training_plans import ScheduledTraining
from problems.masks import Masks
from problems.networks.storage.checkpoints import save_network
from problems.networks.training.schedule import Schedule

DASHES = ("-", "--", ":", "-.")


@option_group
class TrainingOptions:
    """How masks are trained, and which criteria's beside those of the runs.

    Args:
        criteria: Criteria beside them, or none.
        epochs: Epochs; the step size falls after each third.
        lr: First step size.
        kept: What kept weights begin with.
        dropped: What the other weights are: zero, or frozen at their first values.
        seed: Of the trainings.
    """

    criteria: str = "random,magnitude,magsign"
    epochs: Epochs = 90
    lr: Annotated[float, Range(0.0, 1000.0, is_above=True)] = 0.1
    kept: Kept = "rewind"
    dropped: Dropped = "zero"
    seed: Seed = 0


def trained_curves(
    problem: Masks,
    masks: Sequence[NamedMask],
    out: Path,
    *,
    schedule: Schedule,
    kept: Kept,
    dropped: Dropped,
    seed: int,
) -> pd.DataFrame:
    """Train every mask and save its network; a training that was killed goes on where it was.

    Returns:
        One row for each mask and epoch.
    """
    rows = []
    assert problem.dataset is not None
    state = problem.model.state_dict()
    for named in masks:
        stem = "".join(c if c.isalnum() else "-" for c in f"{named.name}-{kept}-{dropped}")
        parameters, macs = problem.space.cost(named.mask)
        digest = f"{hash_of(named.mask)}-{schedule.epochs}-{seed}"
        network, done = train_mask(
            problem.model, state, problem.space, named.mask, problem.dataset, schedule=schedule, seed=seed, kept=kept,
            dropped=dropped, checkpoint=out / "checkpoints" / f"{stem}-{digest}.safetensors",
        )  # fmt: skip
        about = {"mask": named.name, "kept": kept, "dropped": dropped, "epochs": schedule.epochs, "seed": seed}
        save_network(network, out / f"{stem}.safetensors", metadata={**about, "parameters": parameters, "macs": macs})
        rows += [{**about, "parameters": parameters, "macs": macs, **row} for row in done.curve]
        tell(f"{named.name}: test accuracy {done.curve[-1]['test_accuracy']:.4f}", file=sys.stderr, flush=True)
    return pd.DataFrame(rows)


def hash_of(mask: np.ndarray) -> str:
    """Eight letters that tell masks apart."""
    from hashlib import blake2b

    return blake2b(np.packbits(mask).tobytes(), digest_size=4).hexdigest()


def curves_figure(table: pd.DataFrame) -> Figure:
    """Test accuracy and training loss over the epochs, one line a mask."""
    figure = Figure(figsize=(8.4, 4.4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 2)
    handles = []
    for k, (name, part) in enumerate(table.groupby("mask", sort=False)):
        look: dict[str, Any] = {
            "color": PALETTE[k % len(PALETTE)],
            "linestyle": DASHES[k // len(PALETTE) % len(DASHES)],
        }
        look |= {"marker": "o", "markersize": 3, "label": str(name)}
        handles += axes[0].plot(part["epoch"], 100 * part["test_accuracy"], **look)
        axes[1].plot(part["epoch"], part["train_loss"], **look)
    for ax, label in zip(axes, ("test accuracy [%]", "training loss [nats]"), strict=True):
        ax.set_xlabel("epoch")
        ax.set_ylabel(label)
        ax.grid(True, color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        ax.xaxis.get_major_locator().set_params(integer=True)
    legend_below(figure, handles)
    return figure


def write_training(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write curves.csv and curves.png."""
    picture = rendered(curves_figure(table), dpi=DPI)
    return write_files(out, {"curves.csv": csv_table.encode(table), "curves.png": picture})


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog="python -m problems.figures.mask_training",
        description="Train the best mask of each run, and criteria's masks, and draw their curves.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories of problems/masks.py on one network")
    parser.add_argument(
        "--out", metavar="DIR", required=True, help="folder for networks, checkpoints, curves.csv and .png"
    )
    parser.add_group(TrainingOptions)
    parser.add_argument(
        "--trust", action="store_true", help="call functions that a run's manifest names, wherever they are"
    )
    options = parser.read(argv)
    asked = parser.group_of(options, TrainingOptions)
    criteria = named_criteria(asked.criteria)
    runs: list[Run] = [load_run(path) for path in options.runs]
    problem, masks = masks_of(runs, criteria, trust=options.trust)
    assert isinstance(problem.training, ScheduledTraining), "figures are of named data"
    schedule = Schedule.in_thirds(asked.epochs, lr=asked.lr, batch_size=problem.training.schedule.batch_size)
    out = Path(options.out)
    table = trained_curves(
        problem, masks, out, schedule=schedule, kept=asked.kept, dropped=asked.dropped, seed=asked.seed
    )
    for file in write_training(table, out):
        tell(f"wrote {file}")
    return 0


if __name__ == "__main__":
    execute(main)
