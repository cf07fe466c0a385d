"""Many runs at once: independent joblib tasks, on this machine's cores or on a Dask cluster's workers.

A task is carried out in place, in the run directory of its name. So it may be begun again, on
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
from opt.studies.task import Task, run_task

MOST_DEATHS = 3
"""A task whose process died so often is not begun once more; a Dask scheduler gives a task up after one death more."""
PATIENCE_SECONDS = 60.0
"""How long a scheduler may be without workers before that is an error."""


@dataclass(frozen=True)
class Execution:
    """How tasks are carried out, as plain data.

    Args:
        folder: Absolute path of a folder that every process can write: the stop file and the notes of
            tasks that were begun lie there.
        seconds: Most wall-clock seconds of a task, or None.
        n_bytes: Most memory of a task's process, or None.
        is_forced: Go on with runs though their code, data or versions have changed.
    """

    folder: str
    seconds: float | None = None
    n_bytes: int | None = None
    is_forced: bool = False

    @property
    def stop_file(self) -> Path:
        """The file whose appearance ends the tasks under way."""
        return Path(self.folder) / "stop"

    def begun(self, name: str) -> Path:
        """The note that a task was begun, a line each time; removed when it ends in whatever way but a death."""
        return Path(self.folder) / f"{name}.begun"


OnDone = Callable[[Task, Run | None, Outcome], None]
"""Called with a task that was begun, its run (None when there is none), and how it ended."""


def run_tasks(
    tasks: Sequence[Task],
    execution: Execution,
    *,
    n_jobs: int,
    on_done: OnDone,
    client: Any = None,
    patience: float = PATIENCE_SECONDS,
) -> None:
    """Carry out named tasks, several at a time; one that fails, or whose process dies, does not stop the others.

    SIGINT and SIGTERM end the tasks under way after their batch, and start no more. Processes on this machine
    end with this one, whatever it ends of.

    Args:
        tasks: What to run; each has a name of its own.
        execution: Limits, and where the notes are kept.
        n_jobs: Processes side by side on this machine.
        on_done: Called in this process as each task ends.
        client: A `distributed.Client`; the tasks then go to its workers, as many at a time as those have threads.
        patience: Seconds to wait for its first worker.

    Raises:
        UsageError: No worker came.
    """
    Path(execution.folder).mkdir(parents=True, exist_ok=True)
    _clear(execution.stop_file)
    waiting = {task.name: task for task in tasks}
    for task in tasks:
        _forgive(execution.begun(str(task.name)))
    with _stop_file_on_signals(execution):
        while waiting and not execution.stop_file.exists():
            try:
                for outcome in _results(list(waiting.values()), execution, n_jobs, client, patience):
                    task = waiting.pop(outcome.name)
                    if outcome.kind == "not begun":
                        continue
                    run = _run_of(task)
                    if run is not None and run.status == "interrupted" and not outcome.reason:
                        # a run in this very process takes the signal itself
                        execution.stop_file.write_text(run.manifest["stop_reason"], encoding="utf-8")
                    on_done(task, run, outcome)
            except BrokenProcessPool:
                # a worker died and took the others with it: what they were at goes on in place
                continue


def _run_of(task: Task) -> Run | None:
    """A task's run; None where there is none, or its manifest cannot be read, which its error says then."""
    with contextlib.suppress(UsageError):
        return load_run(task.path)
    return None


def _results(tasks: list[Task], execution: Execution, n_jobs: int, client: Any, patience: float) -> Iterator[Outcome]:
    def dispatched() -> Iterator[Any]:
        for task in tasks:
            if execution.stop_file.exists():
                return
            yield delayed(carry_out)(task.as_dict() | {"out": str(Path(task.out).absolute())}, execution)

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


def carry_out(data: dict[str, Any], execution: Execution) -> Outcome:
    """One task in whatever process this is.

    A task that was begun before and did not end goes on in a process of its own, so that its death
    is its own; after too many deaths it is given up.
    """
    name = str(data["name"])
    if execution.stop_file.exists():
        return Outcome(name, kind="not begun")
    begun = execution.begun(name)
    deaths = begun.read_bytes().count(b"\n") if begun.is_file() else 0
    if deaths >= MOST_DEATHS:
        reason = f"its process died {deaths} times in the middle of it"
        record_failure(Path(data["out"]) / name, reason)
        return Outcome(name, reason)
    with open(begun, "a", encoding="utf-8") as file:
        file.write(f"{os.uname().nodename} {os.getpid()}\n")
    try:
        outcome = Outcome(name, _carry_out(data, execution, is_isolated=deaths > 0))
    except InUseError as error:
        outcome = Outcome(name, str(error), "in use")
    begun.unlink(missing_ok=True)
    return outcome


def _carry_out(data: dict[str, Any], execution: Execution, *, is_isolated: bool) -> str:
    try:
        task = Task.from_dict(data)
        # evaluations in forked processes need a main thread, and a Dask worker carries its tasks out in another
        is_elsewhere = task.request.eval_seconds is not None and not in_main_thread()
        if is_isolated or is_elsewhere or execution.seconds is not None or execution.n_bytes is not None:
            stop_file = execution.stop_file
            return run_isolated(
                task,
                seconds=execution.seconds,
                n_bytes=execution.n_bytes,
                stop_file=stop_file,
                is_forced=execution.is_forced,
            )
        run_task(task, stop_file=execution.stop_file, is_forced=execution.is_forced)
    except InUseError:
        raise
    except UsageError as error:
        return str(error)
    except Exception as error:  # a user's problem may fail in any way; the others go on
        path = Path(execution.folder) / f"{data['name']}.traceback.txt"
        with contextlib.suppress(OSError):
            atomic.write_bytes(path, traceback.format_exc().encode())
        return f"{type(error).__name__}: {error} (traceback: {path})"
    return ""


def _forgive(begun: Path) -> None:
    """Leave one line of what an earlier command noted: a task that took its command with it goes on isolated."""
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
def _stop_file_on_signals(execution: Execution) -> Iterator[None]:
    """SIGINT and SIGTERM write the stop file; a second one raises KeyboardInterrupt."""

    def stop(reason: str) -> None:
        if execution.stop_file.exists():
            raise GivenUpError
        execution.stop_file.write_text(reason, encoding="utf-8")

    with on_stop_signals(stop):
        yield
