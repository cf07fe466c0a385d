"""python -m opt.plot RUN... [--out FILE]: pictures of fronts, convergence and traces, several runs overlaid."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt.console.command import execute, spelled
from opt.console.options import OptionParser
from opt.console.terminal import tell


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(prog=spelled("plot"), description="Draw fronts, convergence and traces of runs.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run directories, or a study's; several are overlaid")
    parser.add_argument(
        "--out",
        metavar="FILE",
        help="picture of the front, .png, .pdf, .svg or another of matplotlib's formats; convergence and trace go to "
        "FILE-convergence and FILE-trace (default: plots/ in the run, or beside the runs when there are several)",
    )
    options = parser.read(argv)
    from opt.plots.run_pictures import begun_runs, write_plots  # --help needs none of it
    from opt.runs.run_listing import find_runs

    runs = begun_runs(find_runs(options.runs))
    for file in write_plots(runs, out=None if options.out is None else Path(options.out)):
        tell(f"wrote {file}")
    return 0


if __name__ == "__main__":
    execute(main)
