"""Algorithms that a problem brings, and those whose many generations inside are journalled and not replayed."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from pymoo.core.algorithm import Algorithm
from pymoo.core.population import Population

import opt
from opt import CompressionProblem, Objective
from opt.algorithms import AlgorithmSpec, SearchAlgorithm, algorithms, find_algorithm
from opt.comparison.validity import validity_warnings
from opt.console.errors import UsageError
from opt.runs.run_check import check_run

pytestmark = pytest.mark.usefixtures("no_plots")


class Walk(SearchAlgorithm):
    """A random walk downhill, `chunk` steps an ask; counts the steps that are really made."""

    keeps_journal = True
    steps_made = 0

    def __init__(self, problem, chunk):
        super().__init__()
        self.walked, self.chunk = problem, chunk
        self.asks = 0
        self.entry, self.recorded, self.state, self.since = {}, None, None, 0

    def _initialize_infill(self):
        self.seed, self.step = int(self.random_state.integers(2**63)), 0
        self.x = self.random_state.integers(0, 1000, size=self.walked.n_var)
        return self._infill()

    def _infill(self):
        self.asks += 1
        if self.recorded is not None:
            self.since += 1
            if "state" in self.recorded:
                self.state, self.since = self.recorded["state"], 0
            x, self.recorded = np.array(self.recorded["x"]), None
            return Population.new("X", x[None])
        if self.state is not None:
            self.x, self.step = np.array(self.state["x"]), self.state["step"]
            for _ in range(self.since):
                self.walk()
            self.state = None
        self.walk()
        self.entry = {"x": self.x.tolist(), "n_eval": self.chunk}
        if self.asks % 4 == 1:
            self.entry["state"] = {"x": self.x.tolist(), "step": self.step}
        return Population.new("X", self.x[None])

    def walk(self):
        for _ in range(self.chunk):
            Walk.steps_made += 1
            self.step += 1
            rng = np.random.default_rng([self.seed, self.step])
            other = np.clip(self.x + rng.integers(-1, 2, size=len(self.x)), 0, 1000)
            if other.sum() <= self.x.sum():
                self.x = other

    def _advance(self, infills=None, **kwargs):
        self.pop = infills

    def _set_optimum(self):
        self.opt = self.pop

    def journal_entry(self):
        return self.entry

    def replay(self, entry):
        self.recorded = entry


def walk(problem, *, chunk: int = 10) -> Algorithm:
    """A random walk downhill that is made in chunks.

    Args:
        chunk: Steps between two looks at it.
    """
    return Walk(problem, chunk)


class Hill(CompressionProblem):
    """The sum of whole numbers."""

    objectives = (Objective("sum", worst=10_000.0),)
    own_algorithms = (AlgorithmSpec("walk", walk, "any", representations=("integer",)),)

    def __init__(self) -> None:
        super().__init__(n_var=5, representation="integer", xl=0, xu=1000)

    def evaluate(self, X):
        return X.sum(axis=1, keepdims=True).astype(float)


class Usurper(Hill):
    """A problem that brings another algorithm under a name of ours."""

    own_algorithms = (AlgorithmSpec("ga", walk, "any"),)


def test_own_algorithm_is_found_with_its_problem_alone():
    assert find_algorithm("walk", Hill).summary == "A random walk downhill that is made in chunks"
    assert find_algorithm("walk", Hill()).name in algorithms(Hill())
    assert "walk" not in algorithms() and "ga" in algorithms(Hill)
    with pytest.raises(UsageError, match="unknown algorithm 'walk'"):
        find_algorithm("walk")
    with pytest.raises(UsageError, match="did you mean 'walk'"):
        find_algorithm("wakl", Hill)
    with pytest.raises(UsageError, match="'ga' is taken"):
        algorithms(Usurper)


def test_list_with_a_problem_shows_what_it_brings(solve, tmp_path):
    file = tmp_path / "hill.py"
    file.write_text(
        "from pymoo.core.algorithm import Algorithm\n"
        "from opt import CompressionProblem, Objective\n"
        "from opt.algorithms import AlgorithmSpec\n"
        "def build(problem, *, pace: int = 3) -> Algorithm:\n"
        '    """Walks in the hills alone.\n\n    Args:\n        pace: Steps at once and more words.\n    """\n'
        "class Hill(CompressionProblem):\n"
        '    """A hill."""\n'
        "    objectives = (Objective('height'),)\n"
        "    own_algorithms = (AlgorithmSpec('hill-walk', build, 'any'),)\n"
        "    def __init__(self) -> None:\n"
        "        super().__init__(n_var=1, xl=0, xu=1)\n"
    )
    with_it, without = solve(file, "--list"), solve("--list")
    assert with_it.code == without.code == 0
    assert "hill-walk" in with_it.out and "Walks in the hills alone" in with_it.out and "nsga2" in with_it.out
    assert "hill-walk" not in without.out and "PROBLEM.py --list" in without.out
    shown = solve(file, "--algo", "hill-walk", "--help").out
    assert "--algo.pace" in shown and "Steps at once" in shown
    assert "no parameter" not in shown


def run_files(run):
    return [(run.path / name).read_bytes() for name in ("journal.jsonl", "front.csv")]


@pytest.mark.parametrize("n_records", [0, 1, 2, 4, 5, 9, 11])
def test_resumed_run_equals_the_uninterrupted_one_and_repeats_little(tmp_path, n_records):
    whole = opt.minimize(Hill(), "walk", n_gen=12, seed=4, out=tmp_path)
    assert whole.manifest["n_inner_eval"] == 120 and whole.status == "finished"
    lines = (whole.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    cut = tmp_path / "cut"
    shutil.copytree(whole.path, cut)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[: n_records + 1]))
    (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "running"}))
    Walk.steps_made = 0
    resumed = opt.minimize(Hill(), resume=cut)
    assert run_files(resumed) == run_files(whole)
    assert resumed.manifest["n_inner_eval"] == 120
    last_state = (n_records - 1) // 4 * 4 + 1 if n_records else 0
    assert Walk.steps_made == 10 * (12 - last_state)
    assert all(finding.verdict != "wrong" for finding in check_run(resumed.path))


def test_long_plateau_does_not_end_it(tmp_path):
    run = opt.minimize(Hill(), "walk", n_gen=1500, seed=4, chunk=40, out=tmp_path)
    assert run.manifest["n_gen"] == 1500
    assert run.front["sum"].tolist() == [0.0]


def test_journal_without_the_entry_does_not_replay(tmp_path):
    from opt.runs.journal import decode, encode

    whole = opt.minimize(Hill(), "walk", n_gen=3, seed=4, out=tmp_path)
    journal = whole.path / "journal.jsonl"
    records = [decode(line) for line in journal.read_bytes().splitlines(keepends=True)]
    for record in records:
        record.pop("algo", None)
    journal.write_bytes(b"".join(encode(record) for record in records))
    (whole.path / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "interrupted"}))
    with pytest.raises(UsageError, match="lacks the algorithm's own entry"):
        opt.minimize(Hill(), resume=whole.path)


def test_comparison_says_that_evaluations_inside_are_not_counted(tmp_path):
    runs = [opt.minimize(Hill(), algo, n_gen=2, seed=1, out=tmp_path) for algo in ("walk", "ga")]
    found = validity_warnings(runs, ["walk", "ga"], by=("algo",))
    assert any("walk judges candidates inside its own library" in text for text in found)
    assert not any("inside" in text for text in validity_warnings(runs[1:], ["ga"], by=("algo",)))
