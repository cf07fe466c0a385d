"""What `opt.show --cache` prints and clears."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.table import Table

from opt.console.errors import UsageError
from opt.console.tables import make_console, say
from opt.files.cache_folder import cache_folder, clear, kinds_of_things

_DAY = 86_400


def show_cache(kinds: Sequence[str], *, is_cleared: bool) -> int:
    """Print sizes and ages of what is kept by kind, or delete it; the exit code.

    Args:
        kinds: Kinds to delete; none for everything that was computed.
        is_cleared: Whether anything is deleted.

    Raises:
        UsageError: Kinds are named where nothing is deleted, or there is no such kind.
    """
    console = make_console()
    if is_cleared:
        say(console, f"{size_in_words(clear(kinds))} freed in {cache_folder()}")
        return 0
    if kinds:
        raise UsageError("--cache lists every kind; to delete some, give --cache --clear KIND...")
    rows = kinds_of_things()
    if not rows:
        say(console, f"nothing is kept in {cache_folder()}")
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("kind")
    for name in ("files", "size", "oldest", "newest"):
        table.add_column(name, justify="right", no_wrap=True)
    now = time.time()
    for row in rows:
        ages = (age_in_words(now - row.oldest), age_in_words(now - row.newest))
        table.add_row(row.name, str(row.n_files), size_in_words(row.size_bytes), *ages)
    console.print(table)
    total = sum(row.size_bytes for row in rows)
    say(console, f"{size_in_words(total)} in {cache_folder()}; --clear deletes what was computed")
    return 0


def size_in_words(n_bytes: int) -> str:
    """A size in bytes, kB, MB or GB of 1,000 each."""
    size = float(n_bytes)
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def age_in_words(seconds: float) -> str:
    """An age in minutes, hours or days, whichever is the largest that is 1 or more."""
    for unit, length in (("days", _DAY), ("hours", 3600)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{max(0.0, seconds) / 60:.0f} min"
