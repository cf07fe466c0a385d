"""A real Slurm on this machine: munge, a controller and one node, on the loopback address and in one folder."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from daemons import ClusterUnavailable, Daemons

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "scancel", "sinfo", "squeue")
NODE = "localhost"
# slurmd keeps a socket for each job step, and a socket's path may have 107 bytes
LONGEST_FOLDER = 107 - len(f"/spool/{NODE}_4294967295.4294967295")


@contextmanager
def local_slurm(
    folder: Path, *, cpus: int = 4, memory_mb: int = 8000, seconds: float = 20.0
) -> Iterator[dict[str, str]]:
    """Slurm with one idle node, as long as the block lasts; jobs that still run then are cancelled.

    Args:
        folder: An existing folder, for its configuration, key, sockets, state and logs.
        cpus: How many the node says it has, whatever the machine has.
        memory_mb: The same for its memory (MiB).
        seconds: How long to wait for the node.

    Yields:
        The environment in which `sbatch` and the others speak to this Slurm.

    Raises:
        ClusterUnavailable: It can't be started here, and why.
    """
    folder = folder.resolve()
    programs = _find_programs(folder)
    configuration = _configure(folder, cpus=cpus, memory_mb=memory_mb)
    # a Slurm job in which the tests may run must not shine through
    outside = {name: text for name, text in os.environ.items() if not name.startswith(("SLURM", "SBATCH_", "SQUEUE_"))}
    environment = outside | {"SLURM_CONF": str(configuration)}
    try:
        with Daemons(folder) as daemons:
            munge = [f"--{name}={folder}/munge.{name}" for name in ("key-file", "socket", "pid-file", "seed-file")]
            # --force: that other users can't reach the socket is as it should be
            daemons.start("munged", [programs["munged"], "--foreground", "--force", *munge], env=environment)
            daemons.wait((folder / "munge.socket").exists, what="no socket", seconds=seconds)
            daemons.start("slurmctld", [programs["slurmctld"], "-D", "-f", configuration], env=environment)
            daemons.start("slurmd", [programs["slurmd"], "-D", "-f", configuration, "-N", NODE], env=environment)
            daemons.wait(lambda: _states(environment) == ["idle"], what="no idle node", seconds=seconds)
            try:
                yield environment
            finally:
                _cancel_jobs(environment)
    finally:
        _kill_what_is_left(configuration)


def _find_programs(folder: Path) -> dict[str, str]:
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin"])
    programs = {name: shutil.which(name, path=path) for name in PROGRAMS}
    if missing := [name for name, file in programs.items() if file is None]:
        raise ClusterUnavailable(f"{', '.join(missing)} not found: install slurm-wlm and munge")
    if os.geteuid() != 0:
        raise ClusterUnavailable(f"slurmd must be started by root, and this is user {os.geteuid()}")
    if len(str(folder)) > LONGEST_FOLDER:
        raise ClusterUnavailable(f"{folder} is longer than {LONGEST_FOLDER} characters, too long for Slurm's sockets")
    return {name: str(file) for name, file in programs.items()}


def _configure(folder: Path, *, cpus: int, memory_mb: int) -> Path:
    key = folder / "munge.key-file"
    key.touch(mode=0o600)
    key.write_bytes(secrets.token_bytes(128))
    for name in ("state", "spool"):
        (folder / name).mkdir()
    controller_port, node_port = _free_ports(2)
    configuration = folder / "slurm.conf"
    # what is not said keeps its default: no accounting, no task plugin, no MPI
    configuration.write_text(
        f"""\
ClusterName=local
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
# the loopback address only
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
# no cgroups: neither to track processes nor to hold them to their memory
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
# the node is as large as is said below, whatever the machine is
SlurmdParameters=config_overrides
ReturnToService=2
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=1000
KillWait=1
NodeName={NODE} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
    )
    return configuration


def _free_ports(n: int) -> list[int]:
    sockets = [socket.socket() for _ in range(n)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


def _ask(*command: str, environment: dict[str, str]) -> list[str]:
    """The lines that a Slurm command answers; none where it fails or gets no answer."""
    try:
        answer = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=2)
    except subprocess.TimeoutExpired:
        return []
    return answer.stdout.splitlines() if answer.returncode == 0 else []


def _states(environment: dict[str, str]) -> list[str]:
    return _ask("sinfo", "--noheader", "--format=%T", environment=environment)


def _cancel_jobs(environment: dict[str, str], *, seconds: float = 3.0) -> None:
    end = time.monotonic() + seconds
    while (jobs := _ask("squeue", "--noheader", "--format=%A %t", environment=environment)) and time.monotonic() < end:
        if going := [job.split()[0] for job in jobs if not job.endswith(" CG")]:
            _ask("scancel", *going, environment=environment)
        time.sleep(0.1)


def processes_of(configuration: Path) -> list[int]:
    """Ids of the living processes of the Slurm with this configuration: daemons, job steps, and what jobs started."""
    variable = f"SLURM_CONF={configuration}".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            # a job step's process has no environment left, but it keeps the daemon's log open
            is_step = "slurmstepd" in (process / "exe").readlink().name
            files = {file.readlink() for file in (process / "fd").iterdir()} if is_step else set()
            ours = variable in (process / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            continue
        if ours or any(configuration.parent in file.parents for file in files):
            found.append(int(process.name))
    return found


def _kill_what_is_left(configuration: Path, *, seconds: float = 5.0) -> None:
    end = time.monotonic() + seconds
    while (left := processes_of(configuration)) and time.monotonic() < end:
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)
