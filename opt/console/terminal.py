"""The one way from our commands to a terminal: what would steer it, or cannot be encoded, is shown escaped.

Names, paths, reasons of failures and cells of tables come from files of strangers. An escape
sequence in one of them would colour, overwrite or reorder what a person reads.
"""

from __future__ import annotations

import os
import sys
import unicodedata
from typing import Any, TextIO

from rich.console import Console
from rich.text import Text

_ESCAPED = ("Cc", "Cf", "Cs", "Zl", "Zp")
"""Categories of Unicode: controls, formats such as a change of direction, surrogates, separators of lines."""
_HARMLESS = frozenset("\n\t\u200c\u200d")
"""Of these categories: ends of lines, tabs, and the joiners that some scripts and emoji need."""


def printable(text: object) -> str:
    r"""The text with every character escaped that a terminal would act upon, such as `\x1b` and `\u202e`.

    A byte of a file's name that is not UTF-8 shows as that byte, `\xff`.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(c: str) -> str:
    if c in _HARMLESS or unicodedata.category(c) not in _ESCAPED:
        return c
    code = ord(c)
    if 0xDC80 <= code <= 0xDCFF:  # what Python makes of a byte that is not UTF-8
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def tell(text: object = "", *, file: TextIO | None = None, end: str = "\n", flush: bool = False) -> None:
    """Print text of any origin; `print` for our commands.

    Args:
        text: What to print, lines and all.
        file: As `print` takes it; None is stdout.
        end: As `print` takes it.
        flush: As `print` takes it.
    """
    print(printable(text), file=file, end=end, flush=flush)


class SafeConsole(Console):
    """A rich console whose text, cells of tables included, is `printable`; the styles are the console's own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Text with what would steer the terminal escaped."""
        return super().render_str(printable(text), **options)


def say_no_more() -> None:
    """Send what is printed from here on to nowhere: nobody reads it any more."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def ready_for_any_text() -> None:
    """Let stdout and stderr take anything: what their encoding cannot hold, such as é in ASCII, is shown escaped.

    One that was closed before the program began, as by `>&-`, becomes one that leads nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115 - open as long as the program
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
