"""A real Dask cluster on this machine: a scheduler and workers, each an operating system process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from daemons import ClusterUnavailable, Daemons

ROOT = Path(__file__).parents[2]


class DaskCluster(NamedTuple):
    """What runs.

    Args:
        address: The scheduler's, such as `tcp://127.0.0.1:40123`.
        workers: One process each, with one thread; killing one kills the task that it is at.
        scheduler: The scheduler's process.
    """

    address: str
    workers: list[subprocess.Popen]
    scheduler: subprocess.Popen


@contextmanager
def local_dask(
    n_workers: int, *, folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 30.0
) -> Iterator[DaskCluster]:
    """A scheduler with `n_workers` connected workers, as long as the block lasts.

    Args:
        n_workers: How many workers.
        folder: An existing folder for logs and what workers spill.
        environment: Variables beside this process's own, such as `DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES`.
        seconds: How long to wait for the scheduler, and then for the workers.

    Raises:
        ClusterUnavailable: It can't be started here, and why.
    """
    if find_spec("distributed") is None:
        raise ClusterUnavailable("the package distributed is not installed: pip install 'dask[distributed]'")
    from distributed import Client

    # the packages under test are those of this folder, in whatever folder the tests run
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path} | dict(environment or {})
    with Daemons(folder) as daemons:
        file = folder / "scheduler.json"
        # port 0: the system chooses a free one
        options = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = daemons.start(
            "scheduler",
            [sys.executable, "-m", "distributed.cli.dask_scheduler", *options, "--port", "0", "--scheduler-file", file],
            env=env,
        )
        daemons.wait(lambda: _address(file) is not None, what="no scheduler", seconds=seconds)
        address = str(_address(file))
        # no nanny: a killed worker stays away, and the process that is killed is the one that computes
        options += ["--nthreads", "1", "--no-nanny", "--memory-limit", "0", "--death-timeout", str(seconds)]
        workers = [
            daemons.start(
                f"worker-{index}",
                [
                    *(sys.executable, "-m", "distributed.cli.dask_worker", address, *options),
                    *("--name", f"worker-{index}", "--local-directory", folder),
                ],
                env=env,
            )
            for index in range(n_workers)
        ]
        with Client(address, set_as_default=False) as client:
            daemons.wait(lambda: len(client.ncores()) == n_workers, what="workers are missing", seconds=seconds)
        yield DaskCluster(address, workers, scheduler)


def _address(file: Path) -> str | None:
    try:
        return json.loads(file.read_text())["address"]
    except (OSError, ValueError):  # not there, or being written
        return None
