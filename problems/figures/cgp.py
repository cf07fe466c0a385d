"""python -m problems.figures.cgp RUN... --out DIR: circuits, accuracy against energy, and memories, from runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from native.cgp import draw
from opt.console.command import execute
from opt.console.errors import UsageError
from opt.console.options import OptionParser
from opt.console.picture import rendered
from opt.console.terminal import tell
from opt.plots.series import PALETTE
from opt.runs.front_files import EXACT_FRONT
from opt.runs.run import Run, load_run
from problems.circuits.energy import DRAM_PJ_64_BITS, READ_PJ_64_BITS, sram_pj_per_byte
from problems.circuits.grid import PUBLISHED
from problems.circuits.saved import saved_genome
from problems.figures.files import write_files

DPI = 150
BLUE, ORANGE, GREEN = PALETTE[:3]
_KB = 1024


def circuit_figure(run: Run) -> Figure:
    """The circuit of the run's solution of least error, and of them of least energy."""
    row = _best(run)
    genome = saved_genome(run, str(row["id"]))
    relative = (run.manifest["problem"].get("parameters") or {}).get("costs") == PUBLISHED
    unit = "in published relative units" if relative else "pJ"
    ax = draw(
        genome, title=f"{_name(run)}: mse {row['mse']:.3g}, {row['circuit_pj']:.3g} {unit}, {row['n_gates']} gates"
    )
    figure = ax.figure
    assert isinstance(figure, Figure)
    return figure


