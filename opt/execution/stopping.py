"""Graceful stop of a search: by a signal or a stop file it ends after the batch under way, with all of it saved."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic as time_now

from opt.processes.stop_signals import GivenUpError, on_stop_signals
from opt.search.engine import Search
from opt.search.search_state import State

STOP_FILE_SECONDS = 1.0
"""A stop file is looked for so often: on a network file system each look costs milliseconds."""


def stop_on_file(search: Search, stop_file: Path) -> None:
    """Ask the search to stop once a file is there, whose text is the reason; looked for after each generation."""
    show, looked = search.on_generation, 0.0

    def on_generation(state: State) -> None:
        nonlocal looked
        if show is not None:
            show(state)
        if time_now() - looked < STOP_FILE_SECONDS:
            return
        looked = time_now()
        with contextlib.suppress(OSError):
            search.stop_requested = search.stop_requested or stop_file.read_text(encoding="utf-8").strip()

    search.on_generation = on_generation


@contextlib.contextmanager
def stop_on_signals(search: Search) -> Iterator[None]:
    """SIGINT and SIGTERM ask the search to stop after the batch under way; a second one gives that up."""

    def ask(reason: str) -> None:
        if search.stop_requested:
            raise GivenUpError
        search.stop_requested = reason
        print(f"\n{reason}: ending after this batch; once more gives it up", file=sys.stderr)

    with on_stop_signals(ask):
        yield
