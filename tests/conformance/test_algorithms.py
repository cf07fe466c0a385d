"""Every algorithm on every kind of problem that it fits: what all of them promise."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sample_problems as samples
from pymoo.problems import get_problem

import opt
from opt.algorithms import algorithms
from opt.problem import CompressionProblem
from opt.problem.adapt import as_compression_problem

N_EVAL = 37
SMALL = {"pop_size": 8, "n_offsprings": 8, "mu": 4, "lambda_": 8, "n_chains": 4, "n_proposals": 2, "n_neighbors": 3}

PROBLEMS: dict[str, Callable[[], Any]] = {
    "real-1": samples.Bowl,
    "real-2": samples.Slope,
    "zdt1": lambda: get_problem("zdt1", n_var=4),
    "rastrigin": lambda: get_problem("rastrigin", n_var=2),
    "dtlz2-3": lambda: get_problem("dtlz2", n_var=5, n_obj=3),
    "bnh": lambda: get_problem("bnh"),
    "constrained": samples.Fenced,
    "integer": samples.Steps,
    "binary": samples.Switches,
    "permutation": samples.Tour,
    "mixed": samples.Parts,
    "object": samples.Words,
    "drifting": samples.Drifting,
    "drifting-integer": samples.DriftingSteps,
    "flaky": samples.Flaky,
    "flagged": samples.Flagged,
    "level": samples.Level,
    "flaky-half": samples.Halved,
    "flaky-half-free": samples.HalvedFree,
}

pytestmark = pytest.mark.usefixtures("no_plots")


def pairs(*, fitting: bool, without: str = "-") -> list:
    """Every (algorithm, problem) that fits, or that does not; without the problems named so."""
    found = []
    for problem_name, build in PROBLEMS.items():
        if problem_name.startswith(without):
            continue
        problem = as_compression_problem(build())
        for spec in algorithms().values():
            if (spec.misfit(problem) is None) == fitting:
                found.append(pytest.param(spec.name, problem_name, id=f"{spec.name}-{problem_name}"))
    return found


def search(problem: Any, algo: str, out: Path, **more: Any) -> opt.Run:
    parameters = {k: v for k, v in SMALL.items() if k in algorithms()[algo].parameters}
    return opt.minimize(problem, algo, out=out, **({"n_eval": N_EVAL, "seed": 3} | parameters | more))


def files(run: opt.Run, *names: str) -> dict[str, bytes]:
    """The bytes of what a run must reproduce."""
    paths = [run.path / name for name in ("journal.jsonl", "front.csv")]
    paths += run.path.glob("trace.csv")  # of the algorithms that write one
    paths += sorted((run.path / "solutions").iterdir())
    return {str(p.relative_to(run.path)): p.read_bytes() for p in paths}


def watch(problem: CompressionProblem) -> list[tuple[np.ndarray, np.ndarray]]:
    """Check X at every evaluation; the list fills with each X that was given and a copy of it."""
    seen: list[tuple[np.ndarray, np.ndarray]] = []
    inner = problem.evaluate

    def evaluate(X: np.ndarray) -> Any:
        assert isinstance(X, np.ndarray) and X.shape == (len(X), problem.n_var) and len(X)
        kind = problem.representation
        if kind == "real":
            assert X.dtype == np.float64
        elif kind in ("integer", "permutation"):
            assert X.dtype == np.int64
        elif kind == "binary":
            assert X.dtype == np.bool_
        else:
            assert X.dtype == object
        if kind in ("real", "integer"):
            assert (problem.xl <= X).all() and (problem.xu >= X).all()
        elif kind == "permutation":
            assert (np.sort(X, axis=1) == np.arange(problem.n_var)).all()
        elif kind == "mixed":
            assert all(set(x) == {"share", "count", "doubled", "kind"} for x in X[:, 0])
            assert all(0 <= x["share"] <= 1 and x["count"] in range(1, 10) for x in X[:, 0])
            assert all(type(x["count"]) is int and type(x["doubled"]) is bool for x in X[:, 0])
        elif kind == "object":
            assert all(isinstance(x, samples.Word) and 1 <= len(x) <= 9 for x in X[:, 0])
        seen.append((X, X.copy()))
        return inner(X)

    problem.evaluate = evaluate  # type: ignore[method-assign]
    return seen


def nondominated_rows(F: np.ndarray) -> np.ndarray:
    """The nondominated rows of F, each once, in lexicographic order: the definition, pair by pair."""
    unique = np.unique(F, axis=0)
    kept = [f for f in unique if not ((unique <= f).all(axis=1) & (unique < f).any(axis=1)).any()]
    return np.array(kept).reshape(len(kept), F.shape[1])


def test_every_representation_is_covered():
    kinds = {as_compression_problem(build()).representation for build in PROBLEMS.values()}
    assert kinds == {"real", "integer", "binary", "permutation", "mixed", "object"}


@pytest.mark.parametrize(("algo", "name"), pairs(fitting=True))
def test_search_spends_its_budget_on_distinct_valid_candidates(algo, name, tmp_path):
    problem = as_compression_problem(PROBLEMS[name]())
    seen = watch(problem)
    run = search(problem, algo, tmp_path)

    assert run.status == "finished"
    if (algo, name) == ("cma-es", "level"):  # it sees that the objective is flat
        assert run.manifest["stop_reason"] == "the algorithm ended by itself"
        return
    assert run.manifest["n_eval"] == N_EVAL
    assert run.manifest["stop_reason"] == f"{N_EVAL} evaluations done"
    for given, copy in seen:
        assert (given == copy).all(), "the engine or the algorithm wrote into a batch"
    if not name.startswith(("drifting", "flaky")):
        before = seen[: len(run.journal())]  # what follows are the references
        prints = [problem.fingerprint(x) for X, _ in before for x in X]
        assert len(prints) == len(set(prints)) == N_EVAL

    records = run.journal()
    assert sum(r["new"] for r in records) == N_EVAL
    assert [r["gen"] for r in records] == list(range(1, len(records) + 1))
    history = run.history
    assert history["n_eval"].tolist() == np.cumsum([r["new"] for r in records]).tolist()
    assert len(history) == len(records)


@pytest.mark.parametrize(("algo", "name"), pairs(fitting=True, without="drifting"))
def test_front_is_the_nondominated_set_of_everything_evaluated(algo, name, tmp_path):
    run = search(PROBLEMS[name](), algo, tmp_path)
    F = np.concatenate([np.array(r["F"], dtype=float).reshape(-1, len(run.objectives)) for r in run.journal()])
    ok = np.isfinite(F).all(axis=1)
    if "G" in run.journal()[0]:
        ok &= (np.concatenate([np.array(r["G"], dtype=float) for r in run.journal()]) <= 0).all(axis=1)
    expected = nondominated_rows(F[ok])
    signs = [o.sign for o in run.objectives]
    found = run.front[[o.name for o in run.objectives]].to_numpy() * signs
    if len(run.objectives) == 1:
        assert len(found) == 1
    np.testing.assert_allclose(nondominated_rows(found), expected, rtol=1e-12)
    assert len(found) == len(expected)
    # an id is the number of the evaluation that found it
    for number, row in zip(run.front["id"], found, strict=True):
        np.testing.assert_allclose(F[int(number[1:]) - 1], row, rtol=1e-12)


@pytest.mark.parametrize(("algo", "name"), pairs(fitting=True))
def test_same_seed_gives_the_same_run_and_another_seed_another(algo, name, tmp_path, monkeypatch):
    runs = []
    default_rng = np.random.default_rng
    for folder, seed, outside in (("a", 3, 0), ("b", 3, 1), ("c", 4, 0)):
        # global generators belong to nobody here, nor do those without a seed: they must neither matter nor be moved
        random.seed(outside)
        np.random.seed(outside)
        monkeypatch.setattr(
            np.random, "default_rng", lambda seed=None, own=outside: default_rng(own if seed is None else seed)
        )
        state = random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]
        runs.append(search(PROBLEMS[name](), algo, tmp_path / folder, seed=seed))
        assert state == (random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2])
    first, second, other = (files(run) for run in runs)
    assert first == second
    assert first["journal.jsonl"] != other["journal.jsonl"]


@pytest.mark.parametrize(("algo", "name"), pairs(fitting=True))
def test_resumed_run_equals_the_uninterrupted_one(algo, name, tmp_path):
    whole = search(PROBLEMS[name](), algo, tmp_path)
    lines = (whole.path / "journal.jsonl").read_bytes().splitlines(keepends=True)
    for n_records in sorted({0, len(lines) // 2, len(lines) - 2}):
        cut = tmp_path / f"cut-{n_records}"
        shutil.copytree(whole.path, cut)
        (cut / "journal.jsonl").write_bytes(b"".join(lines[: n_records + 1]))
        manifest = json.loads((cut / "manifest.json").read_text())
        (cut / "manifest.json").write_text(json.dumps(manifest | {"status": "running"}))
        (cut / "front.csv").unlink()
        resumed = opt.minimize(PROBLEMS[name](), resume=cut)
        assert resumed.status == "finished"
        assert files(resumed) == files(whole)
        for key in ("n_eval", "n_gen", "hypervolume", "ref_point", "stop_reason", "failures", "n_solutions"):
            assert resumed.manifest[key] == whole.manifest[key]
        columns = [c for c in whole.history.columns if c != "seconds"]
        assert resumed.history[columns].equals(whole.history[columns])


@pytest.mark.parametrize(("algo", "name"), pairs(fitting=False))
def test_algorithm_that_does_not_fit_is_refused_with_those_that_do(algo, name, tmp_path):
    problem = as_compression_problem(PROBLEMS[name]())
    fitting = [s.name for s in algorithms().values() if s.misfit(problem) is None]
    with pytest.raises(opt.UsageError) as caught:
        search(PROBLEMS[name](), algo, tmp_path / "runs")
    message = str(caught.value)
    assert "\n" not in message
    assert message.endswith("these fit: " + ", ".join(fitting))
    assert fitting and algo not in fitting
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("algo", list(algorithms()))
def test_every_algorithm_says_what_it_is_and_documents_its_parameters(algo):
    from opt.flags.parser import build_parser, help_text

    spec = algorithms()[algo]
    assert len(spec.summary) > 20
    assert spec.requirement
    text = " ".join(help_text(build_parser(None, spec)).split())
    for name in spec.parameters:
        after = text.split(f"--algo.{name} ", 1)[1].split("--algo.", 1)[0]
        assert len(after.split()) > 3, f"{name} of {algo} is not documented"


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("algo", list(algorithms()))
def test_parameter_out_of_range_is_a_usage_error(algo, tmp_path):
    problem = PROBLEMS["real-1" if algorithms()[algo].objectives == "one" else "real-2"]
    for name, parameter in algorithms()[algo].parameters.items():
        if isinstance(parameter.default, (bool, str)):
            continue
        for value in (-1, 0, 1, 2):
            try:
                opt.minimize(problem(), algo, n_eval=20, out=tmp_path, **{name: value})
            except opt.UsageError as error:
                assert name in str(error)


@pytest.mark.parametrize("algo", list(algorithms()))
def test_misspelt_parameter_is_refused_with_the_nearest(algo, tmp_path):
    name = next(iter(algorithms()[algo].parameters))
    problem = PROBLEMS["real-1" if algorithms()[algo].objectives == "one" else "real-2"]
    with pytest.raises(opt.UsageError, match=f"did you mean '{name}'"):
        opt.minimize(problem(), algo, out=tmp_path / "runs", **{name + "x": 3})
    assert not (tmp_path / "runs").exists()
