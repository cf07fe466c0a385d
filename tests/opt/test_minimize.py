"""`opt.minimize` with the habits that a user of pymoo brings."""

from __future__ import annotations

import inspect
import json
import shutil
import sys

import numpy as np
import pytest
import sample_problems as samples
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.algorithms.moo.spea2 import SPEA2
from pymoo.algorithms.soo.nonconvex.ga import GA
from pymoo.algorithms.soo.nonconvex.nelder import NelderMead
from pymoo.core.algorithm import Algorithm
from pymoo.core.callback import Callback
from pymoo.core.population import Population
from pymoo.operators.crossover.ox import OrderCrossover
from pymoo.operators.crossover.pntx import TwoPointCrossover
from pymoo.operators.mutation.bitflip import BitflipMutation
from pymoo.operators.mutation.inversion import InversionMutation
from pymoo.operators.sampling.rnd import BinaryRandomSampling, IntegerRandomSampling, PermutationRandomSampling
from pymoo.optimize import minimize as pymoo_minimize
from pymoo.problems import get_problem
from pymoo.termination import get_termination
from pymoo.termination.default import DefaultMultiObjectiveTermination

import opt
from opt.console.parameters import parameters_of
from opt.flags.search_options import OPTIONS, SearchOptions, StudyOptions

pytestmark = pytest.mark.usefixtures("no_plots")


def journal(run):
    return (run.path / "journal.jsonl").read_bytes()


def test_algorithm_object_is_taken_as_it_is_and_stays_unchanged(tmp_path):
    algorithm = NSGA2(pop_size=12)
    first = opt.minimize(get_problem("zdt1", n_var=5), algorithm, ("n_gen", 6), seed=4, out=tmp_path)
    second = opt.minimize(get_problem("zdt1", n_var=5), algorithm, n_gen=6, seed=4, out=tmp_path)
    assert algorithm.pop is None and algorithm.problem is None
    assert journal(first) == journal(second)
    assert first.manifest["algo"]["name"] == "NSGA2"
    assert (first.manifest["n_gen"], first.manifest["n_eval"]) == (6, 72)
    assert first.status == "finished" and len(first.front)


def test_object_searches_as_pymoo_itself_would(tmp_path):
    """The same candidates as pymoo's own loop, which is seeded with what the engine derives from the run's seed."""
    problem = get_problem("zdt1", n_var=5)
    run = opt.minimize(problem, NSGA2(pop_size=12), n_gen=5, seed=9, out=tmp_path)
    seed = int(np.random.SeedSequence(9).spawn(2)[0].generate_state(1)[0])
    seen = []
    pymoo_minimize(problem, NSGA2(pop_size=12), ("n_gen", 5), seed=seed, callback=lambda a: seen.append(a.off.get("F")))
    F = np.concatenate([np.array(record["F"]) for record in run.journal()])
    np.testing.assert_array_equal(F, np.concatenate(seen))


def test_draws_without_a_seed_inside_an_object_descend_from_the_run(tmp_path):
    class Careless(Algorithm):
        def _draw(self):
            rng = np.random.default_rng()
            return Population.new("X", np.column_stack([rng.random((4, 2)), np.random.random((4, 2))]))

        _initialize_infill = _infill = _draw

        def _advance(self, infills=None, **kwargs):
            self.pop = infills

    runs = [opt.minimize(samples.Slope(), Careless(), n_gen=5, seed=s, out=tmp_path) for s in (1, 1, 2)]
    assert journal(runs[0]) == journal(runs[1]) != journal(runs[2])


def test_run_with_an_object_goes_on_when_the_object_is_given_again(tmp_path):
    whole = opt.minimize(samples.Fenced(), SPEA2(pop_size=8), n_gen=8, seed=2, out=tmp_path)
    cut = tmp_path / "cut"
    shutil.copytree(whole.path, cut)
    lines = journal(whole).splitlines(keepends=True)
    (cut / "journal.jsonl").write_bytes(b"".join(lines[:5]))
    (cut / "manifest.json").write_text(json.dumps(whole.manifest | {"status": "running"}))
    for other in ("nsga2", NSGA2(pop_size=8)):
        with pytest.raises(
            opt.UsageError, match=r"begun with a pymoo object; give the same again, algo=SPEA2\(\.\.\.\)"
        ):
            opt.minimize(samples.Fenced(), other, resume=cut)
    assert journal(opt.minimize(samples.Fenced(), SPEA2(pop_size=8), resume=cut)) == journal(whole)


def test_single_objective_object_sees_one_scalarised_objective(tmp_path):
    run = opt.minimize(samples.Slope(), GA(pop_size=10), n_gen=10, seed=1, out=tmp_path)
    assert run.manifest["n_eval"] == 100
    run = opt.minimize(samples.Bowl(n_var=2), NelderMead(), n_eval=60, seed=1, out=tmp_path)
    assert run.front["distance"].min() < 1e-3