def front_figure(run: Run) -> Figure:
    """Test accuracy against energy of a layer-by-layer front, its references beside it."""
    front = run.front.sort_values("energy_pj")
    figure = Figure(figsize=(7.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    references = run.references
    for name, marker, colour in (("all weights loaded", "s", GREEN), ("one threshold everywhere", "^", ORANGE)):
        rows = references[references["reference"] == name]
        if len(rows):
            ax.plot(rows["energy_pj"], 100 * rows["test_accuracy"], linestyle="none", marker=marker, markersize=8,
                    color=colour, zorder=4, label=name)  # fmt: skip
    exact = " = exact front" if _is_exact(run) else ""
    ax.plot(front["energy_pj"], 100 * front["test_accuracy"], marker="o", markersize=4.5, linewidth=0.9, color=BLUE,
            markeredgecolor="white", markeredgewidth=0.4, zorder=3,
            label=f"{run.manifest['algo']['name']}, {len(front)} solutions{exact}")  # fmt: skip
    ax.set_xscale("log")
    ax.set_xlabel("energy of getting the weights once [pJ]")
    ax.set_ylabel("test accuracy [%]")
    _grid(ax)
    ax.legend(loc="lower right", fontsize=9, frameon=False)
    parameters = run.manifest["problem"].get("parameters") or {}
    network, data = parameters.get("network", "lenet-5-valid"), parameters.get("data", "digits")
    memory = parameters.get("memory", "sram-32k")
    ax.set_title(f"each layer loaded or computed by a circuit: {network}, {data}, {memory}", fontsize=10)
    return figure


def _is_exact(run: Run) -> bool:
    """Whether the run's front is the exact one, objective by objective."""
    references = run.references
    exact = references[references["reference"] == EXACT_FRONT]
    names = [o.name for o in run.objectives]
    if not len(exact):
        return False
    both = (table[names].drop_duplicates().sort_values(names).to_numpy(float) for table in (run.front, exact))
    a, b = both
    return a.shape == b.shape and bool(np.allclose(a, b))


def sensitivity_figure(runs: Sequence[Run]) -> Figure:
    """Energy of reading the replaced weights against the memory's size, and the circuits' energies across it.

    A circuit pays from the memory on whose line lies above it. One colour a run; the circuit is that of
    least error, and of them of least energy.
    """
    figure = Figure(figsize=(7.8, 5.0), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    sizes = np.geomspace(1 * _KB, 16 * _KB * _KB, 60)
    reads = np.array([sram_pj_per_byte(size) for size in sizes])
    dram_x = np.array([sizes[-1] * 2, sizes[-1] * 8])
    for colour, run in zip(PALETTE, runs, strict=False):
        row, task = _best(run), _name(run)
        n = int(row["n_replaced"])
        ax.plot(sizes, n * reads, color=colour, linewidth=1.4, label=f"{task}: reading {n} B")
        ax.plot(np.array(list(READ_PJ_64_BITS)), n * np.array(list(READ_PJ_64_BITS.values())) / 8, linestyle="none",
                marker="o", markersize=4, color=colour)  # fmt: skip
        low, high = (n * value / 8 for value in DRAM_PJ_64_BITS)
        ax.fill_between(dram_x, low, high, color=colour, alpha=0.5, linewidth=0)
        energy = float(row["circuit_pj"])
        whole = [sizes[0], dram_x[1]]
        if energy > 0:
            ax.plot(whole, [energy, energy], color=colour, linestyle="--", linewidth=1.2,
                    label=f"{task}: circuit, {energy:.3g} pJ, mse {row['mse']:.3g}")  # fmt: skip
        else:
            ax.plot([], [], color=colour, linestyle="--", linewidth=1.2,
                    label=f"{task}: wires, 0 pJ, mse {row['mse']:.3g}")  # fmt: skip
    ax.set_xscale("log")
    ax.set_yscale("log")
    ticks = [1, 8, 32, 256, 1024, 16384]
    names = ["1 KB", "8 KB", "32 KB", "256 KB", "1 MB", "16 MB"]
    ax.set_xticks([*(t * _KB for t in ticks), float(np.sqrt(dram_x.prod()))], [*names, "DRAM"])
    ax.minorticks_off()
    ax.set_xlabel("memory that the weights would be read from")
    ax.set_ylabel("energy of all weights once [pJ]")
    _grid(ax)
    ax.legend(fontsize=8, frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
    figure.set_size_inches(10.4, 5.0)
    ax.set_title("reading weights against computing them; dots: Horowitz 2014, band: DRAM 1.3 to 2.6 nJ", fontsize=10)
    return figure


def _best(run: Run) -> pd.Series:
    """The front's row of least error, and of them of least energy."""
    front = run.front
    missing = [c for c in ("circuit_pj", "n_replaced", "mse") if c not in front]
    if missing or not len(front):
        raise UsageError(f"{run.path} is no run of problems/cgp.py with a front; give another run")
    return front.sort_values(["mse", "circuit_pj"]).iloc[0]


def _name(run: Run) -> str:
    parameters = run.manifest["problem"].get("parameters") or {}
    layer = f" {parameters['layer']}" if parameters.get("layer") else ""
    return f"{parameters.get('task', 'circuit')}{layer}"


def _grid(ax) -> None:  # type: ignore[no-untyped-def]
    ax.grid(True, color="0.92", linewidth=0.6)
    ax.set_axisbelow(True)


def write_plots(runs: Sequence[Run], out: Path) -> list[Path]:
    """Write the pictures that the runs give; the files written.

    Of runs of problems/cgp.py the circuit of the first (`circuit.png`) and all against memories (`sensitivity.png`); of
    the first run of problems/cgp_layers.py accuracy against energy (`front.png`).

    Raises:
        UsageError: A run is of another problem, or has no front, or the folder cannot be written.
    """
    layered = [run for run in runs if run.manifest["problem"]["class"] == "CGPLayers"]
    single = [run for run in runs if run not in layered]
    figures: dict[str, Figure] = {}
    if single:
        figures["sensitivity.png"] = sensitivity_figure(single)
        figures["circuit.png"] = circuit_figure(single[0])
    if layered:
        figures["front.png"] = front_figure(layered[0])
    return write_files(out, {name: rendered(figure, dpi=DPI) for name, figure in figures.items()})


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog="python -m problems.figures.cgp",
        description="Draw the first circuit, all circuits against memories, and a layer-by-layer front.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="runs of problems/cgp.py and problems/cgp_layers.py")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder for the pictures")
    options = parser.read(argv)
    for file in write_plots([load_run(path) for path in options.runs], Path(options.out)):
        tell(f"wrote {file}")
    return 0


if __name__ == "__main__":
    execute(main)
