"""python -m opt.plot RUN... [--out FILE]: pictures of fronts, convergence and traces, several runs overlaid."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from opt.console.command import execute
from opt.console.errors import UsageError
from opt.console.options import OptionParser
from opt.console.terminal import tell
from opt.plots.run_pictures import plot_runs, write_plots
from opt.runs.damage import altered_files
from opt.runs.run import Run
from opt.runs.run_listing import find_runs

__all__ = ["main", "plot_runs", "write_plots"]


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(prog="python -m opt.plot", description="Draw fronts, convergence and traces of runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, or a study's; several are overlaid")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="picture of the front, .png, .pdf, .svg or another of matplotlib's formats; convergence and trace go to "
        "FILE-convergence and FILE-trace (default: plots/ in the run, or beside the runs when there are several)",
    )
    options = parser.read(argv)
    runs = _begun(find_runs(options.runs))
    for file in write_plots(runs, out=None if options.out is None else Path(options.out)):
        tell(f"wrote {file}")
    return 0


def _begun(runs: Sequence[Run]) -> list[Run]:
    """The runs of which something is recorded; tells what is drawn of those that have not ended, or are damaged.

    Raises:
        UsageError: Nothing is recorded of any.
    """
    begun = []
    for run in runs:
        for name, reason in altered_files(run).items():
            again = f"python -m opt.solve --resume {run.path}"
            tell(f"warning: {run.path / name} {reason}; {again} mends what it can", file=sys.stderr)
        if run.has_front:
            begun.append(run)
        elif n_gen := run.front_so_far.n_gen:
            tell(f"{run.path} is {run.status}: its front so far, of {n_gen} generations")
            begun.append(run)
        else:
            tell(f"{run.path} is {run.status}: nothing is recorded yet, left out")
    if runs and not begun:
        raise UsageError(f"nothing to plot: {runs[0].path} has no generation yet; wait for it or resume it")
    return begun


if __name__ == "__main__":
    execute(main)
