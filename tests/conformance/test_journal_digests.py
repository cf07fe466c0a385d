"""Runs of one seed compute what they computed when `journal_digests.json` was recorded, to the last digit.

Every algorithm on some of the problems, and every task with every second algorithm or setting; with ALL_DIGESTS=1 in
the environment all of them, which takes five minutes of CPU instead of two.
"""

from __future__ import annotations

import functools
import os

import pytest
from doors import ROOT, algorithms
from journal_digests import (
    SAMPLES,
    SEARCHES,
    SETTINGS,
    TASKS,
    VARIANTS,
    Case,
    recorded,
    run_digests,
    sample_cases,
    task_cases,
)
from numeric_probe import differences, probe

ALL = bool(os.environ.get("ALL_DIGESTS"))
RECORDED = recorded()
ALGORITHMS = sorted({name.split()[1] for name in RECORDED["runs"] if name.split()[0] in SAMPLES})


@functools.cache
def other_machine(name: str) -> str:
    """Why digests of that probe need not hold here; "" where they do."""
    different = differences(RECORDED["probes"][name], probe(name))
    return f"digests were recorded with another arithmetic or other versions ({different})" if different else ""


def check(case: Case, out) -> None:
    if reason := other_machine(case.probe):
        pytest.skip(reason)
    assert run_digests(case, out) == RECORDED["runs"].get(case.name), f"{case.name} computes something else"


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Networks are trained once for all runs of a task."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


def test_every_algorithm_and_task_is_recorded():
    assert set(ALGORITHMS) == {*algorithms(), *SETTINGS}
    tasks = {file.stem for file in (ROOT / "problems").glob("*.py") if not file.name.startswith("_")}
    assert set(TASKS) == tasks == set(SEARCHES) - set(VARIANTS)
    assert {case.name for case in task_cases()} <= set(RECORDED["runs"])
    for task in tasks:
        own = set(algorithms(str(ROOT / "problems" / f"{task}.py"))) - set(algorithms())
        assert own <= set(SEARCHES[task]), "a task's own algorithms"


@pytest.mark.parametrize("algo", ALGORITHMS)
def test_algorithm_computes_what_it_computed(algo, tmp_path):
    cases = list(sample_cases(algo))
    # one of the problems, another one for the next algorithm
    first = ALGORITHMS.index(algo) % len(cases)
    for case in cases if ALL else cases[first : first + 1]:
        check(case, tmp_path / case.problem)


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.xdist_group(f"digests-{case.task}"), id=case.name.replace(" ", "-"))
        for case in (list(task_cases()) if ALL else list(task_cases())[::4])
    ],
)
def test_task_computes_what_it_computed(case, tmp_path, cache):
    check(case, tmp_path / "runs")
