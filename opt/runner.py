"""One search from request to run directory; what the command and `opt.minimize` both call."""

from __future__ import annotations

import contextlib
import inspect
import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic as time_now
from typing import Any

import numpy as np
from pymoo.core.problem import Problem
from threadpoolctl import threadpool_limits

from opt.adapt import PlainProblem, as_compression_problem
from opt.algorithms import build_algorithm, find_algorithm
from opt.archive import igd_plus
from opt.budget import Budget
from opt.engine import Search, State
from opt.errors import UsageError
from opt.evaluation import CACHE_SIZE, EvaluationFailed
from opt.front import write_front, write_references
from opt.limits import check_time_limit
from opt.loading import name_of
from opt.mending import check_replayable, check_unaltered, draw, mend
from opt.problem import CompressionProblem
from opt.progress import SearchProgress
from opt.run import Run, RunDirectory, code_fingerprint, load_run, now, versions
from opt.scalarise import Scalariser

DEFAULT_OUT = "runs"
STOP_FILE_SECONDS = 1.0


@dataclass(frozen=True)
class Request:
    """What is asked of one search, as plain data.

    Args:
        algo: Name of the algorithm.
        parameters: Its parameters by name.
        seed: The run's seed, 0 or more.
        budget: When to stop.
        scalarise: "sum", "asf" or "problem", for single-objective algorithms.
        weights: One weight per objective, or None for the problem's own.
        ref: Reference point of "asf", in the objectives' own senses.
        threads: Threads of linear algebra; 1 unless told, so that runs side by side agree with runs alone.
        keep: Most solutions saved as safetensors.
        cache_size: Distinct candidates whose values are remembered.
        fail_fast: Stop on the first candidate that cannot be evaluated.
        eval_seconds: Most wall-clock seconds that one candidate's evaluation may take; it fails beyond.
    """

    algo: str = "nsga2"
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 1
    budget: Budget = field(default_factory=Budget.of)
    scalarise: str = "sum"
    weights: tuple[float, ...] | None = None
    ref: tuple[float, ...] | None = None
    threads: int = 1
    keep: int = 200
    cache_size: int = CACHE_SIZE
    fail_fast: bool = False
    eval_seconds: float | None = None

    def __post_init__(self) -> None:
        for flag, value, least in (
            ("--seed", self.seed, 0),
            ("--threads", self.threads, 1),
            ("--keep", self.keep, 0),
            ("--cache-size", self.cache_size, 1),
        ):
            if value < least:
                raise UsageError(f"{flag} must be at least {least}, got {value}")
        if self.eval_seconds is not None and not 0 < self.eval_seconds < math.inf:
            raise UsageError(f"--eval-time must be longer than 0 and finite, got {self.eval_seconds:g} s")

    @classmethod
    def from_manifest(cls, manifest: dict[str, Any]) -> Request:
        """The request that a run was made from.

        Raises:
            UsageError: It lacks something, or has what this program does not know.
        """
        try:
            asked = dict(manifest["request"])
            for name in ("weights", "ref"):
                asked[name] = None if asked[name] is None else tuple(asked[name])
            return cls(**(asked | {"budget": Budget(**asked["budget"])}))
        except (KeyError, TypeError) as error:
            raise UsageError(f"a request cannot be read ({error}); open it with the release that wrote it") from None


def check_request(problem: CompressionProblem, request: Request) -> Scalariser:
    """Refuse what cannot work before anything is written; the scalariser that the request names."""
    spec = find_algorithm(request.algo, problem)
    if request.eval_seconds is not None:
        check_time_limit()
    if problem.representation == "object" and type(problem).fingerprint is CompressionProblem.fingerprint:
        raise UsageError(f"{type(problem).__name__} has object genomes and must override fingerprint(x)")
    build_algorithm(spec, problem, request.parameters)
    if spec.objectives != "one" and (request.weights or request.ref or request.scalarise != "sum"):
        raise UsageError(f"{request.algo} optimises every objective; --weights, --scalarise and --ref are not for it")
    own = problem.scalarise if type(problem).scalarise is not CompressionProblem.scalarise else None
    return Scalariser.of(problem.objectives, kind=request.scalarise, weights=request.weights, ref=request.ref, own=own)


