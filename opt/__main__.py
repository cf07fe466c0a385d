"""python -m opt lists the commands, python -m opt COMMAND runs one; `opt-solve` and the others begin here too."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from opt.console.command import execute
from opt.console.errors import UsageError, nearest
from opt.console.terminal import tell
from opt.problem.installed import installed_problems

COMMANDS = {
    "solve": "search a problem with any algorithm, and save the run; or many runs, and save the study",
    "plot": "draw fronts, convergence and traces of runs, several overlaid",
    "show": "list runs and studies, show one, verify its records",
    "compare": "say which algorithm is better, and how sure that is",
}


def main(argv: Sequence[str]) -> int:
    """List the commands, or run the one that is named."""
    name = argv[0] if argv else "--help"
    if name in COMMANDS:
        sys.argv[1:] = argv[1:]
        return int(importlib.import_module(f"opt.{name}").main(argv[1:]))
    if name not in ("--help", "-h"):
        raise UsageError(f"no command is called {name!r}{nearest(name, COMMANDS)}; commands: {', '.join(COMMANDS)}")
    for command, what in COMMANDS.items():
        tell(f"{f'opt-{command}':<13}{f'python -m opt.{command}':<24}{what}")
    tell("Each has --help.")
    if problems := installed_problems():
        tell(f"opt-solve takes a problem's file, or the name of one that is installed: {', '.join(problems)}.")
    return 0


def solve() -> None:
    """The command opt-solve."""
    # functions that options name as package.module:function may lie in the present folder, as they may for
    # `python -m opt.solve`; it comes last, so that no folder in it hides an installed package
    if not sys.flags.safe_path:
        with contextlib.suppress(OSError):
            sys.path.append(str(Path.cwd()))
    _run("solve")


def plot() -> None:
    """The command opt-plot."""
    _run("plot")


def show() -> None:
    """The command opt-show."""
    _run("show")


def compare() -> None:
    """The command opt-compare."""
    _run("compare")


def _run(name: str) -> None:
    execute(importlib.import_module(f"opt.{name}").main)


if __name__ == "__main__":
    execute(main)
