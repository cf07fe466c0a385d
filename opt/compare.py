"""python -m opt.compare STUDY_OR_RUN... [--by FIELD] [--out DIR]: which algorithm is better, and how sure that is."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opt.console.command import execute, spelled
from opt.console.options import OptionParser

if TYPE_CHECKING:
    from opt.comparison.verdict import Verdict
    from opt.runs.run import Run

FOLDER = "comparison"


def compare(runs: Sequence[Run], *, by: str = "algo", split: str | None = None) -> Verdict:
    """Compare runs, problem by problem; see `opt.comparison.compare_runs.compare`."""
    from opt.comparison.compare_runs import compare as compared

    return compared(runs, by=by, split=split)


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(prog=spelled("compare"), description="Compare the algorithms of finished runs.")
    parser.add_argument("runs", nargs="+", metavar="STUDY_OR_RUN", help="run directories, or folders that hold runs")
    parser.add_argument(
        "--by",
        default="algo",
        metavar="FIELD",
        help="what is compared: a field of manifest.json such as problem.parameters.crossover (default: algo)",
    )
    parser.add_argument(
        "--split",
        metavar="FIELD",
        help="a field whose values are problems of their own, such as problem.parameters.data",
    )
    parser.add_argument(
        "--out", metavar="DIR", help=f"where tables, pictures and page go (default: {FOLDER}/ in or beside the first)"
    )
    options = parser.read(argv)
    from opt.comparison.output_files import write_comparison  # --help needs none of it
    from opt.comparison.report import print_verdict
    from opt.console.tables import make_console, say
    from opt.runs.run_listing import find_runs

    verdict = compare(find_runs(options.runs), by=options.by, split=options.split)
    first = Path(options.runs[0])
    beside = first.resolve().parent if (first / "manifest.json").exists() else first
    out = beside / FOLDER if options.out is None else Path(options.out)
    # first the files: whoever reads only the top of what is printed, as `| head` does, has them too
    written = write_comparison(verdict, out, command=f"{spelled('compare')} {shlex.join(argv)}")
    console = make_console()
    print_verdict(verdict, console)
    say(console, f"\nwrote {len(written)} files to {out}; the page: {written[0]}")
    return 0


if __name__ == "__main__":
    execute(main)
