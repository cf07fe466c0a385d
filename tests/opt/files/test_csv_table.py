"""Tables that no spreadsheet runs: what would be a formula is guarded, and read back as it was."""

from __future__ import annotations

import csv
import io
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import opt
from opt import CompressionProblem, Objective
from opt.compare import compare
from opt.comparison.output_files import write_comparison
from opt.files import csv_table
from opt.plots.run_pictures import write_plots

RUNS = ("=", "+", "-", "@", "\t", "\r")
FORMULA = '=cmd|" /C calc"!A0'


def is_run(cell: str) -> bool:
    """Whether a spreadsheet takes a cell for a formula: a number with its sign is none."""
    try:
        float(cell)
    except ValueError:
        return cell.startswith(RUNS)
    return False


class Formulas(CompressionProblem):
    """Objectives, metrics and parameters that are called like formulas."""

    objectives = (Objective("=1+1"), Objective("@gain", "maximise"))

    def __init__(self) -> None:
        super().__init__(n_var=2, xl=0.0, xu=1.0)

    def evaluate(self, X):
        return np.column_stack([X.sum(axis=1), ((1 - X) ** 2).sum(axis=1)])

    def test(self, x):
        return {"-x": 0.5}

    def describe(self, x):
        return {"+word": FORMULA, "plain": "-0.25", "\tx": "@SUM(A1)", "'=": "'=2", "number": -0.5}

    def references(self):
        return [opt.Reference("-known", X=np.zeros((1, 2)))]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return [opt.minimize(Formulas(), algo=algo, n_gen=3, pop_size=8, out=out) for algo in ("nsga2", "random")]


def cells(file) -> list[str]:
    with open(file, newline="", encoding="utf-8") as text:
        return [cell for row in csv.reader(text) for cell in row]


def test_no_cell_of_a_run_or_comparison_is_a_formula(runs, tmp_path):
    write_comparison(compare(runs), tmp_path / "c")
    files = [*runs[0].path.glob("*.csv"), *(tmp_path / "c").glob("*.csv")]
    assert {"front.csv", "references.csv", "history.csv", "joint_front.csv"} <= {f.name for f in files}
    for file in files:
        assert not [cell for cell in cells(file) if is_run(cell)], file
    assert "'=1+1" in cells(runs[0].path / "front.csv") and f"'{FORMULA}" in cells(runs[0].path / "front.csv")


def test_our_readers_find_the_names_that_were_given(runs, tmp_path):
    run = opt.load_run(runs[0].path)
    assert run.front.columns.tolist() == ["id", "=1+1", "@gain", "test_-x", "+word", "plain", "\tx", "'=", "number"]
    assert set(run.front["+word"]) == {FORMULA} and set(run.front["'="]) == {"'=2"}
    assert run.front["plain"].tolist() == [-0.25] * len(run.front)
    assert run.references["reference"].tolist() == ["-known"] and "@gain" in run.references
    assert (run.front["@gain"] < 0).all()
    assert all(file.exists() for file in write_plots([run, runs[1]], out=tmp_path / "p.png"))
    (comparison,) = compare(runs).comparisons
    assert [o.name for o in comparison.objectives] == ["=1+1", "@gain"]


def test_check_finds_nothing_wrong_with_such_a_run(runs):
    from opt.runs.run_check import check_run

    assert [f for f in check_run(runs[0].path) if f.verdict == "wrong"] == []


any_text = st.text(
    st.sampled_from("=+-@\t\r\n',;\"x1 é\x1b") | st.characters(exclude_categories=["Cs"], exclude_characters="\0")
)


@given(st.lists(any_text, min_size=1), any_text)
def test_any_text_comes_back(texts, name):
    data = csv_table.encode(pd.DataFrame({"k": range(len(texts)), f"{name}.": texts}))
    rows = list(csv.reader(io.StringIO(data.decode(), newline="")))
    assert not any(is_run(cell) for row in rows for cell in row)
    assert [csv_table.plain(row[1]) for row in rows] == [f"{name}.", *texts]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "table.csv"
        file.write_bytes(data)
        table = csv_table.read(file, dtype={f"{name}.": str})
    assert table.columns.tolist() == ["k", f"{name}."]
    assert len(table) == len(texts)


def test_ordinary_tables_are_written_as_ever():
    table = pd.DataFrame(
        {"id": ["e000001", "p-1"], "f": [-1.5, np.nan], "n": [-3, 4], "t": ["-2", "a=b"], "ok": [True, False]}
        | {"o": [None, 1.5]}
    )
    assert csv_table.encode(table) == table.to_csv(index=False).encode()


def test_a_table_that_is_no_file_is_told(runs, tmp_path):
    import os

    shutil.copytree(runs[0].path, tmp_path / "run")
    (tmp_path / "run" / "front.csv").unlink()
    os.mkfifo(tmp_path / "run" / "front.csv")
    with pytest.raises(opt.UsageError, match="is a pipe or a device"):
        opt.load_run(tmp_path / "run").front  # noqa: B018
