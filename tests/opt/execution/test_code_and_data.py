"""A run records which code and which data made it, so that a comparison can tell runs apart."""

from __future__ import annotations

import opt
from opt.comparison.validity import validity_warnings
from opt.problem.provenance import file_digest


class OnData(opt.CompressionProblem):
    objectives = (opt.Objective("f"),)

    def __init__(self, data: str) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)
        self.data_name = data

    def evaluate(self, X):
        return X.sum(axis=1, keepdims=True)

    def data_fingerprint(self):
        return self.data_name


def test_run_records_its_data_and_code(tmp_path, no_plots):
    runs = [opt.minimize(OnData(d), algo="ga", n_gen=2, pop_size=4, out=tmp_path / d) for d in ("a", "b")]
    assert [run.manifest["data"] for run in runs] == ["a", "b"]
    assert runs[0].manifest["code"] == runs[1].manifest["code"]
    assert "problem" in runs[0].manifest["code"]


def test_digest_follows_the_problem_file(tmp_path):
    file = tmp_path / "problem.py"
    file.write_text("a = 1\n")
    first = file_digest(file)
    assert file_digest(str(file)) == first
    file.write_text("a = 2\n")
    assert file_digest(file) != first
    assert file_digest(None) is None


def test_comparison_warns_of_different_data(tmp_path, no_plots):
    runs = [opt.minimize(OnData(d), algo="ga", n_gen=2, pop_size=4, out=tmp_path / d) for d in ("a", "b")]
    assert any(text.startswith("different data") for text in validity_warnings(runs, ["ga", "ga"], by=["algo"]))
