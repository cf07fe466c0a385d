"""What a person sees while a search runs: one live line, or plain lines where there is no terminal."""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence

from rich.progress import BarColumn, Progress, TextColumn

from opt.console.terminal import SafeConsole, printable, say_no_more, tell
from opt.problem import Objective
from opt.search.budget import Budget
from opt.search.search_state import State

PLAIN_SECONDS = 5.0
LIVE_SECONDS = 0.1
_DAY = 86_400.0
_DAYS_FROM = 4 * _DAY
"""Beyond so many seconds minutes are of no interest."""


class SearchProgress:
    """Shows a search's generation, evaluations, hypervolume, best values and time left.

    Args:
        objectives: The problem's objectives, for the names of the best values.
        budget: For the share done and the time left.
        silent: Show nothing at all.
    """

    def __init__(self, objectives: Sequence[Objective], budget: Budget, *, silent: bool = False) -> None:
        self.objectives = objectives
        self.budget = budget
        self.silent = silent
        self._shown = 0.0
        self._last = ""
        self._bar: Progress | None = None
        if not silent and sys.stdout.isatty():
            text = TextColumn("{task.description}", markup=False)
            self._bar = Progress(BarColumn(bar_width=20), text, console=SafeConsole(emoji=False))
            self._task = self._bar.add_task("starting", total=1.0)
            self._bar.start()

    def __call__(self, state: State) -> None:
        """Show `state`, unless something was shown a moment ago."""
        if self.silent:
            return
        now = time.monotonic()
        if now - self._shown < (LIVE_SECONDS if self._bar else PLAIN_SECONDS):
            self._last = ""
            return
        with self._reader():
            self._show(state, now)

    def finish(self, state: State) -> None:
        """Show the last state and close the line."""
        if self.silent:
            return
        with self._reader():
            self._show(state, time.monotonic())
            if self._bar:
                self._bar.stop()

    def note_all(self, messages: Iterable[str]) -> None:
        """Print lines beside the display."""
        for message in messages:
            self.note(message)

    def note(self, message: str) -> None:
        """Print one line beside the display."""
        if self.silent:
            return
        with self._reader():
            if self._bar and not self._bar.finished:
                self._bar.console.print(message, markup=False, highlight=False, soft_wrap=True)
            else:
                tell(message, flush=True)

    @contextlib.contextmanager
    def _reader(self) -> Iterator[None]:
        """What is shown is lost when its reader went away, as `| head` does; the search goes on."""
        try:
            yield
        except BrokenPipeError:
            self.silent = True
            say_no_more()

    def _show(self, state: State, now: float) -> None:
        self._shown = now
        done = self.budget.fraction(n_gen=state.n_gen, n_eval=state.n_eval, seconds=state.seconds)
        line = self.line(state, done)
        if self._bar:
            self._bar.update(self._task, completed=done, description=printable(line))
        elif line != self._last:
            self._last = line
            tell(line, flush=True)

    def line(self, state: State, done: float) -> str:
        """The progress line of `state`; `done` is the share of the budget that is spent."""
        inside = f" ({state.n_inner_eval:.3g} inside)" if state.n_inner_eval else ""
        parts = [f"gen {state.n_gen}", f"{state.n_eval} evaluations{inside}", f"hypervolume {state.hypervolume:.5g}"]
        if state.best is not None:
            best = ", ".join(f"{o.name} {v:.4g}" for o, v in zip(self.objectives, state.best, strict=True))
            parts.append(f"best {best}")
        if state.n_failed:
            parts.append(f"{state.n_failed} failed")
        if state.replaying:
            parts.append("replaying")
        elif 0 < done < 1:
            parts.append(f"{duration(state.seconds * (1 - done) / done)} left")
        else:
            parts.append(duration(state.seconds))
        return " | ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 8 s, 3 min 20 s, 1 h 05 min, 12 days; "unknown" where they are no number."""
    if not abs(seconds) < math.inf:
        return "unknown"
    if seconds >= _DAYS_FROM:
        return f"{seconds / _DAY:.3g} days"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"
