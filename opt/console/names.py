"""Names of files that come from elsewhere: what may become one part of a path, and nothing more."""

from __future__ import annotations

import os

from opt.console.errors import UsageError

MOST_BYTES = 200
"""Of a name: file systems take 255, and what we write beside it adds an ending."""


def check_name(name: object, what: str) -> str:
    """Refuse what is no plain name of a file or folder: it could lead out of its folder, or be none at all.

    Args:
        name: The name, from whatever file or command.
        what: What it is called, for the message.

    Returns:
        The name.

    Raises:
        UsageError: It is no text, empty, hidden, too long, or holds a slash or a NUL.
    """
    if not isinstance(name, str) or not name:
        reason = "it is empty" if name == "" else f"it is no text but {type(name).__name__}"
    elif "/" in name or "\0" in name or os.sep in name:
        reason = "it holds a slash or a NUL"
    elif name.startswith("."):
        reason = "it begins with a dot"
    elif any("\ud800" <= c <= "\udc7f" or "\udd00" <= c <= "\udfff" for c in name):
        reason = "it holds half a character"
    elif len(os.fsencode(name)) > MOST_BYTES:
        reason = f"it is longer than {MOST_BYTES} bytes"
    else:
        return name
    shown = repr(name)
    raise UsageError(f"{what} {shown if len(shown) <= 80 else shown[:80] + '...'} cannot name a file: {reason}")
