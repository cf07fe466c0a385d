"""Many runs at once: parallel workers on this machine's cores or on a Dask cluster's workers.

A run is carried out in place, in the directory of its name. So it may be begun again, on
another worker or after a crash, and goes on from what its journal holds.
"""

from __future__ import annotations

import contextlib
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed, parallel_config

from opt.console.errors import UsageError
from opt.files import atomic
from opt.files.locking import InUseError
from opt.processes.child_process import end_with
from opt.processes.stop_signals import GivenUpError, in_main_thread, on_stop_signals
from opt.runs.run import Run, load_run
from opt.runs.run_listing import record_failure
from opt.studies.cluster import workers_backend
from opt.studies.isolated import run_isolated
from opt.studies.outcome import Outcome
from opt.studies.planned_run import PlannedRun, run_planned

MOST_DEATHS = 3
"""A run whose process died so often is not begun once more; a Dask scheduler gives one up after one death more."""
PATIENCE_SECONDS = 60.0
"""How long a scheduler may be without workers before that is an error."""


@dataclass(frozen=True)
class WorkerContext:
    """What a worker is told beside its run, as plain data.

    Args:
        folder: Absolute path of a folder that every process can write: the stop file and the notes of
            runs that were begun lie there.
        seconds: Most wall-clock seconds of a run, or None.
        n_bytes: Most memory of a run's process, or None.
        is_forced: Go on with runs though their code, data or versions have changed.
    """

    folder: str
    seconds: float | None = None
    n_bytes: int | None = None
    is_forced: bool = False

    @property
    def stop_file(self) -> Path:
        """The file whose appearance ends the runs under way."""
        return Path(self.folder) / "stop"

    def begun(self, name: str) -> Path:
        """The note that a run was begun, a line each time; removed when it ends in whatever way but a death."""
        return Path(self.folder) / f"{name}.begun"


OnDone = Callable[[PlannedRun, Run | None, Outcome], None]
"""Called with a planned run that was begun, its run on disk (None when there is none), and how it ended."""


