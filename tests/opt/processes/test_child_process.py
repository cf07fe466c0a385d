"""Processes that end with the one that started them, by the kernel and by a watching thread."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from running_processes import is_alive, wait_until_gone

from opt.processes import child_process
from opt.processes.child_process import how_it_ended

# by its path: the package would take seconds to load
CHILD = f"""
import runpy, sys, time
end_with = runpy.run_path({child_process.__file__!r})["end_with"]
end_with(int(sys.argv[1]), by_kernel=sys.argv[2] == "kernel")
print("at work", flush=True)
time.sleep(60)
"""
PARENT = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1], str(os.getpid()), sys.argv[2]], stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="no /proc, which tells what became of a process")
@pytest.mark.parametrize("by", ["kernel", "thread"])
def test_process_ends_with_the_one_that_started_it(by):
    parent = subprocess.Popen([sys.executable, "-c", PARENT, CHILD, by], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    assert is_alive(child)
    parent.kill()
    parent.communicate()
    wait_until_gone(child)


@pytest.mark.parametrize("by", ["kernel", "thread"])
def test_process_whose_parent_ended_before_it_began_ends_at_once(by):
    other = os.getppid()  # the process that started it is this one
    child = subprocess.run([sys.executable, "-c", CHILD, str(other), by], capture_output=True, text=True, timeout=30)
    assert (child.returncode, child.stdout) == (-signal.SIGKILL, "")


def test_how_a_process_ended_is_said_in_words():
    assert how_it_ended(0) == "its process ended with code 0"
    assert how_it_ended(-signal.SIGSEGV) == "its process was ended by SIGSEGV"
    assert "SIGKILL, as the system does when memory runs out" in how_it_ended(-signal.SIGKILL)
    assert how_it_ended(-(signal.SIGRTMIN + 3)) == f"its process was ended by signal {signal.SIGRTMIN + 3}"
