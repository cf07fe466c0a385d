"""Warm starts: arrays, populations and the fronts of saved runs as the first candidates of a search."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import sample_problems as samples
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.population import Population
from pymoo.problems import get_problem

import opt
from opt.algorithms import algorithms
from opt.algorithms.interface.warm_start import Start, StartedSampling
from opt.execution.saved_start import start_from
from opt.fronts.archive import farthest_first
from opt.problem.adapt import as_compression_problem
from opt.runs.run_check import check_run

pytestmark = pytest.mark.usefixtures("no_plots")

GIVEN = np.array([[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.5, 0.5], [0.1, 0.2, 0.3, 0.4]])


class Noting(samples.Slope):
    """Notes every candidate that it evaluates."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def evaluate(self, X):
        self.seen += X.tolist()
        return super().evaluate(X)


def fitting(problem):
    return [s.name for s in algorithms().values() if s.misfit(as_compression_problem(problem)) is None]


@pytest.mark.parametrize("algo", fitting(samples.Slope()))
@pytest.mark.parametrize("form", ["array", "population"])
def test_every_algorithm_begins_with_what_is_given(algo, form, tmp_path):
    problem = Noting()
    given = GIVEN if form == "array" else Population.new("X", GIVEN)
    opt.minimize(problem, algo, n_eval=30, sampling=given, out=tmp_path)
    assert problem.seen[0] == GIVEN[0].tolist()
    small = {"n_chains": 1, "mu": 20}.keys() & algorithms()[algo].parameters.keys()
    if algo not in ("cma-es", "sa", "sa-lagging") and "n_chains" not in small:
        assert problem.seen[1] == GIVEN[1].tolist()
    assert problem.seen.count(GIVEN[0].tolist()) == 1


def test_more_candidates_than_the_first_generation_holds_are_left_out(tmp_path):
    problem = Noting()
    X = np.random.default_rng(1).random((20, 4))
    opt.minimize(problem, n_gen=2, pop_size=6, sampling=X, out=tmp_path)
    assert problem.seen[:6] == X[:6].tolist()


def test_sampling_gives_the_start_once():
    own = lambda n, rng: np.full((n, 1), 9.0)  # noqa: E731
    sampling = StartedSampling(np.array([[1.0], [2.0]]), own)
    assert sampling(3, None)[:, 0].tolist() == [1, 2, 9]
    assert sampling(2, None)[:, 0].tolist() == [9, 9]
    assert StartedSampling(np.array([[1.0], [2.0]]), own)(1, None)[:, 0].tolist() == [1]


def test_known_values_decide_the_order():
    F = np.array([[0.5, 0.5], [0.0, 1.0], [0.4, 0.55], [1.0, 0.0]])
    start = Start(np.arange(4)[:, None], F)
    assert start.ordered(lambda F: F[:, :1])[:, 0].tolist() == [1, 2, 0, 3]
    spread = start.ordered(None)[:, 0].tolist()
    assert spread[:2] == [1, 3] and sorted(spread) == [0, 1, 2, 3]
    assert spread[:3] == farthest_first(F, 3).tolist()
    assert Start(np.array([[7]]), F[:1]).ordered(None).tolist() == [[7]]


@pytest.mark.parametrize("name", ["Slope", "Steps", "Switches", "Tour", "Words", "Fenced"])
@pytest.mark.parametrize("algo", ["nsga2", "ga"])
def test_front_of_a_saved_run_is_evaluated_first(name, algo, tmp_path):
    build = getattr(samples, name)
    first = opt.minimize(build(), n_eval=60, pop_size=10, seed=3, out=tmp_path)
    run = opt.minimize(build(), algo, n_eval=40, seed=4, sampling=first.path, pop_size=40, out=tmp_path)
    names = [o.name for o in first.objectives]
    signs = np.array([o.sign for o in first.objectives])
    known = {tuple(np.round(f, 9)) for f in first.front[names].to_numpy() * signs}
    begun = {tuple(np.round(f, 9)) for f in np.array(run.journal()[0]["F"])}
    assert known <= begun or len(known) > 40
    assert run.manifest["hypervolume"] >= 0


