"""Carrying out a study: what it lacks is run, shown and told, and its index is kept."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from opt.console.command import complain, spelled
from opt.console.errors import UsageError
from opt.console.terminal import tell
from opt.execution.request import check_request
from opt.files import atomic
from opt.files.digest import new_hash
from opt.flags.job_options import JobOptions
from opt.flags.search_options import ClusterKind, check_option
from opt.problem.adapt import as_compression_problem
from opt.runs.run import Run
from opt.studies.cluster import cluster_client, scheduler_client
from opt.studies.outcome import Outcome
from opt.studies.parallel import PATIENCE_SECONDS, WorkerContext, run_in_parallel
from opt.studies.planned_run import PlannedRun, build_problem
from opt.studies.study import Study
from opt.studies.study_progress import StudyProgress

QUEUE_SECONDS = 7 * 24 * 3600.0
"""A batch system may let its jobs wait so long for a machine."""
LONGEST_NAME = 255
"""Bytes of a file's name that Linux's and macOS's file systems take."""
EXIT_STOPPED = {"stopped by SIGINT": 130, "stopped by SIGTERM": 143}


@dataclass(frozen=True)
class Workers:
    """What carries out the runs of a study, and how far each may go.

    Args:
        n_jobs: Processes side by side here, or jobs of the batch system.
        scheduler: Address of a Dask scheduler, or None.
        cluster: Batch system, or None.
        job: What one of its jobs is given.
        run_seconds: Longest time of one run, or None.
        run_bytes: Most memory of one run's process, or None.
        is_forced: Go on with runs though their code, data or versions have changed.
    """

    n_jobs: int = 1
    scheduler: str | None = None
    cluster: ClusterKind | None = None
    job: JobOptions = field(default_factory=JobOptions)
    run_seconds: float | None = None
    run_bytes: int | None = None
    is_forced: bool = False

    def __post_init__(self) -> None:
        if self.scheduler and self.cluster:
            raise UsageError("--scheduler and --cluster each bring workers; give one of them")
        check_option("jobs", self.n_jobs)
        if self.run_seconds is not None and self.run_seconds <= 0:
            raise UsageError(f"--task-time must be longer than 0, got {self.run_seconds:g} s")


def run_study(
    study: Study,
    planned_runs: Sequence[PlannedRun],
    workers: Workers,
    *,
    command: str | None,
    quiet: bool = False,
    mends: bool = False,
) -> int:
    """Carry out the planned runs that are not finished; the command's exit code.

    Args:
        study: Where they belong.
        planned_runs: Of the study's, those to carry out.
        workers: What carries them out.
        command: The command line, for the study and its runs.
        quiet: Show no progress.
        mends: Whether finished runs are looked through, and those that are damaged mended.

    Raises:
        UsageError: What is asked is wrong for all of them, or there are no workers.
    """
    damaged = study.damaged(planned_runs) if mends else []
    lacking = study.unfinished(planned_runs) + damaged
    n_finished = len(planned_runs) - len(lacking)
    if lacking and workers.cluster is None and workers.scheduler is None:
        _check(lacking)
    errors: list[str] = []
    stopped = ""
    with study.locked(), StudyProgress(lacking, n_finished=n_finished, silent=quiet) as progress:
        atomic.remove_stray_files([study.path, study.path / ".tasks"])
        study.save(command=command)
        if damaged:
            progress.note(f"not as they ended, to be mended: {', '.join(str(planned.name) for planned in damaged)}")
        if n_finished:
            progress.note(f"{n_finished} of {len(planned_runs)} runs are finished already")

        def on_done(planned: PlannedRun, run: Run | None, outcome: Outcome) -> None:
            # a run in use has not failed: how it stands is in its own directory
            study.note(planned, outcome.reason if outcome.kind == "ended" else "")
            study.save_index()
            progress.done(planned, run, outcome.reason)
            if outcome.reason:
                errors.append(f"{planned.name}: {outcome.reason}")
                complain(errors[-1])

        context = WorkerContext(
            str((study.path / ".tasks").absolute()), workers.run_seconds, workers.run_bytes, workers.is_forced
        )
        if lacking:
            with _client(workers) as client:
                patience = QUEUE_SECONDS if workers.cluster else PATIENCE_SECONDS
                n_jobs = min(workers.n_jobs, len(lacking))  # a process more would find no work
                run_in_parallel(lacking, context, n_jobs=n_jobs, on_done=on_done, client=client, patience=patience)
            study.save(command=command)
            stopped = context.stop_file.read_text(encoding="utf-8") if context.stop_file.exists() else ""
    return _report(study, planned_runs, errors, stopped, quiet=quiet)


def _report(study: Study, planned_runs: Sequence[PlannedRun], errors: list[str], stopped: str, *, quiet: bool) -> int:
    rest = study.unfinished(planned_runs)
    if not quiet:
        standing = ", ".join(f"{n} {status}" for status, n in study.counts.items())
        tell(f"study: {study.path} ({standing}); index: {study.path / 'index.csv'}")
        if others := len(study.planned_runs) - len(planned_runs):
            tell(f"{others} runs of earlier commands stay in it")
        if stopped:
            not_begun = sum(not planned.path.exists() for planned in rest)
            tell(f"{stopped}: {len(rest)} of {len(planned_runs)} runs are not finished, {not_begun} of them not begun")
        if rest:
            tell(f"next: {spelled('solve')} --resume {shlex.quote(str(study.path))}")
        else:
            tell(f"next: {spelled('compare')} {shlex.quote(str(study.path))}")
    return 2 if errors else EXIT_STOPPED.get(stopped, 130 if stopped else 0)


def _check(planned_runs: Sequence[PlannedRun]) -> None:
    """Say once, before anything starts, what is wrong with the first problem or with an algorithm on it."""
    first = planned_runs[0]
    problem = as_compression_problem(build_problem(first))
    same = [t for t in planned_runs if (t.target, t.problem_parameters) == (first.target, first.problem_parameters)]
    for planned in {planned.setting_digest: planned for planned in same}.values():
        check_request(problem, planned.request)


@contextlib.contextmanager
def _client(workers: Workers) -> Iterator[Any]:
    if workers.scheduler is not None:
        with scheduler_client(workers.scheduler) as client:
            yield client
    elif workers.cluster is not None:
        with cluster_client(workers.cluster, workers.job, n_jobs=workers.n_jobs) as client:
            yield client
    else:
        yield None


def study_folder(out: str, name: str | None, planned_runs: Sequence[PlannedRun]) -> Path:
    """Where a study lies: under its name, or under one that follows from what is asked, whatever the seeds.

    Args:
        out: Folder of all runs.
        name: The name, or None.
        planned_runs: What is asked.
    """
    if name is not None:
        if not name or "/" in name or name.startswith(".") or not name.isprintable():
            raise UsageError(f"--name must be a folder's name without slashes, got {name!r}; --out says where it lies")
        if len(os.fsencode(name)) > LONGEST_NAME:
            raise UsageError(f"--name must have at most {LONGEST_NAME} bytes, got {len(os.fsencode(name))}")
        return Path(out) / name
    problems = "+".join(dict.fromkeys(planned.problem_name for planned in planned_runs))
    algos = "+".join(dict.fromkeys(planned.request.algo for planned in planned_runs))
    settings = "".join(sorted({planned.setting_digest for planned in planned_runs}))
    digest = new_hash(settings.encode(), n_bytes=4).hexdigest()
    plain = "".join(c if c.isalnum() or c in "+_-" else "-" for c in f"{problems}-{algos}")[:60]
    return Path(out) / f"study-{plain}-{digest}"
