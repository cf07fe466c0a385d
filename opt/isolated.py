"""python -m opt.isolated: one task in a process of its own, under limits of time and memory.

Reads `{"task": ..., "stop_file": ..., "n_bytes": ...}` on stdin and writes the outcome as the last
line of stdout. A process that dies, whatever of, is an outcome too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from opt.errors import UsageError
from opt.limits import limit_memory
from opt.progress import duration
from opt.run import record_failure
from opt.task import Task, run_task

GRACE_SECONDS = 20.0
"""A run past its time has so long to end its batch and save its front before it is killed."""
_PR_SET_PDEATHSIG = 1


def run_isolated(
    task: Task, *, seconds: float | None = None, n_bytes: int | None = None, stop_file: Path | None = None
) -> str:
    """Carry out a named task in a process of its own; the reason when it failed, else an empty string.

    A run that is ended by its limit of time, or whose process dies, is recorded as failed in its
    manifest; its journal is kept, so that it can go on.

    Args:
        task: What to run.
        seconds: Most wall-clock seconds.
        n_bytes: Most memory of the process; an evaluation that needs more fails alone.
        stop_file: As `run_task` takes it.
    """
    order = {"task": task.as_dict(), "stop_file": None if stop_file is None else str(stop_file), "n_bytes": n_bytes}
    process = subprocess.Popen(
        [sys.executable, "-m", "opt.isolated"],
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
    if seconds is not None and is_late:
        reason = f"took longer than its limit of {duration(seconds)}"
    elif process.returncode == 0:
        return str(json.loads(answer.splitlines()[-1])["error"])
    else:
        reason = _died(process.returncode, errors)
        if n_bytes is not None:
            reason += f"; its memory is limited to {n_bytes / 1e6:.0f} MB"
    record_failure(task.path, reason)
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


def _died(code: int, errors: str) -> str:
    lines = errors.strip().splitlines()
    if code >= 0:
        return f"its process ended with code {code}{': ' + lines[-1] if lines else ''}"
    name = signal.Signals(-code).name
    hint = ", as the system does when memory runs out" if -code == signal.SIGKILL else ""
    return f"its process was ended by {name}{hint}"


def main() -> int:
    """Carry out the task on stdin."""
    with contextlib.suppress(OSError, AttributeError):  # Linux: die with the process that waits for the answer
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    order: dict[str, Any] = json.loads(sys.stdin.readline())
    if order["n_bytes"] is not None:
        limit_memory(order["n_bytes"])
    error = ""
    try:
        run_task(
            Task.from_dict(order["task"]), stop_file=None if order["stop_file"] is None else Path(order["stop_file"])
        )
    except UsageError as failure:
        error = str(failure)
    print(json.dumps({"error": error}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