def test_front_of_mixed_variables_is_found_again(tmp_path):
    first = opt.minimize(samples.Parts(), n_eval=40, pop_size=10, out=tmp_path)
    run = opt.minimize(samples.Parts(), n_eval=40, pop_size=20, seed=5, sampling=first, out=tmp_path)
    known = {tuple(f) for f in first.front[["f1", "f2"]].to_numpy()}
    assert known <= {tuple(f) for f in np.array(run.journal()[0]["F"])}


@pytest.mark.parametrize("kind", ["array", "run of vectors", "run of objects", "start of a start"])
def test_run_with_a_start_goes_on_as_if_it_had_not_been_killed(kind, tmp_path):
    build = samples.Words if kind in ("run of objects", "start of a start") else samples.Slope
    given = GIVEN if kind == "array" else opt.minimize(build(), n_eval=30, pop_size=6, out=tmp_path / "first").path
    if kind == "start of a start":
        given = opt.minimize(build(), n_eval=30, pop_size=6, seed=7, sampling=given, out=tmp_path / "second").path
    whole = opt.minimize(build(), n_gen=6, pop_size=8, seed=2, sampling=given, out=tmp_path / "third")
    if kind != "array":
        shutil.rmtree(given)  # the run has its own copy
    cut = tmp_path / "cut"
    shutil.copytree(whole.path, cut)
    lines = (whole.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[:3]))
    (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "running"}))
    resumed = opt.minimize(build(), resume=cut)
    assert (cut / "journal.jsonl").read_bytes() == b"".join(lines)
    assert (cut / "front.csv").read_bytes() == (whole.path / "front.csv").read_bytes()
    assert resumed.status == "finished"


def test_object_of_pymoo_begins_with_what_is_given(tmp_path):
    problem = Noting()
    opt.minimize(problem, NSGA2(pop_size=10), n_gen=3, sampling=GIVEN, out=tmp_path)
    assert problem.seen[:2] == GIVEN[:2].tolist()


def test_algorithm_that_does_not_sample_is_refused(tmp_path):
    from opt.algorithms.interface.registry import AlgorithmSpec
    from opt.algorithms.truncation import Truncation

    class Own(samples.Slope):
        own_algorithms = (
            AlgorithmSpec(
                "fixed",
                lambda problem: Truncation(None, None, pop_size=2, n_children=1, n_immigrants=0, mutation_prob=0.0),
                "any",
            ),
        )

    with pytest.raises(opt.UsageError, match="fixed does not begin from samples; leave out the start"):
        opt.minimize(Own(), "fixed", sampling=GIVEN, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_start_is_there_before_the_run_has_its_name_and_a_failed_beginning_keeps_it(tmp_path):
    class Mine(samples.Slope):
        is_broken = True

        def begin_run(self, rng):
            if Mine.is_broken:
                raise KeyError("nothing")

    with pytest.raises(opt.UsageError, match=r"Mine\.begin_run failed: KeyError"):
        opt.minimize(Mine(), n_gen=3, pop_size=6, sampling=GIVEN, out=tmp_path)
    (run,) = opt.list_runs(tmp_path)
    Mine.is_broken = False
    resumed = opt.minimize(Mine(), resume=run.path)
    whole = opt.minimize(Mine(), n_gen=3, pop_size=6, sampling=GIVEN, out=tmp_path / "whole")
    assert (resumed.path / "journal.jsonl").read_bytes() == (whole.path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "text", "shape"])
