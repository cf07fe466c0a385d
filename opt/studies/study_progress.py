"""The progress display of a study: how many runs are done, how far those under way are, the time left."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

from rich.progress import BarColumn, Progress, TextColumn

from opt.console.terminal import SafeConsole, printable, tell
from opt.console.wording import some
from opt.files.plain_file import check_regular
from opt.runs.run import Run
from opt.search.progress import duration
from opt.studies.planned_run import PlannedRun

LIVE_SECONDS = 1.0
PLAIN_SECONDS = 30.0
MOST_NAMED = 4
_TAIL_BYTES = 4096


class StudyProgress:
    """Shows a study while its runs are carried out, in whatever processes, from what they write.

    Args:
        planned_runs: Those that are to be carried out.
        n_finished: Number of the study's other runs, finished before.
        silent: Show nothing at all.
    """

    def __init__(self, planned_runs: Sequence[PlannedRun], *, n_finished: int, silent: bool = False) -> None:
        self.silent = silent
        self._waiting = {str(planned.name): planned for planned in planned_runs}
        self._n_before = n_finished
        self._n_all = n_finished + len(planned_runs)
        self._n_failed = 0
        self._began = time.monotonic()
        self._spent_before: float | None = None
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._bar: Progress | None = None

    def __enter__(self) -> StudyProgress:
        if self.silent:
            return self
        if sys.stdout.isatty():
            text = TextColumn("{task.description}", markup=False)
            self._bar = Progress(BarColumn(bar_width=20), text, console=SafeConsole(emoji=False))
            self._row = self._bar.add_task("starting", total=1.0)
            self._bar.start()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        if self._thread:
            self._thread.join()
        if self._bar:
            self._show()
            self._bar.stop()

    def done(self, planned: PlannedRun, run: Run | None, reason: str) -> None:
        """Note, and say in a line, how a run ended."""
        with self._lock:
            self._waiting.pop(str(planned.name), None)
            self._n_failed += bool(reason)
        if self.silent or reason or run is None:
            return
        m = run.manifest
        self.note(
            f"[{self._n_all - len(self._waiting)}/{self._n_all}] {planned.name}: {m['stop_reason']}, "
            f"{m['n_eval']} evaluations, hypervolume {m['hypervolume']:.5g}, {m['n_solutions']} solutions, "
            f"{duration(m['seconds'])}"
        )

    def note(self, message: str) -> None:
        """Print one line beside the display."""
        if self._bar and not self._bar.finished:
            self._bar.console.print(message, markup=False, highlight=False, soft_wrap=True)
        elif not self.silent:
            tell(message, flush=True)

    def line(self) -> tuple[str, float]:
        """The display's text, and the share of the whole study that is done."""
        with self._lock:
            waiting, n_failed = dict(self._waiting), self._n_failed
        shares = {name: share for name, planned in waiting.items() if (share := share_done(planned)) is not None}
        n_done = self._n_all - len(waiting)
        share = (n_done + sum(shares.values())) / max(self._n_all, 1)
        parts = [f"{n_done} of {self._n_all} runs done" + (f", {n_failed} failed" if n_failed else "")]
        if shares:
            named = [f"{name} {100 * done:.0f} %" for name, done in shares.items()]
            parts.append(some(named, at_most=MOST_NAMED, separator="; "))
        if self._spent_before is None:
            self._spent_before = share
        gained, spent = share - self._spent_before, time.monotonic() - self._began
        parts.append(f"{duration(spent * (1 - share) / gained)} left" if gained > 0 and share < 1 else duration(spent))
        return " | ".join(parts), share

    def _watch(self) -> None:
        last = ""
        while not self._ended.wait(LIVE_SECONDS if self._bar else PLAIN_SECONDS):
            if self._bar:
                self._show()
            elif (text := self.line()[0]) != last:
                last = text
                tell(text, flush=True)

    def _show(self) -> None:
        assert self._bar is not None
        text, share = self.line()
        self._bar.update(self._row, completed=share, description=printable(text))


def share_done(planned: PlannedRun) -> float | None:
    """The share of its budget that a run under way has spent, from its history; None before it began."""
    try:
        check_regular(planned.path / "history.csv")
        with open(planned.path / "history.csv", "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return None
    try:
        n_gen, n_eval, seconds = (float(cell) for cell in lines[-1].split(",")[:3])
    except (ValueError, IndexError):
        return 0.0
    return planned.request.budget.fraction(n_gen=int(n_gen), n_eval=int(n_eval), seconds=seconds)
