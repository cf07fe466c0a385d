"""Consoles for tables: as wide as the terminal, safe for any text."""

from __future__ import annotations

import sys

from rich.console import Console

from opt.console.terminal import SafeConsole

PIPE_WIDTH = 240


def make_console() -> Console:
    """A console as wide as the terminal, or wide enough that nothing is cut where there is none."""
    width = None if sys.stdout.isatty() else PIPE_WIDTH
    return SafeConsole(width=width, highlight=False, markup=False, emoji=False)


def say(console: Console, line: str) -> None:
    """Print one line that a terminal may wrap, but that is never cut or changed."""
    console.print(line, soft_wrap=True)
