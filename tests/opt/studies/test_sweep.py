"""What a command line of several algorithms, or a study file, asks for."""

from __future__ import annotations

import pytest

from opt import UsageError
from opt.flags.algorithm_names import algorithm_names
from opt.studies.sweep import settings_of_command, settings_of_study

TASK = """
from typing import Literal
from opt import CompressionProblem, Objective

class Task(CompressionProblem):
    objectives = (Objective("a"), Objective("b"))
    def __init__(self, *, n_var: int = 2, kind: Literal["plain", "odd"] = "plain", widths: list[int] | None = None):
        super().__init__(n_var=n_var, xl=0, xu=1)
"""
OTHER = """
from opt import CompressionProblem, Objective

class Other(CompressionProblem):
    objectives = (Objective("a"),)
    def __init__(self, *, depth: int = 2):
        super().__init__(n_var=2, xl=0, xu=1)
"""


@pytest.fixture(autouse=True)
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "other.py").write_text(OTHER)


def study(text):
    with open("study.yaml", "w") as file:
        file.write(text)
    from pathlib import Path

    return settings_of_study(Path("study.yaml"))


def test_options_of_some_algorithms_go_to_those_only():
    tokens = ["--algo=nsga2,ga,sa", "--algo.pop_size=40", "--algo.n_chains=3", "--weights=1,2", "--n-gen=5"]
    settings = settings_of_command("task.py", ["nsga2", "ga", "sa"], tokens)
    assert [s.algo for s in settings] == ["nsga2", "ga", "sa"]
    assert settings[0].tokens == ("--algo.pop_size=40", "--n-gen=5")
    assert settings[1].tokens == ("--algo.pop_size=40", "--weights=1,2", "--n-gen=5")
    assert settings[2].tokens == ("--algo.n_chains=3", "--weights=1,2", "--n-gen=5")


def test_name_with_a_comma_is_one_algorithm():
    assert algorithm_names("nsga2, deap-mu,lambda,ga") == ["nsga2", "deap-mu,lambda", "ga"]
    assert algorithm_names("deap-mu,lambda") == ["deap-mu,lambda"]
    assert [s.algo for s in study("problem: task.py\nalgo: ga,deap-mu,lambda\n")] == ["ga", "deap-mu,lambda"]


@pytest.mark.parametrize(
    ("algos", "tokens", "what"),
    [
        (["nsga2", "gaa"], [], "did you mean 'ga'"),
        (["nsga2", "nsga2"], [], "twice"),
        (["nsga2", "sa"], ["--algo.pop_sise=4"], "did you mean 'pop_size'"),
    ],
)
def test_command_that_fits_no_algorithm_is_refused(algos, tokens, what):
    with pytest.raises(UsageError, match=what):
        settings_of_command("task.py", algos, tokens)


def test_lists_of_a_study_expand_to_a_grid():
    settings = study(
        "problem:\n  - file: task.py\n    kind: [plain, odd]\n  - other.py\n"
        "algo:\n  - nsga2\n  - {name: ga, pop_size: [10, 20]}\n"
        "n_eval: 100\nruns: 3\nweights: [1, 2]\n"
    )
    found = [(s.problem, s.algo, dict(s.varying)) for s in settings]
    assert found == [
        ("task.py", "nsga2", {"problem.kind": "plain"}),
        ("task.py", "nsga2", {"problem.kind": "odd"}),
        ("task.py", "ga", {"problem.kind": "plain", "algo.pop_size": "10"}),
        ("task.py", "ga", {"problem.kind": "plain", "algo.pop_size": "20"}),
        ("task.py", "ga", {"problem.kind": "odd", "algo.pop_size": "10"}),
        ("task.py", "ga", {"problem.kind": "odd", "algo.pop_size": "20"}),
        ("other.py", "nsga2", {}),
        ("other.py", "ga", {"algo.pop_size": "10"}),
        ("other.py", "ga", {"algo.pop_size": "20"}),
    ]
    assert all({"--n-eval=100", "--runs=3"} <= set(s.tokens) for s in settings)
    # weights are one value, and for algorithms of one objective
    assert [("--weights=1,2" in s.tokens) for s in settings] == [s.algo == "ga" for s in settings]


def test_list_that_a_parameter_takes_is_one_value_and_a_list_of_lists_a_grid():
    (one,) = study("problem: {file: task.py, widths: [4, 5]}\n")
    assert "--problem.widths=[4, 5]" in one.tokens and one.varying == ()
    two = study("problem: {file: task.py, widths: [[4, 5], [6]]}\n")
    assert [dict(s.varying) for s in two] == [{"problem.widths": "[4, 5]"}, {"problem.widths": "[6]"}]


def test_empty_list_is_a_value_of_a_parameter_that_takes_a_list():
    (one,) = study("problem: {file: task.py, widths: []}\n")
    assert "--problem.widths=[]" in one.tokens


def test_shared_parameters_go_to_the_problems_that_have_them():
    settings = study("problem: [task.py, other.py]\nproblem.depth: [1, 2]\nalgo: random\n")
    assert [(s.problem, dict(s.varying)) for s in settings] == [
        ("task.py", {}),
        ("other.py", {"problem.depth": "1"}),
        ("other.py", {"problem.depth": "2"}),
    ]


def test_command_line_goes_before_the_study_file(tmp_path):
    (tmp_path / "study.yaml").write_text("problem: task.py\nalgo: [nsga2, sa]\nn_gen: [5, 9]\n")
    settings = settings_of_study(tmp_path / "study.yaml", ["--n-gen=3", "--algo.n_chains=2"])
    assert [s.tokens for s in settings] == [("--n-gen=3",), ("--n-gen=3", "--algo.n_chains=2")]
    (tmp_path / "study.yaml").write_text("problem: [task.py, other.py]\nproblem.depth: [1, 2]\n")
    settings = settings_of_study(tmp_path / "study.yaml", ["--problem.depth=3"])
    assert [(s.problem, s.tokens) for s in settings] == [("task.py", ()), ("other.py", ("--problem.depth=3",))]


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("algo: nsga2\n", "names no problem"),
        ("problem: task.py\nalgo: []\n", "names no algorithm"),
        ("problem: task.py\nalgo:\n", "names no algorithm"),
        ("problem: task.py\nn_evals: 5\n", "did you mean 'n-eval'"),
        ("problem: task.py\nproblem.kinds: [plain]\n", "did you mean 'problem.kind'"),
        ("problem: {kind: odd}\n", "must be a file"),
        ("problem: task.py\nalgo: {pop_size: 3}\n", "must be a name"),
        ("problem: task.py\nseed: []\n", "empty list"),
        ("- task.py\n", "must hold names and values"),
        ("problem: [task.py\n", "is not YAML"),
        ("problem: task2.py\n", "does not exist"),
    ],
)
def test_bad_study_file_is_one_line(text, what):
    with pytest.raises(UsageError, match=what):
        study(text)


def test_entries_of_one_problem_are_told_apart_by_what_only_one_of_them_has():
    settings = study(
        "problem:\n  - {file: task.py, kind: plain, depth: [1, 2]}\n  - {file: task.py, kind: odd}\n"
        "algo: random\nruns: 2\n"
    )
    assert [dict(s.varying) for s in settings] == [
        {"problem.kind": "plain", "problem.depth": "1"},
        {"problem.kind": "plain", "problem.depth": "2"},
        {"problem.kind": "odd"},
    ]
