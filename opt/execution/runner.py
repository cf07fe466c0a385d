"""One search from request to run directory; what the command and `opt.minimize` both call."""

from __future__ import annotations

import contextlib
import math
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic as time_now
from typing import Any

from threadpoolctl import threadpool_limits

from opt.algorithms import AlgorithmSpec, build_algorithm, find_algorithm
from opt.algorithms.interface.warm_start import Start, offering
from opt.console.command import spelled, warn
from opt.console.errors import UsageError
from opt.execution.mending import check_replayable, check_unaltered, draw
from opt.execution.saved_start import save_start, saved_start
from opt.execution.trust import Code, function_digests
from opt.files import atomic
from opt.files.locking import this_process
from opt.flags.search_options import CommandOptions, SearchOptions, check_option
from opt.fronts.archive import igd_plus
from opt.problem import CompressionProblem
from opt.problem.hooks import Complaints, HookError, exact_front_of, scalarise_of
from opt.problem.provenance import check_unchanged, provenance
from opt.processes.stop_signals import GivenUpError, on_stop_signals
from opt.runs.front_files import write_front, write_references
from opt.runs.run import Run, load_run
from opt.runs.run_directory import RunDirectory, now
from opt.search.budget import Budget
from opt.search.engine import Search
from opt.search.evaluation import EvaluationFailed
from opt.search.evaluation_process import check_apart
from opt.search.progress import SearchProgress
from opt.search.scalarise import Scalariser
from opt.search.search_state import State

TRACEBACK = "traceback.txt"
"""Where a run that the user's code ended keeps what a programmer wants to see."""
STOP_FILE_SECONDS = 1.0
LONGEST_SLUG = 80
"""Bytes of a problem's name in that of its run directory; a file system takes 255 in all."""


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
        start: Path of a saved run whose front are the first candidates, or None.
    """

    algo: str = CommandOptions.algo
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = CommandOptions.seed
    budget: Budget = field(default_factory=Budget.of)
    scalarise: str = SearchOptions.scalarise
    weights: tuple[float, ...] | None = None
    ref: tuple[float, ...] | None = None
    threads: int = SearchOptions.threads
    keep: int = SearchOptions.keep
    cache_size: int = SearchOptions.cache_size
    fail_fast: bool = False
    eval_seconds: float | None = None
    start: str | None = None

    def __post_init__(self) -> None:
        for name in ("seed", "threads", "keep", "cache-size"):
            check_option(name, getattr(self, name.replace("-", "_")))
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


def check_request(
    problem: CompressionProblem, request: Request, *, spec: AlgorithmSpec | None = None, start: Start | None = None
) -> Scalariser:
    """Refuse what cannot work before anything is written; the scalariser that the request names.

    Args:
        problem: What is searched.
        request: How.
        spec: The algorithm, where it is none that the request can name.
        start: Candidates to begin with, or None.
    """
    spec = spec or find_algorithm(request.algo, problem)
    if request.eval_seconds is not None:
        check_apart()
    if problem.representation == "object" and type(problem).fingerprint is CompressionProblem.fingerprint:
        raise UsageError(f"{type(problem).__name__} has object genomes and must override fingerprint(x)")
    with offering(problem, None if start is None else start.X, spec.name):
        build_algorithm(spec, problem, request.parameters)
    if spec.objectives != "one" and (request.weights or request.ref or request.scalarise != "sum"):
        raise UsageError(f"{request.algo} optimises every objective; --weights, --scalarise and --ref are not for it")
    own = scalarise_of(problem)
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
        stop_file: A file whose appearance asks the search to end after the batch under way; its text
            is the reason.
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
        manifest, made_by = _manifest(problem, request, spec, origin=origin, command=command)
        changed = {}
        if resume is not None:
            check_unaltered(resume)
            if resume.manifest["objectives"] != manifest["objectives"]:
                wanted, found = (_names(m["objectives"]) for m in (resume.manifest, manifest))
                raise UsageError(f"{resume.path} was made for objectives {wanted}, not {found}")
            changed = check_unchanged(resume.path, resume.manifest, made_by, is_forced=is_forced)
            start = saved_start(resume, problem, given=start, trust=trust)
        scalariser = check_request(problem, request, spec=spec, start=start)
        directory = _open_directory(manifest, out=out, name=name, resume=resume, changed=changed, start=start)
        progress = SearchProgress(problem.objectives, request.budget, silent=silent)
        try:
            if directory.n_dropped:
                progress.note(
                    f"{directory.path / 'journal.jsonl'}: the end, {directory.n_dropped} bytes, fails its check, torn "
                    "by the death of its process or altered; it is dropped and evaluated anew"
                )
            search = _built(
                directory,
                problem,
                spec,
                dict(request.parameters),
                seed=request.seed,
                budget=request.budget,
                scalariser=scalariser,
                cache_size=request.cache_size,
                fail_fast=request.fail_fast,
                on_generation=progress,
                eval_seconds=request.eval_seconds,
                start=start,
                callback=callback,
            )
            if search.budget != request.budget:
                progress.note(f"there are {search.n_distinct} distinct candidates: --n-eval is cut to as many")
            if stop_file is not None:
                search.on_generation = _stopping(search, stop_file)
            if resume is not None:
                search.ends_replayed = _reason_to_end(search, resume)
            with stop_on_signals(search):
                failed = _search(search, directory)
                progress.finish(search.state)
                if failed and directory.manifest["status"] == "finished":
                    raise UsageError(f"{failed}; {directory.path} is as it was, finished")
                _save(search, directory, problem, request, progress, failed=failed)
        except OSError as error:
            raise UsageError(
                f"cannot write {directory.path}: {error.strerror or error}; what was recorded is kept: make room and "
                f"go on with {spelled('solve')} --resume {directory.path}"
            ) from None
        finally:
            with contextlib.suppress(OSError):
                directory.close()
    run = load_run(directory.path)
    if failed:
        raise UsageError(f"{failed}; the run is kept in {directory.path}")
    return run


def _manifest(
    problem: CompressionProblem,
    request: Request,
    spec: AlgorithmSpec,
    *,
    origin: dict[str, Any],
    command: str | None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a new run's manifest says before it begins, and what its values depend on."""
    asked = {"algo": request.parameters, "problem": origin["parameters"] or {}}
    made_by = provenance(problem, asked)
    parameters = {name: request.parameters.get(name, p.default) for name, p in spec.parameters.items()}
    file = None if origin["file"] is None else Path(origin["file"])
    functions = function_digests([Code(file=file, parameters=tuple(asked.values()))])
    made_by |= {"functions": functions} if functions else {}
    manifest = {
        "command": command,
        "problem": origin | {"arguments": made_by["arguments"]},
        "objectives": _objectives(problem),
        "algo": {"name": request.algo, "parameters": parameters}
        | ({"object": spec.objectives} if spec.is_foreign else {}),
        "seed": request.seed,
        "budget": request.budget.as_dict(),
        "request": asdict(request),
        **{name: value for name, value in made_by.items() if name != "arguments"},
    }
    return manifest, made_by