def test_integers_of_an_object_are_whole(tmp_path):
    class Whole(samples.Steps):
        def evaluate(self, X):
            assert X.dtype == np.int64
            return super().evaluate(X)

    run = opt.minimize(Whole(), NSGA2(pop_size=8), n_gen=4, fail_fast=True, out=tmp_path)
    assert run.status == "finished"
    run = opt.minimize(
        Whole(), NSGA2(pop_size=8, sampling=IntegerRandomSampling()), n_gen=4, fail_fast=True, out=tmp_path
    )
    assert run.status == "finished"


@pytest.mark.parametrize("problem", [samples.Switches, samples.Tour, samples.Words])
def test_object_whose_candidates_the_problem_cannot_take_is_refused(problem, tmp_path):
    with pytest.raises(opt.UsageError, match=r"NSGA2 proposes .*needs") as caught:
        opt.minimize(problem(), NSGA2(pop_size=8), n_gen=4, out=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("problem", "operators"),
    [
        (samples.Switches, (BinaryRandomSampling(), TwoPointCrossover(), BitflipMutation())),
        (samples.Tour, (PermutationRandomSampling(), OrderCrossover(), InversionMutation())),
    ],
)
def test_object_with_operators_for_the_problem_is_taken(problem, operators, tmp_path):
    sampling, crossover, mutation = operators
    algorithm = NSGA2(pop_size=8, sampling=sampling, crossover=crossover, mutation=mutation)
    run = opt.minimize(problem(), algorithm, n_gen=2, out=tmp_path)
    assert run.status == "finished" and run.manifest["n_eval"] >= 8 and len(run.front)


@pytest.mark.parametrize(
    ("termination", "stop_reason"),
    [
        (("n_gen", 3), "3 generations done"),
        (("n_eval", 20), "20 evaluations done"),
        (get_termination("n_gen", 3), "3 generations done"),
        (get_termination("n_eval", 20), "20 evaluations done"),
        (("time", "00:00:00.2"), "0.2 seconds spent"),
    ],
)
def test_terminations_are_budgets(termination, stop_reason, tmp_path):
    if isinstance(termination, tuple) and termination[0] == "time":
        termination = get_termination("time", 0.2)
    run = opt.minimize(samples.Slope(), "nsga2", termination, pop_size=6, out=tmp_path)
    assert run.manifest["stop_reason"] == stop_reason
    inside = NSGA2(pop_size=6)
    inside.termination = get_termination("n_gen", 2)
    assert opt.minimize(samples.Slope(), inside, out=tmp_path).manifest["n_gen"] == 2


def test_callback_is_called_with_the_algorithm_after_each_generation(tmp_path):
    class Best(Callback):
        def __init__(self):
            super().__init__()
            self.data["best"] = []

        def notify(self, algorithm):
            self.data["best"].append((algorithm.n_gen, algorithm.pop.get("F").min(), algorithm.evaluator.n_eval))

    callback = Best()
    opt.minimize(samples.Slope(), n_gen=4, pop_size=6, callback=callback, out=tmp_path)
    assert [(n, e) for n, _, e in callback.data["best"]] == [(1, 6), (2, 12), (3, 18), (4, 24)]

    def stop(algorithm):
        if algorithm.n_gen == 2:
            algorithm.termination.terminate()

    # as in pymoo, which asks its termination before it calls back: one more generation
    run = opt.minimize(samples.Slope(), n_gen=9, pop_size=6, callback=stop, out=tmp_path)
    assert run.manifest["n_gen"] == 3
    assert run.manifest["stop_reason"] == "the algorithm ended by itself"


def test_callback_that_fails_keeps_what_was_evaluated(tmp_path):
    def bad(algorithm):
        if algorithm.n_gen == 3:
            raise KeyError("nowhere")

    with pytest.raises(opt.UsageError, match=r"callback bad failed: KeyError: 'nowhere' \(test_minimize\.py line"):
        opt.minimize(samples.Slope(), n_gen=9, pop_size=6, callback=bad, out=tmp_path)
    (run,) = opt.list_runs(tmp_path)
    assert run.status == "failed" and len(run.journal()) == 3 and len(run.front)
    assert "in bad" in (run.path / "traceback.txt").read_text()


@pytest.mark.parametrize(
    "habit",
    ["save_history", "display", "output", "progress", "evaluator", "copy_termination", "return_least_infeasible",
     "crossover", "mutation", "survival", "eliminate_duplicates", "ref_dirs", "archive", "selection", "repair"],
)  # fmt: skip
def test_other_habits_are_refused_by_name(habit, tmp_path):
    with pytest.raises(opt.UsageError, match=f"opt.minimize takes no {habit}: "):
        opt.minimize(samples.Slope(), out=tmp_path / "runs", **{habit: True})
    assert not (tmp_path / "runs").exists()


def test_numbers_of_numpy_and_objects_without_a_termination(tmp_path):
    run = opt.minimize(
        samples.Slope(), "ga", n_gen=np.int64(2), seed=np.int32(3), pop_size=np.int64(6), weights=np.array([1.0, 2.0]),
        out=tmp_path,
    )  # fmt: skip
    assert (run.manifest["seed"], run.manifest["request"]["weights"]) == (3, [1.0, 2.0])
    assert opt.minimize(samples.Slope(), NSGA2(pop_size=6), out=tmp_path).manifest["n_gen"] == 50


