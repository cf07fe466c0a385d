"""python -m opt.show [RUN_OR_STUDY...] [--check | --cache]: lists runs and studies, shows one, verifies its records."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt.console.command import execute, spelled
from opt.console.errors import UsageError
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
    parser.add_argument("--cache", action="store_true", help="list what is kept of trainings, tables and downloads")
    parser.add_argument(
        "--clear", action="store_true", help="with --cache: delete it, the named kinds alone, or all but downloads"
    )
    options = parser.read(argv)
    if options.clear and not options.cache:
        raise UsageError("--clear is for what --cache lists; runs are deleted by deleting their folders")
    if options.cache and options.check:
        raise UsageError("--check is for runs, and --cache lists what is kept beside them; give one of them")
    if options.cache:
        from opt.studies.cache_overview import show_cache

        return show_cache(options.runs, is_cleared=options.clear)
    from opt.studies.overview import show  # --help needs none of it

    return show(options.runs, folder=Path(options.folder), is_checked=options.check)


if __name__ == "__main__":
    execute(main)
