"""Many runs at once: independent joblib tasks, each its own run directory."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor
from threadpoolctl import threadpool_limits

from opt.adapt import as_compression_problem
from opt.arguments import plain
from opt.errors import UsageError
from opt.loading import load_problem_class
from opt.run import Run, check_folder, load_run
from opt.runner import Request, run_search
from opt.seeding import resolved


@dataclass(frozen=True)
class Job:
    """One run as plain data, so that any process can carry it out.

    Args:
        target: The problem file, as `load_problem_class` takes it.
        problem_parameters: Parameters of the problem's class by name; a seed may be `same-as-run`.
        request: Algorithm, seed, budget and the rest.
        out: Folder under which the run directory is made.
        command: The command line, for the manifest.
        silent: Show no progress.
    """

    target: str
    problem_parameters: dict[str, Any] = field(default_factory=dict)
    request: Request = field(default_factory=Request)
    out: str = "runs"
    command: str | None = None
    silent: bool = False


def build_problem(target: str, parameters: dict[str, Any], *, seed: int) -> Any:
    """The problem that a file defines, built with `parameters`; seeds that are `same-as-run` become `seed`.

    Raises:
        UsageError: The constructor refuses them.
    """
    cls = load_problem_class(target)
    try:
        return cls(**resolved(parameters, seed=seed))
    except UsageError:
        raise
    except (ValueError, TypeError) as error:
        raise UsageError(f"{cls.__name__} cannot be built: {error}") from None


def run_job(job: Job, *, resume: Run | None = None) -> Run:
    """Carry out one job in this process.

    Raises:
        UsageError: As `opt.runner.run_search`.
    """
    check_folder(Path(job.out))
    with threadpool_limits(limits=job.request.threads):
        problem = build_problem(job.target, job.problem_parameters, seed=job.request.seed)
    task = as_compression_problem(problem)
    path, _, chosen = job.target.partition(".py:")
    file = path + ".py" if chosen else job.target
    name = type(problem).__name__.lower() if chosen else Path(file).stem
    origin = {
        "name": name,
        "file": file,
        "folder": str(Path.cwd()),
        "class": type(problem).__qualname__,
        "parameters": plain(job.problem_parameters),
    }
    return run_search(
        task, job.request, origin=origin, out=Path(job.out), resume=resume, command=job.command, silent=job.silent
    )


def run_jobs(jobs: Sequence[Job], *, n_jobs: int, on_done: Callable[[Job, Run | None, str], None]) -> None:
    """Carry out jobs `n_jobs` at a time; one that fails does not stop the others.

    SIGINT and SIGTERM end the runs under way cleanly and start no more.

    Args:
        jobs: What to run.
        n_jobs: Processes side by side.
        on_done: Called with each job, its run, and the error's text (empty when there is none).
    """
    stopping = False

    def stop(number: int, frame: Any) -> None:
        nonlocal stopping
        stopping = True
        for pid in getattr(get_reusable_executor(), "_processes", None) or {}:
            os.kill(pid, number)

    def waiting() -> Iterator[Any]:
        for index, job in enumerate(jobs):
            if stopping:
                return
            yield delayed(_run_quietly)(index, job)

    previous = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        results = Parallel(n_jobs=n_jobs, return_as="generator_unordered", pre_dispatch=n_jobs, batch_size=1)(waiting())
        for index, path, error in results:
            run = load_run(path) if path else None
            # a run in this very process takes the signal itself
            stopping = stopping or (run is not None and run.status == "interrupted")
            on_done(jobs[index], run, error)
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _run_quietly(index: int, job: Job) -> tuple[int, str | None, str]:
    try:
        run = run_job(job)
    except UsageError as error:
        return index, None, str(error)
    return index, str(run.path), ""
