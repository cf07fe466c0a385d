"""What a user's code may do: whatever it raises or returns, one line says which hook and why, and nothing is lost."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import sample_problems as samples
from pymoo.core.problem import Problem
from pymoo.core.variable import Choice, Integer, Real

import opt
from opt import CompressionProblem, Move, Objective, Operators, Reference
from opt.algorithms import algorithms

pytestmark = pytest.mark.usefixtures("no_plots")


def fail(*args, **kwargs):
    raise ZeroDivisionError("two\nlines")


def leave(*args, **kwargs):
    sys.exit(0)


class Wordy(samples.Words):
    pass


def with_hook(base, hook, value):
    return type("Mine", (base,), {hook: value})


# -- what only adds to a finished front -----------------------------------------------------------


@pytest.mark.parametrize(
    "hook", ["test", "describe", "tensors", "metadata", "references", "_calc_pareto_front", "test_batch"]
)
@pytest.mark.parametrize("how", [fail, leave, lambda *args: 7, lambda *args: "text", lambda *args: [3]])
def test_hook_of_the_finished_front_costs_its_own_columns(hook, how, tmp_path):
    problem = with_hook(samples.Slope, hook, how)()
    run = opt.minimize(problem, n_gen=3, pop_size=6, out=tmp_path)
    assert run.status == "finished"
    assert len(run.front) and {"cost", "gain"} <= set(run.front)
    name = {"_calc_pareto_front": "pareto_front", "test_batch": "test"}.get(hook, hook)
    (complaint,) = run.manifest["complaints"]
    assert complaint.startswith(f"Mine.{name}") and "\n" not in complaint
    has_tests = any(column.startswith("test_") for column in run.front)
    assert has_tests == (hook not in ("test", "test_batch"))
    assert ("x0" in run.front) == (hook != "describe")
    assert any((run.path / "solutions").iterdir()) == (hook != "tensors")


def test_complaints_are_told_on_the_terminal(tmp_path, solve):
    file = tmp_path / "mine.py"
    file.write_text(
        "from opt import CompressionProblem, Objective\n\n\nclass Mine(CompressionProblem):\n"
        "    objectives = (Objective('f'),)\n\n"
        "    def __init__(self):\n        super().__init__(n_var=2, xl=0, xu=1)\n\n"
        "    def evaluate(self, X):\n        return X.sum(axis=1, keepdims=True)\n\n"
        "    def test(self, x):\n        return {'accuracy': x[7]}\n"
    )
    answer = solve(file, "--algo", "ga", "--n-gen", 2, "--algo.pop_size", 4, "--out", tmp_path / "runs", "--quiet")
    assert answer.code == 0
    assert answer.err.count("\n") == 1
    assert answer.err.startswith("warning: Mine.test failed: IndexError: index 7 is out of bounds")
    assert "(mine.py line 14)" in answer.err


def test_one_solution_whose_test_fails_keeps_the_others(tmp_path):
    class Mine(samples.Slope):
        def test(self, x):
            if x[0] > 0.2:
                raise ValueError("too large")
            return {"accuracy": 1.0}

    front = opt.minimize(Mine(), n_gen=6, pop_size=10, out=tmp_path).front
    assert 0 < front["test_accuracy"].notna().sum() < len(front)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("L1", "must return Reference objects, got str"),
        (Reference("r", F=np.zeros((2, 3))), r"F of 'r' must have shape (n, 2), got (2, 3)"),
        (Reference("r", X=np.zeros((2, 9))), r"X of 'r' must have shape (n, 4), got (2, 9)"),
        (Reference("r", F=np.array([["a", "b"]])), "F of 'r' must hold numbers"),
        (Reference("r", F=np.zeros((2, 2)), test=[{}]), "test and parameters of 'r' must be 2 mappings"),
    ],
)
def test_reference_that_does_not_fit_is_left_out(reference, message, tmp_path):
    class Mine(samples.Slope):
        def references(self):
            return [reference, Reference("good", F=np.array([[0.5, -1.0]]))]

    run = opt.minimize(Mine(), n_gen=2, pop_size=6, out=tmp_path)
    assert message in run.manifest["complaints"][0]
    assert run.references["reference"].tolist() == ["good"]


# -- what a search cannot go on without -------------------------------------------------------------


@pytest.mark.parametrize("hook", ["begin_run", "begin_generation", "fingerprint", "end_search", "operators"])
@pytest.mark.parametrize("how", [fail, leave])
def test_hook_of_the_search_ends_it_in_one_line(hook, how, tmp_path):
    problem = with_hook(samples.Slope, hook, how)()
    wanted = "ZeroDivisionError: two lines" if how is fail else "SystemExit"
    with pytest.raises(opt.UsageError, match=f"Mine.{hook} failed: {wanted}") as caught:
        opt.minimize(problem, n_gen=3, pop_size=6, out=tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("hook", ["begin_generation", "fingerprint"])
def test_hook_that_fails_later_keeps_what_is_evaluated_and_the_run_goes_on_when_mended(hook, tmp_path):
    class Mine(samples.Slope):
        is_broken = True

        def begin_generation(self, n_gen):
            if Mine.is_broken and hook == "begin_generation" and n_gen == 4:
                raise KeyError("nothing")
            self.n_gen = n_gen
            return False

        def fingerprint(self, x):
            if Mine.is_broken and hook == "fingerprint" and getattr(self, "n_gen", 0) == 3:
                raise KeyError("nothing")
            return super().fingerprint(x)

    with pytest.raises(opt.UsageError, match=f"Mine.{hook} failed: KeyError: 'nothing'.*; the run is kept in"):
        opt.minimize(Mine(), n_gen=6, pop_size=6, out=tmp_path / "broken")
    (run,) = opt.list_runs(tmp_path / "broken")
    assert run.status == "failed" and len(run.journal()) == 3 and len(run.front)
    assert "KeyError" in (run.path / "traceback.txt").read_text()
    Mine.is_broken = False
    whole = opt.minimize(Mine(), n_gen=6, pop_size=6, out=tmp_path / "whole")
    resumed = opt.minimize(Mine(), resume=run.path)
    assert (resumed.path / "journal.jsonl").read_bytes() == (whole.path / "journal.jsonl").read_bytes()


@pytest.mark.parametrize("value", ["text", 3, None, np.zeros(2)])
def test_fingerprint_of_a_wrong_type(value, tmp_path):
    with pytest.raises(opt.UsageError, match=r"Mine\.fingerprint must return bytes, got"):
        opt.minimize(
            with_hook(samples.Words, "fingerprint", lambda self, x: value)(), n_gen=2, pop_size=6, out=tmp_path
        )


def test_fingerprint_may_be_any_kind_of_bytes(tmp_path):
    problem = with_hook(samples.Slope, "fingerprint", lambda self, x: bytearray(x.tobytes()))()
    assert opt.minimize(problem, n_gen=2, pop_size=6, out=tmp_path).status == "finished"


GOOD = samples.Slope().operators() or Operators(
    sampling=lambda n, rng: rng.random((n, 4)),
    crossover=lambda A, B, rng: (A.copy(), B.copy()),
    mutation=lambda X, rng: rng.random(X.shape),
)


@pytest.mark.parametrize(
    ("operators", "message"),
    [
        ({"sampling": fail}, r"Mine\.operators\(\)\.sampling failed: ZeroDivisionError"),
        ({"sampling": lambda n, rng: None}, r"sampling must return an array of shape \(6, 4\), got NoneType"),
        ({"sampling": lambda n, rng: rng.random((n, 3))}, r"sampling must return shape \(6, 4\), got \(6, 3\)"),
        ({"sampling": lambda n, rng: rng.random((n + 1, 4))}, r"sampling must return shape \(6, 4\), got \(7, 4\)"),
        ({"sampling": lambda n, rng: rng.random((0, 4))}, r"sampling returned no candidate where 6 were asked"),
        ({"sampling": lambda n, rng: np.full((n, 4), "a")}, r"sampling must return real values"),
        ({"crossover": fail}, r"crossover failed: ZeroDivisionError"),
        ({"crossover": lambda A, B, rng: A}, r"crossover must return a pair \(C, D\)"),
        ({"crossover": lambda A, B, rng: (A, B[:0])}, r"crossover must return shape"),
        ({"mutation": fail}, r"mutation failed: ZeroDivisionError"),
        ({"mutation": lambda X, rng: X[:, :2]}, r"mutation must return shape"),
        ({"repair": lambda X: X[:1]}, r"repair must return shape"),
        ({"moves": {"m": fail}}, r"operators\(\)\.moves must hold Move objects"),
        ({"moves": 3}, r"operators\(\)\.moves must be a mapping"),
    ],
)
def test_operators_that_fail_or_return_something_else(operators, message, tmp_path):
    own = Operators(**({"sampling": GOOD.sampling, "crossover": GOOD.crossover, "mutation": GOOD.mutation} | operators))
    problem = with_hook(samples.Slope, "operators", lambda self: own)()
    with pytest.raises(opt.UsageError, match=message) as caught:
        opt.minimize(problem, n_gen=4, pop_size=6, out=tmp_path)
    assert "\n" not in str(caught.value)


def test_moves_that_fail_are_told(tmp_path):
    own = Operators(sampling=GOOD.sampling, moves={"jump": Move(fail)})
    with pytest.raises(opt.UsageError, match=r"operators\(\)\.moves\['jump'\] failed: ZeroDivisionError"):
        opt.minimize(with_hook(samples.Slope, "operators", lambda self: own)(), "sa", n_gen=4, out=tmp_path)


@pytest.mark.parametrize("algo", list(algorithms()))
def test_short_sampling_serves_every_algorithm(algo, tmp_path):
    """Two different candidates a call: asked again, and where there are no more, repeated."""

    class Short(samples.Slope):
        def operators(self):
            def sampling(n, rng):
                return rng.random((min(n, 2), 4))

            return Operators(sampling, GOOD.crossover, GOOD.mutation)

    run = opt.minimize(Short(), algo, n_eval=60, out=tmp_path)
    assert run.status == "finished" and run.manifest["n_eval"] > 1


def test_whole_floats_stand_for_integers_and_others_do_not(tmp_path):
    class Mine(samples.Steps):
        offset = 0.0

        def operators(self):
            def sampling(n, rng):
                return np.column_stack([rng.integers(0, 9, n), np.zeros(n), np.full(n, 2.0), np.ones(n)]) + self.offset

            return Operators(sampling)

        def evaluate(self, X):
            assert X.dtype == np.int64
            return super().evaluate(X)

    assert opt.minimize(Mine(), "random", n_gen=2, pop_size=6, fail_fast=True, out=tmp_path).status == "finished"
    Mine.offset = 0.5
    with pytest.raises(opt.UsageError, match="sampling must return integer values"):
        opt.minimize(Mine(), "random", n_gen=2, pop_size=6, out=tmp_path)


@pytest.mark.parametrize(
    "how", [fail, leave, lambda *args: {}, lambda *args: None, lambda *args: "x", lambda *args: [1.0]]
)
@pytest.mark.parametrize("hook", ["scalarise", "distance"])
def test_scalarise_and_distance_that_fail_name_the_hook(hook, how, tmp_path):
    problem = with_hook(samples.Slope, hook, how)()
    algo, options = ("ga", {"scalarise": "problem"}) if hook == "scalarise" else ("sa", {})
    with pytest.raises(opt.UsageError, match=rf"Mine\.{hook} failed: ") as caught:
        opt.minimize(problem, algo, n_gen=6, out=tmp_path, **options)
    assert "\n" not in str(caught.value)
    (run,) = opt.list_runs(tmp_path)
    assert run.status == "failed"


@pytest.mark.parametrize("base", [samples.Slope, samples.Parts])
@pytest.mark.parametrize("value", ["lenet", fail, leave, 7, lambda self: 7])
def test_name_is_no_reason_to_lose_a_run(value, base, tmp_path):
    problem = with_hook(base, "name", value)()
    run = opt.minimize(problem, n_gen=2, pop_size=6, out=tmp_path)
    assert run.status == "finished"
    assert run.manifest["problem"]["name"] == ("lenet" if value == "lenet" else "Mine")


def test_masked_and_complex_values_are_no_numbers(tmp_path):
    class Masked(samples.Slope):
        def evaluate(self, X):
            F = super().evaluate(X)
            return np.ma.masked_array(F, mask=np.column_stack([X[:, 0] > 0.5] * 2))

    run = opt.minimize(Masked(), n_gen=3, pop_size=12, out=tmp_path)
    assert run.manifest["n_failed"] > 0 and (run.front["x0"] <= 0.5).all()

    class Complex(samples.Slope):
        def evaluate(self, X):
            return super().evaluate(X) + 1j

    with pytest.raises(opt.UsageError, match="TypeError: evaluate must return real numbers, got complex ones"):
        opt.minimize(Complex(), n_gen=3, pop_size=12, out=tmp_path / "complex")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": 3}, "name must be text, got 3"),
        ({"name": "\udcff"}, "name must be text"),
        ({"sense": "down"}, "sense must be minimise or maximise, got 'down'"),
        ({"unit": 3}, "unit must be text"),
        ({"weight": "a"}, "weight must be a finite number, got 'a'"),
        ({"worst": float("nan")}, "worst must be a finite number, got nan"),
    ],
)
def test_objective_of_another_kind(given, message):
    with pytest.raises(ValueError, match=message):
        Objective(**({"name": "f"} | given))


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("xl", "low"), ("n_obj", "3"), ("objectives", "f"), ("representation", "lenet"), ("own_algorithms", 3)],
)
def test_attributes_put_in_place_of_the_base_class_s(attribute, value, tmp_path):
    class Mine(samples.Slope):
        def __init__(self):
            super().__init__()
            setattr(self, attribute, value)

    with pytest.raises(opt.UsageError, match="Mine") as caught:
        opt.minimize(Mine(), n_gen=2, out=tmp_path / "runs")
    assert "\n" not in str(caught.value) and not (tmp_path / "runs").exists()


# -- construction -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", ["raise KeyError('no')", "import sys; sys.exit(0)", "self.n = 1", "1 / 0", "super().__init__()"]
)
@pytest.mark.parametrize("base", ["CompressionProblem", "Problem"])
def test_constructor_that_fails_or_does_not_call_the_base_class(body, base, tmp_path, solve):
    if (body, base) == ("super().__init__()", "Problem"):
        pytest.skip("pymoo's own takes no argument: one of -1 variables, which is refused elsewhere")
    file = tmp_path / "mine.py"
    file.write_text(
        "from opt import CompressionProblem, Objective\nfrom pymoo.core.problem import Problem\n\n\n"
        f"class Mine({base}):\n    objectives = (Objective('f'),)\n\n    def __init__(self):\n        {body}\n"
    )
    answer = solve(file, "--algo", "ga", "--out", tmp_path / "runs")
    assert answer.code == 2 and answer.err.count("\n") == 1, answer.err
    assert "Mine" in answer.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"n_var": 0}, "n_var must be a whole number of at least 1, got 0"),
        ({"n_var": -1}, "n_var must be"),
        ({"n_var": "3"}, "n_var must be"),
        ({"n_var": 2.5}, "n_var must be"),
        ({"n_var": 2, "xl": [0, 0, 0], "xu": 1}, r"xl must be a number or have shape \(2,\), got \(3,\)"),
        ({"n_var": 2, "xl": 1.0, "xu": 0.0}, "variable 0 has no value between its bounds, xl 1.0 and xu 0.0"),
        ({"n_var": 2, "xl": np.nan, "xu": 0.0}, "xl holds NaN"),
        ({"n_var": 2, "xl": "low", "xu": 0.0}, "xl must hold numbers"),
        ({"n_var": 1, "xl": 0.2, "xu": 0.8, "representation": "integer"}, "has no whole number between its bounds"),
        ({"n_var": 1, "xl": 0, "xu": 2.0**60, "representation": "integer"}, r"must lie within \+-2\*\*53"),
    ],
)
def test_bounds_and_sizes_are_checked_once(given, message):
    class Mine(CompressionProblem):
        objectives = (Objective("f"),)

        def __init__(self):
            super().__init__(**given)

    with pytest.raises(ValueError, match=message):
        Mine()


@pytest.mark.parametrize("objectives", [(), "error", ("error",), (Objective("a"), Objective("a")), 3, None])
def test_objectives_of_a_wrong_kind(objectives):
    cls = type("Mine", (CompressionProblem,), {"objectives": objectives, "evaluate": lambda self, X: X})
    with pytest.raises(ValueError, match=r"Mine\.objectives"):
        cls(n_var=1)


def test_fractional_bounds_of_integers_are_drawn_in(tmp_path):
    class Ours(CompressionProblem):
        objectives = (Objective("a"), Objective("b"))

        def __init__(self):
            super().__init__(n_var=2, representation="integer", xl=(0.5, -1.5), xu=(3.7, 2.5))
            self.rows = []

        def evaluate(self, X):
            self.rows.append(X.copy())
            return X.astype(float)

    class Plain(Problem):
        def __init__(self):
            super().__init__(n_var=2, n_obj=2, xl=np.array([0.5, -1.5]), xu=np.array([3.7, 2.5]), vtype=int)
            self.rows = []

        def _evaluate(self, X, out, *args, **kwargs):
            self.rows.append(X.copy())
            out["F"] = X.astype(float)

    for problem in (Ours(), Plain()):
        for algo in ("nsga2", "de", "pso", "random", "sa"):
            opt.minimize(problem, algo, n_gen=8, out=tmp_path)
        X = np.concatenate(problem.rows)
        assert (X >= [1, -1]).all() and (X <= [3, 2]).all()
        assert set(map(tuple, X.tolist())) == {(i, j) for i in (1, 2, 3) for j in (-1, 0, 1, 2)}


@pytest.mark.parametrize("algo", ["nsga2", "ga", "de", "pso", "cma-es", "random", "sa"])
@pytest.mark.parametrize("bound", [np.inf, 1.5e308])
def test_infinite_boxes_are_refused_before_anything_is_written(algo, bound, tmp_path):
    class Endless(CompressionProblem):
        objectives = (Objective("a"), Objective("b"))

        def __init__(self):
            super().__init__(n_var=2, xl=-bound, xu=bound)

        def evaluate(self, X):
            return X

    with pytest.raises(opt.UsageError, match="finite bounds") as caught:
        opt.minimize(Endless(), algo, n_gen=2, out=tmp_path / "runs")
    assert "\n" not in str(caught.value) and not (tmp_path / "runs").exists()


# -- mixed variables -------------------------------------------------------------------------------


class Mixed(Problem):
    """Named variables, one a choice of arrays and one a choice of objects, in a problem that spoils what it gets."""

    def __init__(self, spoils=True):
        arrays = [np.arange(3.0), np.arange(2000.0), np.arange(2000.0) + 1e-9 * (np.arange(2000) == 1000)]
        variables = {
            "share": Real(bounds=(0.0, 1.0)),
            "count": Integer(bounds=(1.2, 4.8)),
            "kernel": Choice(options=arrays),
            "layout": Choice(options=[[1, 2], {"a": (3, 4)}, None, 2]),
        }
        super().__init__(vars=variables, n_obj=2)
        self.spoils = spoils

    def _evaluate(self, X, out, *args, **kwargs):
        rows = []
        for x in X:
            assert 0 <= x["share"] <= 1 and x["count"] in (2, 3, 4)
            rows.append([x["share"] + x["count"], float(x["kernel"].sum()) - x["count"] + len(str(x["layout"]))])
            if self.spoils:
                x["share"] = 77.0
                x["kernel"][:] = -1.0
                x.pop("count")
        out["F"] = np.array(rows)


@pytest.mark.parametrize("algo", ["nsga2", "random", "es", "sa", "deap-nsga2", "nsga3"])
def test_mixed_problem_that_changes_its_dictionaries_searches_as_one_that_does_not(algo, tmp_path):
    runs = [opt.minimize(Mixed(spoils), algo, n_eval=60, fail_fast=True, out=tmp_path) for spoils in (True, False)]
    assert (runs[0].path / "journal.jsonl").read_bytes() == (runs[1].path / "journal.jsonl").read_bytes()
    assert (runs[0].path / "front.csv").read_bytes() == (runs[1].path / "front.csv").read_bytes()
    assert set(runs[0].front["layout"].fillna("none").astype(str)) <= {"[1, 2]", "{'a': (3, 4)}", "none", "2", "2.0"}
    assert runs[0].front["kernel"].str.fullmatch(r"\[0\.0, 1\.0, 2\.0\]|option [12]: \[0\.0, 1\.0.*\.\.\.").all()


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({"n": Integer(bounds=(3, 1))}, "bounds of variable n .* no whole number between"),
        ({"r": Real(bounds=(0, np.inf))}, "variable r needs finite bounds"),
        ({"c": Choice(options=[])}, "variable c is a Choice without options"),
    ],
)
def test_variables_without_a_value_are_refused(variables, message, tmp_path):
    class Odd(Problem):
        def __init__(self):
            super().__init__(vars=variables, n_obj=1)

    with pytest.raises(opt.UsageError, match=message):
        opt.minimize(Odd(), "ga", n_gen=2, out=tmp_path)
