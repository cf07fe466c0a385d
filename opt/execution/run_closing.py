"""Closing a run: its front tested and saved, the references, the totals in the manifest, the pictures."""

from __future__ import annotations

from typing import Any

import numpy as np

from opt.console.command import warn
from opt.execution.mending import draw
from opt.execution.request import SearchRequest
from opt.fronts.archive import igd_plus
from opt.problem import CompressionProblem
from opt.problem.hooks import Complaints, exact_front_of
from opt.runs.front_files import write_front, write_references
from opt.runs.run import load_run
from opt.runs.run_directory import RunDirectory, now
from opt.search.engine import Search
from opt.search.progress import SearchProgress


def close_run(
    search: Search,
    directory: RunDirectory,
    problem: CompressionProblem,
    request: SearchRequest,
    progress: SearchProgress,
    *,
    failure: str,
) -> None:
    """Write what a search has come to, whether it ended, was stopped or failed.

    Args:
        search: The search.
        directory: Where its run is written.
        problem: What was searched.
        request: How.
        progress: Where it is told.
        failure: Why it failed; "" where it did not.
    """
    n = len(search.archive)
    progress.note(f"{failure or search.state.stop_reason}; testing and saving {n} solution{'s' if n != 1 else ''}")
    complaints = Complaints()
    write_front(directory, problem, search.archive, keep=request.keep, complaints=complaints)
    exact = exact_front_of(problem, complaints)
    write_references(directory, problem, exact, complaints=complaints, eval_seconds=request.eval_seconds)
    for text in complaints.texts:
        warn(text)
    directory.finish(
        **_outcome(search, directory.manifest, failure=failure),
        **_totals(search, exact),
        **({"complaints": complaints.texts} if complaints.texts else {}),
    )
    if n:
        directory.update(plots=draw(load_run(directory.path), progress.note))


def _outcome(search: Search, before: dict[str, Any], *, failure: str) -> dict[str, Any]:
    """How and when the run ended; one that was finished before and is only mended ends as it did then."""
    state = search.state
    is_mended = before["status"] == "finished" and state.n_gen >= before.get("n_gen", 0)
    is_stopped = bool(search.stop_requested) and state.stop_reason == search.stop_requested != search.ends_replayed
    return {
        "status": "failed" if failure else "interrupted" if is_stopped and not is_mended else "finished",
        "ended": before.get("ended", now()) if is_mended else now(),
        "stop_reason": failure or state.stop_reason,
    }


def _totals(search: Search, exact: np.ndarray | None) -> dict[str, Any]:
    """What the search spent and reached; IGD+ where the exact front is known, (m, n_obj)."""
    state, archive = search.state, search.archive
    return {
        "n_gen": state.n_gen,
        "n_eval": state.n_eval,
        **({"n_inner_eval": state.n_inner_eval} if search.keeps_journal else {}),
        "n_failed": state.n_failed,
        "failures": state.failures,
        "seconds": round(state.seconds, 3),
        "hypervolume": state.hypervolume,
        "ref_point": None if search.ref_point is None else search.ref_point.tolist(),
        "igd_plus": igd_plus(archive.F, exact) if exact is not None and len(archive) else None,
        "n_solutions": len(archive),
        "stationary": search.is_stationary,
    }
