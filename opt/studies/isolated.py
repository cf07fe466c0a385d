"""python -m opt.studies.isolated PARENT: one planned run in a process of its own, under limits of time and memory.

PARENT is the id of the process that waits for it, and with which it ends. Reads `{"planned": ..., "stop_file": ...,
"n_bytes": ...}` on stdin and writes the outcome as the last line of stdout. A process that dies, whatever of, is an
outcome too.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.files.locking import InUseError
from opt.processes.child_process import end_with, how_it_ended
from opt.processes.memory_limit import limit_memory
from opt.runs.run import load_run
from opt.runs.run_listing import record_failure
from opt.search.progress import duration
from opt.studies.planned_run import PlannedRun, run_planned

GRACE_SECONDS = 20.0
"""A run past its time has so long to end its batch and save its front before it is killed."""


def run_isolated(
    planned: PlannedRun,
    *,
    seconds: float | None = None,
    n_bytes: int | None = None,
    stop_file: Path | None = None,
    is_forced: bool = False,
) -> str:
    """Carry out a named run in a process of its own; the reason when it failed, else an empty string.

    A run that is ended by its limit of time, or whose process dies, is recorded as failed in its
    manifest; its journal is kept, so that it can go on.

    Args:
        planned: What to run.
        seconds: Most wall-clock seconds.
        n_bytes: Most memory of the process; an evaluation that needs more fails alone.
        stop_file: As `run_task` takes it.
        is_forced: As `run_task` takes it.

    Raises:
        InUseError: Another process works on the run directory.
    """
    order = {
        "planned": planned.as_dict(),
        "stop_file": None if stop_file is None else str(stop_file),
        "n_bytes": n_bytes,
        "is_forced": is_forced,
    }
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "opt.studies.isolated", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path)},
    )
    try:
        answer, errors, is_late = _talk(process, json.dumps(order), seconds)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    if is_late and _is_finished(planned.path):
        return ""
    if seconds is not None and is_late:
        reason = f"took longer than its limit of {duration(seconds)}"
    elif process.returncode == 0:
        outcome = json.loads(answer.splitlines()[-1])
        if outcome["is_in_use"]:
            raise InUseError(outcome["error"])
        return str(outcome["error"])
    else:
        reason = _died(process.returncode, errors)
        if n_bytes is not None:
            reason += f"; its memory is limited to {n_bytes / 1e6:.0f} MB"
    record_failure(planned.path, reason)
    return reason


def _talk(process: subprocess.Popen[str], order: str, seconds: float | None) -> tuple[str, str, bool]:
    """(stdout, stderr, whether the time was up before the process ended)."""
    try:
        return *process.communicate(order, timeout=seconds), False
    except subprocess.TimeoutExpired:
        process.terminate()
    try:
        return *process.communicate(timeout=GRACE_SECONDS), True
    except subprocess.TimeoutExpired:
        process.kill()
        return *process.communicate(), True


def _is_finished(path: Path) -> bool:
    with contextlib.suppress(UsageError):
        return load_run(path).status == "finished"
    return False


def _died(code: int, errors: str) -> str:
    lines = errors.strip().splitlines()
    return how_it_ended(code) + (f": {lines[-1]}" if code >= 0 and lines else "")


def main(parent: int) -> int:
    """Carry out the planned run on stdin, unless the process `parent` that asked for it is gone."""
    end_with(parent, by_kernel=True)
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    if order["n_bytes"] is not None:
        limit_memory(order["n_bytes"])
    error, is_in_use = "", False
    try:
        stop_file = None if order["stop_file"] is None else Path(order["stop_file"])
        run_planned(PlannedRun.from_dict(order["planned"]), stop_file=stop_file, is_forced=order["is_forced"])
    except UsageError as failure:
        error, is_in_use = str(failure), isinstance(failure, InUseError)
    # a line of its own, whatever the problem printed
    print("\n" + json.dumps({"error": error, "is_in_use": is_in_use}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
