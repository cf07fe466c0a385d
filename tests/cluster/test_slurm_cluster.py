"""The Slurm that other tests use is a real one, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import time
from pathlib import Path

import pytest
import slurm_cluster
from daemons import ClusterUnavailable
from slurm_cluster import local_slurm, processes_of

pytestmark = pytest.mark.xdist_group("cluster")


def call(*command, env):
    return subprocess.run([*map(str, command)], env=env, check=True, capture_output=True, text=True).stdout.strip()


def wait_for(ready, seconds=15):
    end = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < end
        time.sleep(0.05)


def write_job(folder, *lines):
    file = folder / "job.sh"
    file.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    return file


def listening_addresses():
    """Port -> addresses (as /proc/net writes them) that this machine listens on, IPv4."""
    addresses = {}
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, _, state = line.split()[:4]
        if state == "0A":
            address, port = local.split(":")
            addresses.setdefault(int(port, 16), set()).add(address)
    return addresses


def test_node_is_idle_and_listens_on_the_loopback_address_only(slurm):
    assert call("sinfo", "--noheader", "--format=%N %T %c %m", env=slurm) == "localhost idle 4 8000"
    configuration = Path(slurm["SLURM_CONF"]).read_text()
    ports = [int(port) for port in re.findall(r"(?:SlurmctldPort|SlurmdPort)=(\d+)", configuration)]
    assert [listening_addresses()[port] for port in ports] == [{"0100007F"}] * 2


def test_submitted_job_runs_under_slurm(slurm, tmp_path):
    job = write_job(tmp_path, 'echo "$SLURM_JOB_ID $SLURMD_NODENAME $SLURM_CPUS_ON_NODE" > part', "mv part result")
    number = call("sbatch", "--parsable", "--cpus-per-task=2", "--mem=1G", f"--chdir={tmp_path}", job, env=slurm)
    wait_for((tmp_path / "result").exists)
    assert (tmp_path / "result").read_text() == f"{number} localhost 2\n"
    wait_for(lambda: call("squeue", "--noheader", env=slurm) == "")


def test_job_that_asks_for_more_than_the_node_has_is_refused(slurm, tmp_path):
    job = write_job(tmp_path, "true")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        call("sbatch", "--mem=9G", job, env=slurm)
    assert "Requested node configuration is not available" in caught.value.stderr


def test_nothing_is_left_even_of_a_job_that_ignores_signals(tmp_path_factory):
    folder = tmp_path_factory.mktemp("slurm")
    # it outlives scancel's SIGTERM, and its child leaves the job's session
    stubborn = write_job(folder, "trap '' TERM INT HUP", "setsid sleep 300 &", "echo $$ $! > pids", "sleep 300")
    try:
        with local_slurm(folder) as environment:
            assert len(processes_of(folder / "slurm.conf")) >= 3
            call("sbatch", f"--chdir={folder}", stubborn, env=environment)
            wait_for(lambda: (folder / "pids").exists() and (folder / "pids").read_text().endswith("\n"))
            pids = [int(pid) for pid in (folder / "pids").read_text().split()]
            assert set(pids) < set(processes_of(folder / "slurm.conf"))
    except ClusterUnavailable as error:
        pytest.skip(f"no Slurm: {error}")
    assert processes_of(folder / "slurm.conf") == []
    assert not any(Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


def test_says_which_programs_are_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "PROGRAMS", ("munged-of-nobody", "sh", "slurmd-of-nobody"))
    with pytest.raises(ClusterUnavailable, match=r"^munged-of-nobody, slurmd-of-nobody not found: install slurm-wlm"):
        local_slurm(tmp_path).__enter__()


def test_says_that_root_is_needed(tmp_path, monkeypatch):
    monkeypatch.setattr(slurm_cluster, "PROGRAMS", ("sh",))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ClusterUnavailable, match="must be started by root, and this is user 1000"):
        local_slurm(tmp_path).__enter__()


def test_says_what_a_daemon_complains_of(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("slurm")
    try:
        slurm_cluster._find_programs(folder)
    except ClusterUnavailable as error:
        pytest.skip(f"no Slurm: {error}")
    taken = socket.socket()
    taken.bind(("127.0.0.1", 0))
    monkeypatch.setattr(slurm_cluster, "_free_ports", lambda n: [taken.getsockname()[1]] * n)
    with taken, pytest.raises(ClusterUnavailable, match=r"^slurm\w+ ended with code .*[Aa]ddress already in use"):
        local_slurm(folder).__enter__()
    assert processes_of(folder / "slurm.conf") == []