def test_damaged_start_is_one_line_and_noticed(damage, tmp_path):
    run = opt.minimize(samples.Slope(), n_gen=3, pop_size=6, sampling=GIVEN, out=tmp_path)
    file = run.path / "start" / "X.npy"
    data = file.read_bytes()
    if damage == "shape":
        np.save(file, GIVEN[:, :2])
    else:
        changed = {"flip": data[:20] + bytes([data[20] ^ 9]) + data[21:], "cut": data[:-9], "text": b"no array"}
        file.write_bytes(changed[damage])
    findings = [finding for finding in check_run(run.path) if finding.verdict == "wrong"]
    assert any("start/X.npy" in f"{finding.subject} {finding.text}" for finding in findings)
    (run.path / "manifest.json").write_text(json.dumps(run.manifest | {"status": "running"}))
    with pytest.raises(opt.UsageError) as caught:
        opt.minimize(samples.Slope(), resume=run.path)
    assert "\n" not in str(caught.value)


def test_vectors_of_other_tensors_are_not_taken_for_candidates(tmp_path):
    class Halved(samples.Slope):
        def tensors(self, x):
            return {"x": x * 0.5}

    first = opt.minimize(Halved(), n_gen=3, pop_size=6, out=tmp_path)
    start = start_from(first, Halved())
    np.testing.assert_allclose(np.sort(Halved().evaluate(start.X), axis=0), np.sort(start.F, axis=0))


def test_numbers_of_numpy_in_mixed_candidates_are_the_same_values(tmp_path):
    from pymoo.core.problem import ElementwiseProblem
    from pymoo.core.variable import Binary, Integer

    class Small(ElementwiseProblem):
        def __init__(self):
            super().__init__(vars={"n": Integer(bounds=(0, 3)), "b": Binary()}, n_obj=1)

        def _evaluate(self, X, out, *args, **kwargs):
            out["F"] = X["n"] + X["b"]

    given = [{"n": np.int64(n), "b": np.bool_(b)} for n in range(4) for b in (0, 1)]
    run = opt.minimize(Small(), "ga", n_eval=100, pop_size=4, sampling=given, out=tmp_path)
    assert run.manifest["n_eval"] == 8 and run.front["f1"].tolist() == [0]
    assert len({tuple(f) for record in run.journal() for f in record["F"]}) == 5
    for wrong in ({"n": 7, "b": True}, {"n": 1}, {"n": "x", "b": True}, 3):
        with pytest.raises(opt.UsageError, match="sampling must be an array of candidates"):
            opt.minimize(Small(), "ga", sampling=[wrong], out=tmp_path / "none")


def test_start_of_a_run_in_which_everything_failed_is_one_line(tmp_path):
    with pytest.raises(opt.UsageError):
        opt.minimize(samples.Broken(), n_gen=2, pop_size=6, out=tmp_path)
    (run,) = opt.list_runs(tmp_path)
    with pytest.raises(opt.UsageError, match=r"no solution to start from|cannot start from"):
        opt.minimize(samples.Broken(), n_gen=2, pop_size=6, sampling=run, out=tmp_path / "next")


@pytest.mark.parametrize("n", [1, 5, 40])
def test_object_of_pymoo_has_its_own_number_of_first_candidates(n, tmp_path):
    X = np.random.default_rng(2).random((n, 4))
    run = opt.minimize(samples.Slope(), NSGA2(pop_size=10), n_gen=3, sampling=X, out=tmp_path)
    assert [record["n"] for record in run.journal()] == [10, 10, 10]


def test_start_that_does_not_fit(tmp_path):
    run = opt.minimize(samples.Words(), n_eval=20, pop_size=6, out=tmp_path)
    with pytest.raises(opt.UsageError, match="cannot start from"):
        start_from(run.path, samples.Slope())
    with pytest.raises(opt.UsageError, match="is not a run directory"):
        start_from(tmp_path / "nowhere", samples.Slope())
    with pytest.raises(opt.UsageError, match="candidate 1 is no permutation"):
        start_from(np.array([[0, 1, 2, 3, 4, 5, 6, 7], [0] * 8]), samples.Tour())
    plain = as_compression_problem(get_problem("zdt1", n_var=4))
    assert start_from(GIVEN[0], plain).X.tolist() == [GIVEN[0].tolist()]
