"""A run under way or killed shows the front of what it has recorded."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import sample_problems as samples
from damaged_files import ask, kill

import opt
from opt.runs import manifest as manifests
from opt.runs.journal import Journal
from opt.runs.run_check import check_run

pytestmark = pytest.mark.usefixtures("no_plots")


class Patchy(opt.CompressionProblem):
    """A minimised and a maximised objective, a constraint, and candidates that fail."""

    objectives = (opt.Objective("cost"), opt.Objective("gain", opt.maximise))

    def __init__(self) -> None:
        super().__init__(n_var=3, xl=0.0, xu=1.0, n_ieq_constr=1)

    def evaluate(self, X):
        F = np.column_stack([X.sum(axis=1), -np.sqrt(X[:, 0] + X[:, 1] * X[:, 2])]).round(2)
        F[X[:, 2] > 0.9] = np.nan
        return F, 0.2 - X[:, :1]


class Wavering(opt.CompressionProblem):
    """Its values mean something else from the third and from the fifth generation on."""

    objectives = Patchy.objectives

    def __init__(self) -> None:
        super().__init__(n_var=3, xl=0.0, xu=1.0)

    def begin_generation(self, n_gen):
        self.n_gen = n_gen
        return n_gen in (3, 5)

    def evaluate(self, X):
        n_changes = sum(getattr(self, "n_gen", 0) >= n_gen for n_gen in (3, 5))
        return Patchy.evaluate(self, X)[0] + 10.0 * n_changes


def killed(run: opt.Run, target: Path, n_records: int) -> opt.Run:
    path = Path(shutil.copytree(run.path, target))
    kill(path, n_records=n_records)
    return opt.load_run(path)


@pytest.mark.parametrize("algo", ["nsga2", "random", "sms-emoa"])
@pytest.mark.parametrize("n_gen", [1, 3, 5])
def test_front_so_far_is_that_of_a_run_that_ends_there(tmp_path, algo, n_gen):
    whole = opt.minimize(Patchy(), algo, n_gen=6, pop_size=30, seed=2, out=tmp_path / "whole")
    ended = opt.minimize(Patchy(), algo, n_gen=n_gen, pop_size=30, seed=2, out=tmp_path / "ended")
    run = killed(whole, tmp_path / "killed", n_gen)
    assert run.status == "interrupted" and not run.has_front
    expected = ended.front[["id", "cost", "gain"]]
    assert len(expected) > 2
    assert run.front_so_far.table.equals(expected) and run.front_so_far.n_gen == n_gen
    with pytest.raises(opt.UsageError, match="front_so_far"):
        _ = run.front
    # of a run that has ended it is the front, too
    assert whole.front_so_far.table.equals(whole.front[["id", "cost", "gain"]])


def test_show_of_a_killed_run_shows_its_front_and_how_far_it_came(tmp_path):
    whole = opt.minimize(Patchy(), n_gen=6, pop_size=30, out=tmp_path / "whole")
    run = killed(whole, tmp_path / "killed", 4)
    told = ask("show", run.path)
    assert (told.code, told.err) == (0, "")
    ids = set(run.front_so_far.table["id"])
    assert f"front so far, from the journal: {len(ids)} solutions" in told.out
    assert "files" in told.out and f"next: python -m opt.solve --resume {run.path}" in told.out
    assert all(line.split()[0] in ids for line in told.out.splitlines() if line.startswith("e0"))
    assert re.search(r"^generations +4 *$", told.out, re.MULTILINE)


def test_show_of_a_run_under_way_shows_it_as_running(tmp_path):
    whole = opt.minimize(Patchy(), n_gen=6, pop_size=30, out=tmp_path / "whole")
    run = killed(whole, tmp_path / "killed", 4)
    held = Journal(run.path / "journal.jsonl")
    try:
        told = ask("show", run.path)
        assert (
            told.code == 0 and re.search(r"^status +running *$", told.out, re.MULTILINE) and "front so far" in told.out
        )
        assert "damaged" not in told.out
        assert not any(finding.verdict == "wrong" for finding in check_run(run.path))
    finally:
        held.close()


@pytest.mark.parametrize("missing", [(), ("history.csv",), ("history.csv", "journal.jsonl")])
def test_run_that_was_killed_before_its_first_record(tmp_path, missing):
    whole = opt.minimize(Patchy(), n_gen=2, pop_size=6, out=tmp_path / "whole")
    run = killed(whole, tmp_path / "killed", 0)
    for name in missing:
        (run.path / name).unlink()
    told = ask("show", run.path)
    assert told.code == 0 and "front so far: nothing is recorded yet" in told.out and told.err == ""
    assert ask("list", run.path).code == 0
    assert not any(finding.verdict == "wrong" and finding.subject != "history.csv" for finding in check_run(run.path))
    assert not len(run.front_so_far.table)
    resumed = opt.minimize(Patchy(), resume=run.path)
    assert resumed.front.equals(whole.front)


@pytest.mark.parametrize(
    ("algo", "parameters", "is_marked"), [("nsga2", {}, True), ("random", {}, True), ("sga", {"elites": 0}, False)]
)
@pytest.mark.parametrize("n_gen", [2, 3, 4, 6])
def test_front_so_far_leaves_out_values_of_another_meaning(tmp_path, algo, parameters, is_marked, n_gen):
    whole = opt.minimize(Wavering(), algo, n_gen=n_gen, pop_size=30, out=tmp_path / "whole", **parameters)
    run = killed(whole, tmp_path / "killed", n_gen)
    if n_gen >= 3:
        # noted when it happened: a killed run has no other note of it
        manifests.write(run.path, run.manifest | {"stationary": False})
    so_far = opt.load_run(run.path).front_so_far
    since = {2: 1, 3: 3, 4: 3, 6: 5}[n_gen] if is_marked or n_gen < 3 else n_gen
    assert so_far.since == since
    if is_marked or n_gen < 3:
        assert so_far.table.equals(whole.front[["id", "cost", "gain"]])
    else:
        assert (so_far.table["cost"] > 10.0 * (1 + (n_gen >= 5))).all() and len(so_far.table)
    told = ask("show", run.path).out
    assert (f"since the objectives changed their meaning in generation {since}" in told) == (since > 1)


def test_change_of_meaning_is_in_the_manifest_as_soon_as_it_comes(tmp_path):
    class Stopped(Wavering):
        def evaluate(self, X):
            if getattr(self, "n_gen", 0) == 4:
                raise KeyboardInterrupt
            return super().evaluate(X)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.execution.runner.close_run", lambda *args, **kwargs: None)
        run = opt.minimize(Stopped(), "random", n_gen=6, pop_size=30, out=tmp_path)
    assert run.manifest["status"] == "running" and not run.is_stationary


def test_front_of_an_earlier_part_is_not_shown_for_that_of_a_resumed_run(tmp_path):
    whole = opt.minimize(Patchy(), n_gen=6, pop_size=30, out=tmp_path / "whole")
    path = Path(shutil.copytree(whole.path, tmp_path / "resumed"))
    part = opt.minimize(Patchy(), n_gen=2, pop_size=30, out=tmp_path / "part")
    shutil.copy(part.path / "front.csv", path / "front.csv")
    manifests.write(path, whole.manifest | {"status": "running"})
    assert not opt.load_run(path).has_front
    assert opt.load_run(path).front_so_far.table.equals(whole.front[["id", "cost", "gain"]])
    manifests.write(path, whole.manifest | {"status": "failed", "stop_reason": "its process died"})
    assert not opt.load_run(path).has_front
    assert opt.load_run(path).front_so_far.table.equals(whole.front[["id", "cost", "gain"]])
    assert ask("check", path).code == 0


def test_plot_draws_what_is_there_and_says_so(tmp_path, monkeypatch):
    monkeypatch.undo()
    whole = opt.minimize(samples.Slope(), n_gen=4, pop_size=6, out=tmp_path / "whole")
    run = killed(whole, tmp_path / "killed", 3)
    told = ask("plot", run.path)
    assert told.code == 0 and "its front so far, of 3 generations" in told.out and (tmp_path / "out.png").exists()
    empty = killed(whole, tmp_path / "empty", 0)
    told = ask("plot", empty.path)
    assert told.code == 2 and "has no generation yet" in told.err
    told = ask("compare", run.path)
    assert told.code == 2 and "none of the 1 runs is finished" in told.err


def test_front_of_a_finished_run_that_is_damaged_is_shown_from_the_journal(tmp_path):
    run = opt.minimize(Patchy(), n_gen=4, pop_size=30, out=tmp_path)
    (run.path / "front.csv").write_bytes(b"id,cost\n\xff")
    told = ask("show", run.path)
    assert told.code == 0 and "front so far, from the journal" in told.out
    assert "front.csv was altered since the run ended" in told.out and "--resume mends" in told.out
    (run.path / "journal.jsonl").write_bytes(b"nonsense\n")
    told = ask("show", run.path)
    assert told.code == 2 and told.err.count("\n") == 1 and "files" in told.out