def run_in_parallel(
    planned_runs: Sequence[PlannedRun],
    context: WorkerContext,
    *,
    n_jobs: int,
    on_done: OnDone,
    client: Any = None,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Carry out named runs, several at a time; one that fails, or whose process dies, does not stop the others.

    SIGINT and SIGTERM end the runs under way after their batch, and start no more. Processes on this machine
    end with this one, whatever it ends of.

    Args:
        planned_runs: What to run; each has a name of its own.
        context: Limits, and where the notes are kept.
        n_jobs: Processes side by side on this machine.
        on_done: Called in this process as each run ends.
        client: A `distributed.Client`; the runs then go to its workers, as many at a time as those have threads.
        patience: Seconds to wait for its first worker.

    Raises:
        UsageError: No worker came.
    """
    Path(context.folder).mkdir(parents=True, exist_ok=True)
    _clear(context.stop_file)
    waiting = {planned.name: planned for planned in planned_runs}
    for planned in planned_runs:
        _forgive(context.begun(str(planned.name)))
    with _stop_file_on_signals(context):
        while waiting and not context.stop_file.exists():
            try:
                for outcome in _results(list(waiting.values()), context, n_jobs, client, patience):
                    planned = waiting.pop(outcome.name)
                    if outcome.kind == "not begun":
                        continue
                    run = _run_of(planned)
                    if run is not None and run.status == "interrupted" and not outcome.reason:
                        # a run in this very process takes the signal itself
                        context.stop_file.write_text(run.manifest["stop_reason"], encoding="utf-8")
                    on_done(planned, run, outcome)
            except BrokenProcessPool:
                # a worker died and took the others with it: what they were at goes on in place
                continue


def _run_of(planned: PlannedRun) -> Run | None:
    """A planned run as it stands on disk; None where it does not, or cannot be read, which its error says then."""
    with contextlib.suppress(UsageError):
        return load_run(planned.path)
    return None


def _results(
    planned_runs: list[PlannedRun], context: WorkerContext, n_jobs: int, client: Any, patience: float
) -> Iterator[Outcome]:
    def dispatched() -> Iterator[Any]:
        for planned in planned_runs:
            if context.stop_file.exists():
                return
            yield delayed(run_in_worker)(planned.as_dict() | {"out": str(Path(planned.out).absolute())}, context)

    options: dict[str, Any] = {"return_as": "generator_unordered", "batch_size": 1}
    if client is None:
        # handed out when a process is free, so that a stop finds the rest not yet begun
        with parallel_config(backend="loky", initializer=end_with, initargs=(os.getpid(),)):
            yield from Parallel(n_jobs=n_jobs, pre_dispatch=n_jobs, **options)(dispatched())
        return
    try:
        with parallel_config(backend=workers_backend(client, patience=patience)):
            # all at once, so that workers that come later have work too
            yield from Parallel(n_jobs=-1, pre_dispatch="all", **options)(dispatched())
    except TimeoutError:
        raise UsageError(f"no worker came to {client.scheduler.address} within {patience:.0f} s; start some") from None
    except CancelledError:
        raise UsageError("the Dask scheduler is gone; start it again and give the command again") from None


def run_in_worker(data: dict[str, Any], context: WorkerContext) -> Outcome:
    """Carry out one planned run in whatever process this is.

    One that was begun before and did not end goes on in a process of its own, so that its death
    is its own; after too many deaths it is given up.
    """
    name = str(data["name"])
    if context.stop_file.exists():
        return Outcome(name, kind="not begun")
    begun = context.begun(name)
    deaths = begun.read_bytes().count(b"\n") if begun.is_file() else 0
    if deaths >= MOST_DEATHS:
        reason = f"its process died {deaths} times in the middle of it"
        record_failure(Path(data["out"]) / name, reason)
        return Outcome(name, reason)
    with open(begun, "a", encoding="utf-8") as file:
        file.write(f"{os.uname().nodename} {os.getpid()}\n")
    try:
        outcome = Outcome(name, _carry_out(data, context, is_isolated=deaths > 0))
    except InUseError as error:
        outcome = Outcome(name, str(error), "in use")
    begun.unlink(missing_ok=True)
    return outcome


def _carry_out(data: dict[str, Any], context: WorkerContext, *, is_isolated: bool) -> str:
    try:
        planned = PlannedRun.from_dict(data)
        # evaluations in forked processes need a main thread, and a Dask worker carries its runs out in another
        is_elsewhere = planned.request.eval_seconds is not None and not in_main_thread()
        if is_isolated or is_elsewhere or context.seconds is not None or context.n_bytes is not None:
            stop_file = context.stop_file
            return run_isolated(
                planned,
                seconds=context.seconds,
                n_bytes=context.n_bytes,
                stop_file=stop_file,
                is_forced=context.is_forced,
            )
        run_planned(planned, stop_file=context.stop_file, is_forced=context.is_forced)
    except InUseError:
        raise
    except UsageError as error:
        return str(error)
    except Exception as error:  # a user's problem may fail in any way; the others go on
        path = Path(context.folder) / f"{data['name']}.traceback.txt"
        with contextlib.suppress(OSError):
            atomic.write_bytes(path, traceback.format_exc().encode())
        return f"{type(error).__name__}: {error} (traceback: {path})"
    return ""


def _forgive(begun: Path) -> None:
    """Leave one line of what an earlier command noted: a run that took its command with it goes on isolated."""
    if begun.is_file():
        begun.write_bytes(b"".join(begun.read_bytes().splitlines(keepends=True)[:1]))
    else:
        _clear(begun)


def _clear(note: Path) -> None:
    """Remove a note of an earlier command, whatever stands in its place.

    Raises:
        UsageError: It cannot be removed.
    """
    try:
        if note.is_dir():
            note.rmdir()
        note.unlink(missing_ok=True)
    except OSError as error:
        raise UsageError(f"{note} cannot be removed: {error.strerror}; remove it and go on") from None


@contextlib.contextmanager
def _stop_file_on_signals(context: WorkerContext) -> Iterator[None]:
    """SIGINT and SIGTERM write the stop file; a second one raises KeyboardInterrupt."""

    def stop(reason: str) -> None:
        if context.stop_file.exists():
            raise GivenUpError
        context.stop_file.write_text(reason, encoding="utf-8")

    with on_stop_signals(stop):
        yield
