"""Files that one process at a time writes to: who waits, who is told what, and when a lock ends."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from opt import UsageError
from opt.files import locking
from opt.files.locking import InUseError, LockedFile, this_process, wait_until_free
from opt.runs.journal import Journal


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(locking, "WAIT_SECONDS", 0.1)


def ended_process() -> int:
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


HOST = os.uname().nodename
NOTES = {
    "none": (None, "another process;"),
    "no mapping": ("text", "another process;"),
    "of another kind": ({"pid": "1", "host": 2}, "another process;"),
    "alive": (this_process(), rf"another process \(by its own note {os.getpid()} on {HOST} since 20.*\);"),
    "elsewhere": ({"pid": 10**8, "host": "far", "since": "then"}, r"\(by its own note 100000000 on far since then\)"),
    "another user's": ({"pid": 1, "host": HOST, "since": "then"}, "by its own note 1 on"),
    "too large": ({"pid": 10**30, "host": HOST, "since": "then"}, "by its own note 10+ on"),
}


@pytest.mark.parametrize("name", NOTES)
def test_holder_is_told_as_far_as_it_is_known(name, tmp_path, impatient):
    noted, text = NOTES[name]
    file = LockedFile(tmp_path / "file")
    with pytest.raises(InUseError, match=f"{tmp_path} is in use by .*{text}"):
        LockedFile(tmp_path / "file", noted=noted)
    with pytest.raises(InUseError, match=text):
        wait_until_free(tmp_path / "file", noted=noted)
    file.close()
    wait_until_free(tmp_path / "file", noted=noted)


def test_holder_that_is_gone_is_not_said_to_hold_the_lock(tmp_path, impatient):
    file = LockedFile(tmp_path / "file")
    note = this_process() | {"pid": ended_process()}
    with pytest.raises(InUseError, match=r"the last that noted itself, \d+ on .* is no longer seen"):
        LockedFile(tmp_path / "file", noted=note)
    file.close()


def test_lock_is_waited_for(tmp_path):
    first = LockedFile(tmp_path / "file")
    timer = threading.Timer(0.3, first.close)
    timer.start()
    began = time.monotonic()
    LockedFile(tmp_path / "file").close()
    assert 0.2 < time.monotonic() - began < 4
    timer.join()


def test_reader_that_looks_for_a_moment_turns_no_writer_away(tmp_path):
    (tmp_path / "file").touch()
    with open(tmp_path / "file", "rb") as reader:
        fcntl.flock(reader, fcntl.LOCK_SH)
        timer = threading.Timer(0.2, reader.close)
        timer.start()
        LockedFile(tmp_path / "file").close()
        timer.join()


def test_file_system_without_locks_is_not_taken_for_another_process(tmp_path, monkeypatch):
    def refuse(descriptor, kind):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(UsageError, match=r"cannot be locked against other processes .Operation not supported.") as told:
        Journal(tmp_path / "journal.jsonl")
    assert not isinstance(told.value, InUseError)


def test_fork_does_not_keep_the_lock_of_the_process_that_is_gone(tmp_path):
    script = (
        "import os, sys, time\nfrom pathlib import Path\nfrom opt.runs.journal import Journal\n"
        "journal = Journal(Path(sys.argv[1]))\n"
        "pid = os.fork()\n"
        "if pid: print(pid, flush=True)\n"
        "time.sleep(30)\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "journal.jsonl")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    fork = int(process.stdout.readline())
    time.sleep(0.2)
    process.kill()
    process.wait()
    journal = Journal(tmp_path / "journal.jsonl")  # the fork is there still, and holds nothing
    os.kill(fork, signal.SIGKILL)
    process.stdout.close()
    journal.append({"gen": 1})
    journal.close()
    assert [r["gen"] for r in Journal(tmp_path / "journal.jsonl").records] == [1]