def test_code_of_an_object_that_leaves_is_one_line(tmp_path):
    algorithm = NSGA2(pop_size=6, callback=lambda algorithm: sys.exit(0))
    with pytest.raises(opt.UsageError, match=r"algorithm NSGA2 failed in tell: SystemExit: 0"):
        opt.minimize(samples.Slope(), algorithm, n_gen=3, out=tmp_path)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"seed": "1"}, r"seed must be a whole number, got '1'"),
        ({"seed": 1.5}, r"seed must be a whole number"),
        ({"n_gen": 2.5}, r"n_gen must be a whole number, got 2\.5"),
        ({"threads": "2"}, r"threads must be a whole number"),
        ({"keep": 1.5}, r"keep must be a whole number"),
        ({"weights": 5}, r"weights must be a sequence of numbers"),
        ({"weights": ["a", "b"]}, r"weights must be a number, got 'a'"),
        ({"algo": NSGA2}, r"got the class NSGA2; call it"),
        ({"algo": 3}, r"a name or a pymoo Algorithm object, got int"),
        ({"algo": NSGA2(), "pop_size": 9}, r"pop_size belongs into the object: NSGA2\(pop_size=\.\.\.\)"),
        ({"termination": 30}, r"termination must be .*got int"),
        ({"termination": ("n_gens", 3)}, r"termination must be .*n_gens"),
        ({"termination": ("n_gen", 3.7)}, r"termination must be .*3\.7 is no whole number"),
        ({"termination": ("n_gen", "x")}, r"termination must be"),
        ({"algo": NSGA2(), "n_genn": 9}, r"has no 'n_genn'; did you mean 'n_gen'"),
        ({"termination": DefaultMultiObjectiveTermination()}, r"is not known here; give"),
        ({"termination": ("n_gen", 3), "n_gen": 3}, r"termination and n_gen say the same"),
        ({"callback": 3}, r"callback must be callable"),
        ({"copy_algorithm": False}, r"copy_algorithm=False is not taken"),
        ({"sampling": IntegerRandomSampling()}, r"sampling takes an array, a population or a saved run, got Integer"),
        ({"sampling": np.zeros((3, 9))}, r"sampling must have shape \(n, 4\)"),
        ({"sampling": np.full((2, 4), 7.0)}, r"candidate 0 lies outside the bounds"),
        ({"sampling": np.array([["a"] * 4])}, r"sampling must hold real values"),
    ],
)
def test_what_cannot_be_taken_is_one_line(given, message, tmp_path):
    with pytest.raises(opt.UsageError, match=message) as caught:
        opt.minimize(samples.Slope(), **({"out": tmp_path / "runs"} | given))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "runs").exists()


def test_minimize_takes_every_option_of_the_command_for_one_run():
    """Those that only a command or a study has are named here, each with what Python has instead."""
    elsewhere = {"runs": "a loop", "start": "sampling", "quiet": "verbose"} | dict.fromkeys(
        parameters_of(StudyOptions), "a study of the command"
    )
    taken = inspect.signature(opt.minimize).parameters
    for flag, option in OPTIONS.items():
        name = flag.replace("-", "_")
        assert (name in taken) != (name in elsewhere), name
        if name in taken and name != "seed":
            assert taken[name].default == option.default


def test_options_come_by_name_or_as_a_whole(tmp_path):
    options = {"n_eval": 30, "cache_size": 20, "tolerance": 0.5, "patience": 7, "keep": 2, "eval_time": "5s"}
    by_name = opt.minimize(samples.Slope(), pop_size=10, out=tmp_path, **options)
    whole = opt.minimize(samples.Slope(), pop_size=10, options=SearchOptions(out=tmp_path, **options))
    assert by_name.manifest["request"] == whole.manifest["request"]
    asked = by_name.manifest["request"]
    assert (asked["cache_size"], asked["eval_seconds"], asked["keep"]) == (20, 5.0, 2)
    assert (asked["budget"]["patience"], asked["budget"]["tolerance"]) == (7, 0.5)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ({"n_gen": 0}, "n_gen must be at least 1, got 0"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"keep": 2.5}, "keep must be a whole number, got 2.5"),
        ({"cache_size": 0}, "cache_size must be at least 1, got 0"),
        ({"tolerance": float("nan")}, "tolerance must be finite, got nan"),
        ({"eval_time": "soon"}, "eval_time must be like 90s, 10m, 1.5h or 1h30m, got 'soon'"),
    ],
)
def test_wrong_option_is_told_by_its_name_in_python(option, words, tmp_path):
    with pytest.raises(opt.UsageError) as caught:
        opt.minimize(samples.Slope(), out=tmp_path / "runs", **option)
    assert str(caught.value) == words
    assert not (tmp_path / "runs").exists()
