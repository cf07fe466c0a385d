"""python -m opt.show [RUN_OR_STUDY...] [--check]: lists runs and studies, shows one, verifies its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt.console.command import execute, spelled
from opt.console.options import OptionParser


def main(argv: Sequence[str]) -> int:
    """The command."""
    parser = OptionParser(
        prog=spelled("show"), description="List the runs and studies, show one, or verify its records."
    )
    parser.add_argument("runs", nargs="*", metavar="RUN", help="run directories, or studies; none lists all of them")
    parser.add_argument("--check", action="store_true", help="verify the records; exit code 1 when something is wrong")
    parser.add_argument(
        "--runs", "--out-dir", dest="folder", default="runs", metavar="DIR", help="where the runs are (default: runs)"
    )
    options = parser.read(argv)
    from opt.studies.overview import show  # --help needs none of it

    return show(options.runs, folder=Path(options.folder), is_checked=options.check)


if __name__ == "__main__":
    execute(main)
