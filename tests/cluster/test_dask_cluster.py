"""The Dask cluster that other tests use: processes of their own, which can be killed, and none left."""

from __future__ import annotations

import importlib.util
import os
import signal
import time

import dask_cluster
import pytest
from daemons import ClusterUnavailable
from dask_cluster import local_dask

pytestmark = pytest.mark.xdist_group("cluster")


def test_workers_are_processes_and_a_killed_one_stays_away(dask):
    cluster = dask(2)
    from distributed import Client

    with Client(cluster.address, set_as_default=False) as client:
        assert cluster.address.startswith("tcp://127.0.0.1:")
        pids = client.run(os.getpid)
        assert sorted(pids.values()) == sorted(worker.pid for worker in cluster.workers)
        assert list(client.nthreads().values()) == [1, 1]
        cluster.workers[0].send_signal(signal.SIGKILL)
        end = time.monotonic() + 10
        while len(client.nthreads()) > 1:
            assert time.monotonic() < end
            time.sleep(0.05)
        assert list(client.run(os.getpid).values()) == [cluster.workers[1].pid]


def test_nothing_is_left_when_the_block_fails(tmp_path):
    pytest.importorskip("distributed", reason="the package distributed is not installed")
    with pytest.raises(ZeroDivisionError), local_dask(1, folder=tmp_path) as cluster:
        raise ZeroDivisionError
    assert cluster.scheduler.poll() is not None
    assert [worker.poll() is not None for worker in cluster.workers] == [True]


def test_says_that_the_package_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(dask_cluster, "find_spec", lambda name: importlib.util.find_spec(f"no_{name}"))
    with pytest.raises(ClusterUnavailable, match=r"^the package distributed is not installed: pip install"):
        local_dask(1, folder=tmp_path).__enter__()
