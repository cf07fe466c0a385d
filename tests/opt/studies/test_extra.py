"""What more than one machine needs, where it is not installed: one line names the extra that has it."""

from __future__ import annotations

import sys

import pytest


@pytest.mark.parametrize(
    ("hidden", "options"),
    [
        ("dask_jobqueue", ("--cluster", "slurm")),
        ("dask_jobqueue", ("--cluster", "pbs", "--print-job")),
        ("distributed", ("--scheduler", "tcp://127.0.0.1:1")),
    ],
)
def test_missing_package_is_told_with_the_extra_that_has_it(hidden, options, monkeypatch, solve, sample, tmp_path):
    monkeypatch.setitem(sys.modules, hidden, None)
    answer = solve(sample("Slope"), "--n-gen", "2", "--out", tmp_path, *options)
    name = hidden.replace("_", "-")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == f"error: more than one machine needs {name}: pip install 'opt-compress[dask]'\n"
