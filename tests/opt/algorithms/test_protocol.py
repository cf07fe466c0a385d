"""The protocol of algorithms: what the engine tells and asks, and that a plain pymoo algorithm needs none of it."""

from __future__ import annotations

import pytest
import sample_problems as samples
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population

import opt
from opt.algorithms import AlgorithmSpec, SearchAlgorithm, algorithm, algorithms, find_algorithm
from opt.algorithms.interface.search_algorithm import Abilities, abilities_of
from opt.console.errors import UsageError

pytestmark = pytest.mark.usefixtures("no_plots")


class Recording(SearchAlgorithm):
    """Draws candidates, and notes what it is told."""

    heard: list = []

    def __init__(self, *, ends_after=None, row=lambda n: {"n": n}):
        super().__init__()
        self.ends_after, self.row, self.asked = ends_after, row, 0

    def plan(self, **budget):
        self.heard.append(("plan", budget))

    def spend(self, fraction):
        self.heard.append(("spend", round(fraction, 3)))

    def values_changed(self):
        self.heard.append(("values_changed",))

    def has_next(self):
        return not self.end_reason

    def _infill(self):
        return Population.new("X", self.random_state.uniform(0, 1, size=(4, self.problem.n_var)))

    def _advance(self, infills=None, **kwargs):
        self.asked += 1
        self.heard.append(("told", infills.get("F").shape))
        self.pop = infills
        self.trace = self.row(self.asked)
        if self.asked == self.ends_after:
            self.end_reason = "it has heard enough"


def searched(tmp_path, problem=None, *, n_gen=3, **options):
    Recording.heard = []

    class Task(samples.Slope if problem is None else problem):
        own_algorithms = (AlgorithmSpec("recording", lambda problem: Recording(**options), "any"),)

    return opt.minimize(Task(), "recording", n_gen=n_gen, out=tmp_path)


def test_algorithm_is_told_budget_share_and_values_in_this_order(tmp_path):
    run = searched(tmp_path)
    budget = {"n_gen": 3, "n_eval": None, "seconds": None}
    assert Recording.heard == [
        ("plan", budget),
        ("spend", 0.0), ("told", (4, 2)),
        ("spend", 0.333), ("told", (4, 2)),
        ("spend", 0.667), ("told", (4, 2)),
    ]  # fmt: skip
    assert run.trace["n"].tolist() == [1, 2, 3] and run.trace["n_eval"].tolist() == [4, 8, 12]


def test_end_and_its_reason_are_the_algorithms(tmp_path):
    run = searched(tmp_path, n_gen=9, ends_after=2)
    assert (run.manifest["n_gen"], run.manifest["stop_reason"]) == (2, "it has heard enough")


def test_changed_values_are_told_only_where_survivors_stay(tmp_path):
    searched(tmp_path, samples.Drifting)
    assert ("values_changed",) in Recording.heard
    Recording.keeps_survivors = False
    try:
        searched(tmp_path, samples.Drifting)
        assert ("values_changed",) not in Recording.heard
    finally:
        del Recording.keeps_survivors


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        (lambda n: {"n": n} if n > 1 else {}, "got n and at first none"),
        (lambda n: {f"n{n}": n}, "got n2 and at first n1"),
    ],
)
def test_trace_with_other_columns_than_at_first_ends_the_run_in_a_line(row, columns, tmp_path):
    with pytest.raises(UsageError, match=f"trace must have the same columns from the first generation on, {columns}"):
        searched(tmp_path, row=row)


def test_what_an_algorithm_leaves_out_has_a_default():
    nothing = abilities_of(NSGA2())
    assert (nothing.keeps_survivors, nothing.keeps_journal, nothing.plans_by_share) == (True, False, False)
    assert (nothing.end_reason, dict(nothing.trace)) == ("", {})
    nothing.plan(n_gen=None, n_eval=None, seconds=None)
    nothing.values_changed()
    assert abilities_of(recording := Recording()) is recording and recording.plans_by_share
    for step in (Abilities().journal_entry, lambda: Abilities().replay({})):
        with pytest.raises(NotImplementedError):
            step()


def test_plain_object_may_have_attributes_of_these_names(tmp_path):
    """They are its own: nothing of it is called or written down."""

    class Plain(NSGA2):
        plan = spend = values_changed = journal_entry = replay = None
        trace = {"a": 1.0}

    run = opt.minimize(samples.Slope(), Plain(pop_size=6), n_gen=3, out=tmp_path)
    assert run.status == "finished" and run.trace is None


def test_rounding_is_said_in_the_list_of_algorithms():
    assert {name for name, spec in algorithms().items() if spec.rounds} == {"de", "pso", "cma-es"}


FILE = '''
from pymoo.core.population import Population
from opt.algorithms import SearchAlgorithm, algorithm, operators_of
from sample_problems import Bowl

class Sampled(SearchAlgorithm):
    def __init__(self, operators, n):
        super().__init__()
        self.operators, self.n = operators, n
    def _infill(self):
        return Population.new("X", self.operators.sampling(self.n, self.random_state))
    def _advance(self, infills=None, **kwargs):
        self.pop = infills

@algorithm("NAME", objectives="one")
def sampled(problem, *, n: int = 5):
    """Nothing but samples of the problem's.

    Args:
        n: Number of samples a generation.
    """
    return Sampled(operators_of(problem), n)

class Task(Bowl):
    """A bowl."""
'''


@pytest.fixture
def registered(monkeypatch):
    from opt.algorithms.interface import registry

    monkeypatch.setattr(registry, "_REGISTRY", dict(registry._REGISTRY))


def test_file_of_the_users_enters_an_algorithm_however_often_it_is_loaded(tmp_path, solve, registered):
    file = tmp_path / "task.py"
    file.write_text(FILE.replace("NAME", "my-samples"))
    options = ("--algo", "my-samples,ga", "--algo.n", "3", "--n-gen", "2", "--out", tmp_path / "runs", "--quiet")
    for k in range(2):
        answer = solve(file, *options, "--name", f"s{k}")
        assert (answer.code, answer.err) == (0, "")
    assert "my-samples" in solve(file, "--list").out
    runs = [run for run in opt.list_runs(tmp_path / "runs/s1") if run.manifest["algo"]["name"] == "my-samples"]
    assert [run.manifest["n_eval"] for run in runs] == [6]


def test_name_of_another_algorithm_is_refused(tmp_path, solve, registered):
    file = tmp_path / "task.py"
    file.write_text(FILE.replace("NAME", "nsga2"))
    answer = solve(file, "--n-gen", "2")
    assert answer.code == 2 and "an algorithm named 'nsga2' is registered already" in answer.err

    @algorithm("mine", objectives="any")
    def build(problem):
        """One."""

    with pytest.raises(ValueError, match="'mine' is registered already"):

        @algorithm("mine", objectives="any")
        def other(problem):
            """Another."""

    assert find_algorithm("mine").build is build
    with pytest.raises(UsageError):
        find_algorithm("mien")
