"""dask-jobqueue on a real Slurm: a job is submitted, its worker connects, a function runs in it."""

from __future__ import annotations

import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("cluster")
pytest.importorskip("dask_jobqueue", reason="the package dask-jobqueue is not installed")


def where():
    return os.environ["SLURM_JOB_ID"], os.environ["SLURMD_NODENAME"], os.environ["GREETING"], os.getpid()


def jobs(env):
    command = ["squeue", "--noheader", "--format=%A"]
    return subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout.split()


def test_function_runs_in_a_job_of_slurm(slurm, tmp_path):
    from dask_jobqueue import SLURMCluster
    from distributed import Client

    with (
        SLURMCluster(
            queue="all",
            cores=1,
            processes=1,
            memory="500MiB",
            walltime="00:05:00",
            nanny=False,
            interface="lo",
            death_timeout=30,
            local_directory=str(tmp_path),
            log_directory=str(tmp_path),
            # a worker that can't import the function's module ends at once
            job_script_prologue=[
                f"export PYTHONPATH={shlex.quote(str(Path(__file__).parent))}",
                "export GREETING='from the job'",
            ],
            scheduler_options={"dashboard_address": "127.0.0.1:0"},
        ) as cluster,
        Client(cluster) as client,
    ):
        assert cluster.scheduler_address.startswith("tcp://127.0.0.1:")
        script = cluster.job_script().splitlines()
        assert "#SBATCH -p all" in script and "#SBATCH --mem=500M" in script and "#SBATCH -t 00:05:00" in script
        assert "export GREETING='from the job'" in script
        cluster.scale(jobs=1)
        client.wait_for_workers(1, timeout=20)
        job, node, greeting, pid = client.submit(where, pure=False).result(timeout=10)
        assert (job, node, greeting) == (*jobs(slurm), "localhost", "from the job")
        assert pid != os.getpid()
    end = time.monotonic() + 10
    while jobs(slurm):
        assert time.monotonic() < end, "the job must end with its cluster"
        time.sleep(0.1)