def _open_directory(
    manifest: dict[str, Any],
    *,
    out: Path,
    name: str | None,
    resume: Run | None,
    changed: dict[str, Any],
    start: Start | None,
) -> RunDirectory:
    if resume is None:
        stem = f"{_slug(manifest['problem']['name'])}-{_slug(manifest['algo']['name'])}-s{manifest['seed']}"

        def fill(folder: Path) -> None:
            if start is not None:
                save_start(folder, start)

        return RunDirectory.create(out, stem, manifest, name=name, fill=fill)
    is_finished = resume.manifest["status"] == "finished"
    if is_finished:
        check_replayable(resume)
    try:
        directory = RunDirectory(resume.path, resume.manifest)
        if changed:
            directory.resumed_with = {"at": now(), "n_gen": len(directory.records), **changed}
        if not is_finished:  # one that is mended stays finished, whatever befalls the mending
            directory.forget("plots", "complaints")
            directory.update(status="running", process=this_process())
            (resume.path / TRACEBACK).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write {resume.path}: {reason}; nothing was lost, make room and resume") from None
    return directory


def _built(directory: RunDirectory, *arguments: Any, **options: Any) -> Search:
    """A Search; where the user's code fails before it begins, the run is noted as failed."""
    try:
        return Search(*arguments, recorder=directory, **options)
    except HookError as error:
        _keep_traceback(directory, error)
        if directory.manifest["status"] != "finished":
            directory.update(status="failed", stop_reason=str(error), ended=now())
        raise


def _keep_traceback(directory: RunDirectory, error: Exception) -> None:
    if error.__cause__ is not None:
        text = "".join(traceback.format_exception(error.__cause__))
        atomic.write_bytes(directory.path / TRACEBACK, text.encode("utf-8", "backslashreplace"))


def _search(search: Search, directory: RunDirectory) -> str:
    """Run the search; the reason when it failed, else an empty string."""
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
    interrupted = bool(search.stop_requested) and state.stop_reason == search.stop_requested != search.ends_replayed
    before = directory.manifest
    is_mended = before["status"] == "finished" and state.n_gen >= before.get("n_gen", 0)
    n = len(search.archive)
    progress.note(f"{failed or state.stop_reason}; testing and saving {n} solution{'s' if n != 1 else ''}")
    complaints = Complaints()
    write_front(directory, problem, search.archive, keep=request.keep, complaints=complaints)
    exact = exact_front_of(problem, complaints)
    write_references(directory, problem, exact, complaints=complaints, eval_seconds=request.eval_seconds)
    for text in complaints.texts:
        warn(text)
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
        igd_plus=igd_plus(search.archive.F, exact) if exact is not None and n else None,
        n_solutions=n,
        stationary=search.is_stationary,
        **({"complaints": complaints.texts} if complaints.texts else {}),
    )
    if n:
        directory.update(plots=draw(load_run(directory.path), progress.note))


def _reason_to_end(search: Search, run: Run) -> str:
    """Why a finished run that is replayed to mend its files ends where it ended, whatever its times were."""
    if run.manifest["status"] == "finished" and len(search.recorder.records) >= run.manifest.get("n_gen", 0):
        return str(run.manifest.get("stop_reason", ""))
    return ""


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

    def ask(reason: str) -> None:
        if search.stop_requested:
            raise GivenUpError
        search.stop_requested = reason
        print(f"\n{reason}: ending after this batch; once more gives it up", file=sys.stderr)

    with on_stop_signals(ask):
        yield


def _objectives(problem: CompressionProblem) -> list[dict[str, Any]]:
    return [asdict(o) for o in problem.objectives]


def _names(objectives: list[dict[str, Any]]) -> str:
    return ", ".join(o["name"] for o in objectives)


def _slug(name: str) -> str:
    slug = "".join(c if c.isalnum() or c in "+,_-" else "-" for c in name.lower())
    return slug.encode()[:LONGEST_SLUG].decode(errors="ignore")