def run_search(
    problem: CompressionProblem,
    request: Request,
    *,
    origin: dict[str, Any],
    out: Path,
    name: str | None = None,
    resume: Run | None = None,
    command: str | None = None,
    silent: bool = False,
    stop_file: Path | None = None,
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
        stop_file: A file whose appearance asks the search to end after the batch under way; its text
            is the reason.

    Raises:
        UsageError: The request does not fit the problem, nothing can be written, `fail_fast` struck,
            or the resumed run does not replay. What was evaluated stays in the run directory.
    """
    with threadpool_limits(limits=request.threads):
        scalariser = check_request(problem, request)
        directory = _open_directory(problem, request, origin=origin, out=out, name=name, resume=resume, command=command)
        progress = SearchProgress(problem.objectives, request.budget, silent=silent)
        try:
            if directory.n_dropped:
                progress.note(
                    f"{directory.path / 'journal.jsonl'}: the end, {directory.n_dropped} bytes, fails its check, torn "
                    "by the death of its process or altered; it is dropped and evaluated anew"
                )
            search = Search(
                problem,
                find_algorithm(request.algo, problem),
                dict(request.parameters),
                seed=request.seed,
                budget=request.budget,
                scalariser=scalariser,
                recorder=directory,
                cache_size=request.cache_size,
                fail_fast=request.fail_fast,
                on_generation=progress,
                eval_seconds=request.eval_seconds,
            )
            if stop_file is not None:
                search.on_generation = _stopping(search, stop_file)
            if resume is not None:
                _end_as_before(search, resume)
            with stop_on_signals(search):
                failed = _search(search, directory)
                progress.finish(search.state)
                _save(search, directory, problem, request, progress, failed=failed)
        except OSError as error:
            raise UsageError(
                f"cannot write {directory.path}: {error.strerror or error}; what was recorded is kept: make room and "
                f"go on with python -m opt.solve --resume {directory.path}"
            ) from None
        finally:
            with contextlib.suppress(OSError):
                directory.close()
    run = load_run(directory.path)
    if failed:
        raise UsageError(f"{failed}; the run is kept in {directory.path}")
    return run


def minimize(
    problem: Problem,
    algo: str = "nsga2",
    *,
    seed: int = 1,
    n_gen: int | None = None,
    n_eval: int | None = None,
    time: str | float | None = None,
    patience: int | None = None,
    weights: Sequence[float] | None = None,
    scalarise: str = "sum",
    ref: Sequence[float] | None = None,
    out: str | Path = DEFAULT_OUT,
    resume: str | Path | None = None,
    threads: int = 1,
    keep: int = 200,
    fail_fast: bool = False,
    verbose: bool = False,
    **parameters: Any,
) -> Run:
    """Search `problem` with the algorithm called `algo`; after pymoo's function of the same name.

    Args:
        problem: A CompressionProblem or any pymoo Problem.
        algo: A name from `python -m opt.solve --list`.
        seed: Everything random descends from it.
        n_gen: Budget in generations; 50 when no budget is given.
        n_eval: Budget in evaluations of distinct candidates.
        time: Budget in seconds, or text such as "10m".
        patience: Stop after so many generations without a gain in hypervolume.
        weights: One per objective, for single-objective algorithms; the problem's own when not given.
        scalarise: "sum", "asf", or "problem" for the problem's own.
        ref: Reference point of "asf", one value per objective in its own sense.
        out: Folder for the run directory.
        resume: An unfinished run of the same problem and request to go on with; the rest of the
            arguments then come from that run.
        threads: Threads of linear algebra.
        keep: Most solutions saved as safetensors.
        fail_fast: Stop on the first candidate that cannot be evaluated.
        verbose: Show progress.
        **parameters: The algorithm's own parameters, such as `pop_size=40`; each name is checked. A function,
            such as annealing's `schedule`, must stand at the top of a module, by whose name the run knows it.

    Returns:
        The saved run, with `.front` as a DataFrame and `.plot()`.

    Raises:
        UsageError: As `run_search`.
    """
    task = as_compression_problem(problem)
    origin = _origin(problem, task)
    if resume is not None:
        run = load_run(resume)

        def go_on() -> Run:
            request = Request.from_manifest(run.manifest)
            return run_search(task, request, origin=origin, out=Path(out), resume=run, silent=not verbose)

        if run.status != "finished":
            return go_on()
        mend(run, go_on)
        return load_run(resume)
    request = Request(
        algo=algo,
        parameters={k: name_of(v, k) if callable(v) else v for k, v in parameters.items()},
        seed=seed,
        budget=Budget.of(n_gen=n_gen, n_eval=n_eval, time=time, patience=patience),
        scalarise=scalarise,
        weights=None if weights is None else tuple(weights),
        ref=None if ref is None else tuple(ref),
        threads=threads,
        keep=keep,
        fail_fast=fail_fast,
    )
    return run_search(task, request, origin=origin, out=Path(out), silent=not verbose)


def _origin(problem: Problem, task: CompressionProblem) -> dict[str, Any]:
    """Where a problem made in Python comes from; its parameters are not known."""
    inner = problem if not isinstance(task, PlainProblem) else task.inner
    try:
        file = inspect.getsourcefile(type(inner))
    except TypeError:
        file = None
    return {"name": task.name(), "file": file, "class": type(inner).__qualname__, "parameters": None}


def _open_directory(
    problem: CompressionProblem,
    request: Request,
    *,
    origin: dict[str, Any],
    out: Path,
    name: str | None,
    resume: Run | None,
    command: str | None,
) -> RunDirectory:
    if resume is not None:
        expected, found = resume.manifest["objectives"], _objectives(problem)
        if expected != found:
            raise UsageError(f"{resume.path} was made for objectives {_names(expected)}, not {_names(found)}")
        check_unaltered(resume)
        is_finished = resume.manifest["status"] == "finished"
        if is_finished:
            check_replayable(resume)
        try:
            directory = RunDirectory(resume.path, resume.manifest)
            if not is_finished:  # one that is mended stays finished, whatever befalls the mending
                directory.update(status="running")
        except OSError as error:
            reason = error.strerror or error
            raise UsageError(f"cannot write {resume.path}: {reason}; nothing was lost, make room and resume") from None
        return directory
    manifest = {
        "command": command,
        "problem": origin,
        "objectives": _objectives(problem),
        "algo": {"name": request.algo, "parameters": _all_parameters(request, problem)},
        "seed": request.seed,
        "budget": request.budget.as_dict(),
        "request": asdict(request),
        "versions": versions(),
        "code": code_fingerprint(origin["file"]),
        "data": problem.data_fingerprint(),
    }
    stem = f"{_slug(origin['name'])}-{_slug(request.algo)}-s{request.seed}"
    return RunDirectory.create(out, stem, manifest, name=name)


def _search(search: Search, directory: RunDirectory) -> str:
    """Run the search; the reason when it failed, else an empty string."""
    try:
        search.run()
    except EvaluationFailed as error:
        return str(error)
    except KeyboardInterrupt:
        # a second signal: the batch under way is given up, everything before it is recorded
        search.state.stop_reason = search.stop_requested or "interrupted"
    return ""


def _save(
    search: Search,
    directory: RunDirectory,
    problem: CompressionProblem,
    request: Request,
    progress: SearchProgress,
    *,
    failed: str,
) -> None:
    state = search.state
    interrupted = bool(search.stop_requested) and state.stop_reason == search.stop_requested
    before = directory.manifest
    is_mended = before["status"] == "finished" and state.n_gen >= before.get("n_gen", 0)
    n = len(search.archive)
    progress.note(f"{failed or state.stop_reason}; testing and saving {n} solution{'s' if n != 1 else ''}")
    write_front(directory, problem, search.archive, keep=request.keep)
    write_references(directory, problem)
    exact = problem.pareto_front()
    directory.finish(
        status="failed" if failed else "interrupted" if interrupted and not is_mended else "finished",
        ended=before.get("ended", now()) if is_mended else now(),
        stop_reason=failed or state.stop_reason,
        n_gen=state.n_gen,
        n_eval=state.n_eval,
        **({"n_inner_eval": state.n_inner_eval} if search.keeps_journal else {}),
        n_failed=state.n_failed,
        failures=state.failures,
        seconds=round(state.seconds, 3),
        hypervolume=state.hypervolume,
        ref_point=None if search.ref_point is None else search.ref_point.tolist(),
        igd_plus=igd_plus(search.archive.F, np.asarray(exact)) if exact is not None and n else None,
        n_solutions=n,
        stationary=search.is_stationary,
    )
    if n:
        directory.update(plots=draw(load_run(directory.path), progress.note))


def _end_as_before(search: Search, run: Run) -> None:
    """Let a finished run that is replayed to mend its files end where it ended, whatever its times were."""
    if run.manifest["status"] == "finished" and len(search.recorder.records) >= run.manifest.get("n_gen", 0):
        search.stop_requested = str(run.manifest.get("stop_reason", ""))


def _stopping(search: Search, stop_file: Path) -> Callable[[State], None]:
    """The search's display, with a look at the stop file once a second."""
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

    return on_generation


@contextlib.contextmanager
def stop_on_signals(search: Search) -> Iterator[None]:
    """SIGINT and SIGTERM ask the search to stop after the batch under way; a second one gives that up."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if search.stop_requested:
            raise KeyboardInterrupt
        search.stop_requested = f"stopped by {signal.Signals(number).name}"
        print(f"\n{search.stop_requested}: ending after this batch; once more gives it up", file=sys.stderr)

    previous = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _all_parameters(request: Request, problem: CompressionProblem) -> dict[str, Any]:
    """The algorithm's parameters with the defaults filled in."""
    spec = find_algorithm(request.algo, problem)
    return {name: request.parameters.get(name, p.default) for name, p in spec.parameters.items()}


def _objectives(problem: CompressionProblem) -> list[dict[str, Any]]:
    return [asdict(o) for o in problem.objectives]


def _names(objectives: list[dict[str, Any]]) -> str:
    return ", ".join(o["name"] for o in objectives)


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+,_-" else "-" for c in name.lower())
