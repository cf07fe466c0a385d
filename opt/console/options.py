"""Options of the small commands: argparse, with every mistake told in one line and the nearest name offered."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import NoReturn

from opt.console.errors import UsageError, nearest

LONGEST_MESSAGE = 500
"""argparse's own messages hold the whole of what was given."""


class OptionParser(argparse.ArgumentParser):
    """An argument parser that raises UsageError instead of printing its usage and exiting.

    Args:
        prog: How the command is called, as in `python -m opt.plot`.
        description: What it does.
    """

    def __init__(self, *, prog: str, description: str) -> None:
        super().__init__(prog=prog, description=description, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Raise instead of exiting."""
        text = message if len(message) <= LONGEST_MESSAGE else message[:LONGEST_MESSAGE] + "..."
        raise UsageError(f"{text}; `{self.prog} --help` shows what it takes")

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The options in argv; an unknown one is refused with the nearest known name."""
        options, unknown = self.parse_known_args(list(argv))
        if unknown:
            name = unknown[0].split("=")[0]
            known = [text for action in self._actions for text in action.option_strings if text.startswith("--")]
            self.error(f"unknown option {name!r}{nearest(name, known)}")
        return options
