"""Opening a run directory: a new one with its first manifest, or that of a run that is resumed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from opt.algorithms import AlgorithmSpec
from opt.algorithms.interface.warm_start import Start
from opt.console.errors import UsageError
from opt.execution.mending import check_replayable, check_unaltered
from opt.execution.named_code import Code, function_digests
from opt.execution.request import SearchRequest
from opt.execution.saved_start import save_start
from opt.files.locking import this_process
from opt.flags.seeding import resolved
from opt.problem import CompressionProblem
from opt.problem.provenance import check_unchanged, provenance
from opt.runs.run import Run
from opt.runs.run_directory import RunDirectory, now

TRACEBACK = "traceback.txt"
"""Where a run that the user's code ended keeps what a programmer wants to see."""
LONGEST_SLUG = 80
"""Bytes of a problem's name in that of its run directory; a file system takes 255 in all."""


def first_manifest(
    problem: CompressionProblem,
    request: SearchRequest,
    spec: AlgorithmSpec,
    *,
    origin: dict[str, Any],
    command: str | None,
    resume: Run | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What a new run's manifest says before it begins, and what its values depend on.

    Args:
        problem: What is searched.
        request: How.
        spec: The algorithm.
        origin: The problem's `name`, `file`, `class` and `parameters`.
        command: The command line, or None.
        resume: The run that goes on, or None.
    """
    named = {"algo": request.parameters, "problem": origin["parameters"] or {}}
    recorded = {} if resume is None else resume.manifest["problem"]["parameters"] or {}
    made_by = provenance(problem, named, recorded=resolved(recorded, seed=request.seed))
    parameters = {name: request.parameters.get(name, p.default) for name, p in spec.parameters.items()}
    file = None if origin["file"] is None else Path(origin["file"])
    functions = function_digests([Code(file=file, parameters=tuple(named.values()))])
    made_by |= {"functions": functions} if functions else {}
    manifest = {
        "command": command,
        "problem": origin | {"arguments": made_by["arguments"]},
        "objectives": [asdict(o) for o in problem.objectives],
        "algo": {"name": request.algo, "parameters": parameters}
        | ({"object": spec.objectives} if spec.is_foreign else {}),
        "seed": request.seed,
        "budget": request.budget.as_dict(),
        "request": asdict(request),
        **{name: value for name, value in made_by.items() if name != "arguments"},
    }
    return manifest, made_by


def check_resumable(run: Run, manifest: dict[str, Any], made_by: dict[str, Any], *, is_forced: bool) -> dict[str, Any]:
    """Refuse to resume a run that was altered, or is of something else than a new run's manifest would say.

    Args:
        run: The run.
        manifest: Of `first_manifest`.
        made_by: Likewise.
        is_forced: Go on though code, data or versions have changed.

    Returns:
        What has changed, as `check_unchanged` gives it.

    Raises:
        UsageError: It cannot go on.
    """
    check_unaltered(run)
    if run.manifest["objectives"] != manifest["objectives"]:
        theirs, ours = (", ".join(o["name"] for o in m["objectives"]) for m in (run.manifest, manifest))
        raise UsageError(f"{run.path} was made for objectives {theirs}, not {ours}")
    return check_unchanged(run.path, run.manifest, made_by, is_forced=is_forced)


def open_directory(
    manifest: dict[str, Any],
    *,
    out: Path,
    name: str | None,
    resume: Run | None,
    changed: dict[str, Any],
    start: Start | None,
) -> RunDirectory:
    """The run directory to write to: a new one under `out`, or that of a run to go on with.

    Args:
        manifest: Of `first_manifest`, for a new one.
        out: Where a new one is made.
        name: Its name, or None.
        resume: The run to go on with, or to mend where it is finished.
        changed: Of `check_resumable`; noted in its manifest once it goes on.
        start: The candidates that a new run begins with, which are kept in its directory.
    """
    if resume is not None:
        return _reopened(resume, changed)
    stem = f"{_slug(manifest['problem']['name'])}-{_slug(manifest['algo']['name'])}-s{manifest['seed']}"

    def fill(folder: Path) -> None:
        if start is not None:
            save_start(folder, start)

    return RunDirectory.create(out, stem, manifest, name=name, fill=fill)


def _reopened(run: Run, changed: dict[str, Any]) -> RunDirectory:
    is_finished = run.manifest["status"] == "finished"
    if is_finished:
        check_replayable(run)
    try:
        directory = RunDirectory(run.path, run.manifest)
        if changed:
            directory.resumed_with = {"at": now(), "n_gen": len(directory.records), **changed}
        if not is_finished:  # one that is mended stays finished, whatever befalls the mending
            directory.forget("plots", "complaints")
            directory.update(status="running", process=this_process())
            (run.path / TRACEBACK).unlink(missing_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"cannot write {run.path}: {reason}; nothing was lost, make room and resume") from None
    return directory


def _slug(name: str) -> str:
    slug = "".join(c if c.isalnum() or c in "+,_-" else "-" for c in name.lower())
    return slug.encode()[:LONGEST_SLUG].decode(errors="ignore")
