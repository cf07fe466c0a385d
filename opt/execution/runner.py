"""One search from request to run directory; what the command and `opt.minimize` both call."""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from opt.algorithms import AlgorithmSpec, find_algorithm
from opt.algorithms.interface.warm_start import Start
from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.execution.request import SearchRequest, check_request
from opt.execution.run_closing import close_run
from opt.execution.run_opening import TRACEBACK, check_resumable, first_manifest, open_directory
from opt.execution.saved_start import saved_start
from opt.execution.stopping import stop_on_file, stop_on_signals
from opt.files import atomic
from opt.problem import CompressionProblem
from opt.problem.hooks import HookError, verified
from opt.runs.run import Run, load_run
from opt.runs.run_directory import RunDirectory, now
from opt.search.engine import Search
from opt.search.evaluation import EvaluationFailed
from opt.search.progress import SearchProgress
from opt.search.scalarise import Scalariser

# the stream of a run's seed that its proof draws from
_VERIFYING = 0x7E51


def run_search(
    problem: CompressionProblem,
    request: SearchRequest,
    *,
    origin: dict[str, Any],
    out: Path,
    name: str | None = None,
    resume: Run | None = None,
    command: str | None = None,
    silent: bool = False,
    stop_file: Path | None = None,
    is_forced: bool = False,
    trust: bool = False,
    start: Start | None = None,
    callback: Callable[[Any], Any] | None = None,
    spec: AlgorithmSpec | None = None,
) -> Run:
    """Search, save, and return the run.

    Args:
        problem: What is searched.
        request: How.
        origin: The problem's `name`, `file`, `class` and `parameters`, for the manifest.
        out: Folder under which the run directory is made.
        name: Name of the run directory; None names it after the run and the second it began.
        resume: An unfinished run to go on with, made from the same problem and request.
        command: The command line, for the manifest.
        silent: Show no progress.
        stop_file: A file whose appearance asks the search to end after the batch under way; its text is the reason.
        is_forced: Go on with a run though code, data or versions have changed since.
        trust: Import functions that the run which it began with names, whatever they are.
        start: Candidates that the algorithm begins with; a resumed run has its own.
        callback: Called with pymoo's algorithm after each generation.
        spec: The algorithm, where it is a pymoo object and not a name.

    Raises:
        UsageError: The request does not fit the problem, nothing can be written, `fail_fast` struck, the
            user's code failed, or the resumed run does not replay. What was evaluated stays in the run directory.
    """
    with threadpool_limits(limits=request.threads):
        spec = spec or find_algorithm(request.algo, problem)
        manifest, made_by = first_manifest(problem, request, spec, origin=origin, command=command, resume=resume)
        changed: dict[str, Any] = {}
        if resume is not None:
            changed = check_resumable(resume, manifest, made_by, is_forced=is_forced)
            start = saved_start(resume, problem, given=start, trust=trust)
        scalariser = check_request(problem, request, spec=spec, start=start)
        manifest["verified"] = notes = _proof(problem, request)
        directory = open_directory(manifest, out=out, name=name, resume=resume, changed=changed, start=start)
        with _writing(directory):
            progress = SearchProgress(problem.objectives, request.budget, silent=silent)
            progress.note_all(notes or ())
            search = _search_of(directory, problem, spec, request, scalariser, progress, start=start, callback=callback)
            if stop_file is not None:
                stop_on_file(search, stop_file)
            search.ends_replayed = _replayed_reason(search, resume)
            failure = _carry_out(search, directory, problem, request, progress)
    if failure:
        raise UsageError(f"{failure}; the run is kept in {directory.path}")
    return load_run(directory.path)


def _proof(problem: CompressionProblem, request: SearchRequest) -> list[str] | None:
    """What the problem's proof of its evaluation says; None where it is left out."""
    return None if request.no_verify else verified(problem, np.random.default_rng([request.seed, _VERIFYING]))


@contextlib.contextmanager
def _writing(directory: RunDirectory) -> Iterator[None]:
    """Close the directory behind what writes to it; a disk that is full or gone is told with the way to go on.

    Raises:
        UsageError: It cannot be written.
    """
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"cannot write {directory.path}: {error.strerror or error}; what was recorded is kept: make room and "
            f"go on with {spelled('solve')} --resume {directory.path}"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            directory.close()


def _search_of(
    directory: RunDirectory,
    problem: CompressionProblem,
    spec: AlgorithmSpec,
    request: SearchRequest,
    scalariser: Scalariser,
    progress: SearchProgress,
    *,
    start: Start | None,
    callback: Callable[[Any], Any] | None,
) -> Search:
    """The search that records to the directory; where the user's code fails before it begins, the run has failed."""
    if directory.n_dropped:
        progress.note(
            f"{directory.path / 'journal.jsonl'}: the end, {directory.n_dropped} bytes, fails its check, torn "
            "by the death of its process or altered; it is dropped and evaluated anew"
        )
    try:
        search = Search(
            problem,
            spec,
            dict(request.parameters),
            seed=request.seed,
            budget=request.budget,
            scalariser=scalariser,
            recorder=directory,
            cache_size=request.cache_size,
            fail_fast=request.fail_fast,
            on_generation=progress,
            eval_seconds=request.eval_seconds,
            start=start,
            callback=callback,
        )
    except HookError as error:
        _keep_traceback(directory, error)
        if directory.manifest["status"] != "finished":
            directory.update(status="failed", stop_reason=str(error), ended=now())
        raise
    if search.budget != request.budget:
        progress.note(f"there are {search.n_distinct} distinct candidates: --n-eval is cut to as many")
    return search


def _replayed_reason(search: Search, run: Run | None) -> str:
    """Why a finished run that is replayed to mend its files ends where it ended; "" for any other.

    A budget of time, or a signal that stopped it, would not end the replay at the same generation: the journal does.
    """
    if run is None or run.manifest["status"] != "finished":
        return ""
    is_whole = len(search.recorder.records) >= run.manifest.get("n_gen", 0)
    return str(run.manifest.get("stop_reason", "")) if is_whole else ""


def _carry_out(
    search: Search,
    directory: RunDirectory,
    problem: CompressionProblem,
    request: SearchRequest,
    progress: SearchProgress,
) -> str:
    """Search and save; the reason when it failed, else an empty string."""
    # the signals are ours until everything is saved: a first one while it is saved changes nothing
    with stop_on_signals(search):
        failure = _searched(search, directory)
        progress.finish(search.state)
        if failure and directory.manifest["status"] == "finished":
            raise UsageError(f"{failure}; {directory.path} is as it was, finished")
        close_run(search, directory, problem, request, progress, failure=failure)
    return failure


def _searched(search: Search, directory: RunDirectory) -> str:
    try:
        search.run()
    except (EvaluationFailed, HookError) as error:
        _keep_traceback(directory, error)
        return str(error)
    except KeyboardInterrupt:
        # a second signal: the batch under way is given up, everything before it is recorded
        search.stop_requested = search.stop_requested or "interrupted"
        search.state.stop_reason = search.stop_requested
    return ""


def _keep_traceback(directory: RunDirectory, error: Exception) -> None:
    if error.__cause__ is not None:
        text = "".join(traceback.format_exception(error.__cause__))
        atomic.write_bytes(directory.path / TRACEBACK, text.encode("utf-8", "backslashreplace"))
