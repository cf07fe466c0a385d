"""Background processes of a test: started with a log each, and all of them gone afterwards."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class ClusterUnavailable(RuntimeError):
    """A cluster can't be started here; the message is the reason, in one line."""


class Daemons:
    """Processes that live as long as a `with` block.

    Args:
        folder: Where each process's output is written, as `NAME.log`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: dict[str, subprocess.Popen] = {}

    def __enter__(self) -> Daemons:
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self.processes.values()):
            stop_process(process)

    def start(self, name: str, command: Sequence[object], *, env: Mapping[str, str] | None = None) -> subprocess.Popen:
        """Start `command` in a session of its own.

        Where util-linux is there, the kernel kills it when the thread that called this ends, however that ends.
        """
        prefix = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
        with open(self.log(name), "wb") as log:
            self.processes[name] = subprocess.Popen(
                [*prefix, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=env,
                start_new_session=True,
            )
        return self.processes[name]

    def log(self, name: str) -> Path:
        """The file that holds what process `name` wrote."""
        return self.folder / f"{name}.log"

    def wait(self, ready: Callable[[], bool], *, what: str, seconds: float) -> None:
        """Wait until `ready()`.

        Raises:
            ClusterUnavailable: A process ended, or the time is over; with the last line that the process wrote.
        """
        end = time.monotonic() + seconds
        while not ready():
            for name, process in self.processes.items():
                if process.poll() is not None:
                    raise ClusterUnavailable(f"{name} ended with code {process.returncode}: {self._last_words(name)}")
            if time.monotonic() > end:
                name = next(reversed(self.processes))
                raise ClusterUnavailable(f"{what} after {seconds:g} s; {name} says: {self._last_words(name)}")
            time.sleep(0.05)

    def _last_words(self, name: str) -> str:
        lines = [line.strip() for line in self.log(name).read_text(errors="replace").splitlines() if line.strip()]
        # daemons go on to say that they stop: the error is what matters
        errors = [line for line in lines if "error" in line.lower()]
        return (errors or lines or ["nothing"])[-1]


def stop_process(process: subprocess.Popen, *, seconds: float = 2.0) -> None:
    """End a process that this one started: by SIGTERM, and by SIGKILL if it does not listen."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
    process.wait()
