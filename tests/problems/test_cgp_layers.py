"""Layer by layer: which circuit, or none; the front against enumeration, and what a user can get wrong."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from opt import minimize
from opt.console.errors import UsageError
from opt.fronts.archive import nondominated
from problems.cgp_layers import CGPLayers

OPTIONS = {"epochs": 2, "generations": 500, "rows": 8, "cols": 8, "thresholds": "0,10", "layers": "conv*,fc3"}


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def problem(cache):
    return CGPLayers(**OPTIONS)


def every(problem):
    return np.array(list(itertools.product(*(range(int(n) + 1) for n in problem.xu))))


def test_objectives_are_those_of_the_decoded_network(problem):
    split = problem.workload.search.split
    for x, (error, energy) in zip(every(problem), problem.evaluate(every(problem)), strict=True):
        answers = problem.decode(x)(split.images).argmax(dim=1)
        assert error == pytest.approx(1 - float((answers == split.labels).float().mean()), abs=2 / len(split))
        expected = 0.0
        for name, circuits, k in zip(problem.names, problem.circuits, x, strict=True):
            n = problem.weights[name].codes.size
            expected += 2.5 * n if k == 0 else circuits[k - 1].energy_pj + 2.5 * circuits[k - 1].n_loaded
        assert energy == pytest.approx(expected)


def test_exact_front_is_that_of_all_choices(problem):
    F = problem.evaluate(every(problem))
    np.testing.assert_allclose(np.unique(problem.pareto_front(), axis=0), np.unique(F[nondominated(F)], axis=0))


def test_front_is_enumerated_up_to_a_number_of_choices_and_once(problem, monkeypatch):
    n = len(every(problem))
    monkeypatch.setattr(problem, "_exact", None)
    monkeypatch.setattr("problems.cgp_layers._LARGEST_ENUMERATED", n - 1)
    assert problem._calc_pareto_front() is None
    monkeypatch.setattr("problems.cgp_layers._LARGEST_ENUMERATED", n)
    front = problem._calc_pareto_front()
    assert front is not None and problem._calc_pareto_front() is front


def test_nsga2_finds_the_exact_front(problem, tmp_path, no_plots):
    run = minimize(problem, "nsga2", pop_size=12, n_gen=12, seed=1, out=tmp_path)
    assert run.manifest["igd_plus"] == pytest.approx(0.0, abs=1e-9)
    row = run.front.iloc[0]
    assert set(problem.names) <= set(run.front.columns) and row["n_computed"] in range(4)
    whole = run.references[run.references["reference"] == "all weights loaded"].iloc[0]
    assert whole["energy_pj"] == pytest.approx(problem.loading_pj) and whole["saving"] == 0


def test_circuits_are_kept_and_independent_of_each_other(problem):
    again = CGPLayers(**OPTIONS | {"thresholds": "10,3", "layers": "conv2"})
    (circuits,) = again.circuits
    known = problem.circuits[problem.names.index("conv2")][1]
    np.testing.assert_array_equal(circuits[0].codes, known.codes)
    np.testing.assert_array_equal(circuits[0].genome, known.genome)
    other = CGPLayers(**OPTIONS | {"layers": "conv2", "circuit_seed": 1})
    assert (other.circuits[0][1].genome != known.genome).any()
    assert problem.data_fingerprint() != other.data_fingerprint()


def test_layer_of_few_weights_is_computed_from_nothing(tmp_path, monkeypatch):
    (tmp_path / "tiny_net.py").write_text(
        "from torch import nn\n"
        "def build():\n"
        "    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(72, 10))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    problem = CGPLayers(**OPTIONS | {"network": "tiny_net:build", "layers": "*"})
    loaded = [[c.n_loaded for c in circuits] for circuits in problem.circuits]
    assert loaded == [[0, 0], [96, 96]]


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"thresholds": "1,x"}, "thresholds must be different numbers"),
        ({"thresholds": "1,1"}, "thresholds must be different numbers"),
        ({"thresholds": "-1"}, "thresholds must be different numbers"),
        ({"generations": 0}, "generations must be at least 1"),
        ({"circuit_seed": -1}, "circuit_seed must be at least 0"),
        ({"layers": "conv7"}, "fits no layer; did you mean"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"memory": "x"}, "memory must be"),
    ],
)
def test_wrong_option_is_one_line(options, part):
    with pytest.raises(UsageError) as caught:
        CGPLayers(**OPTIONS | options)
    assert part in str(caught.value) and "\n" not in str(caught.value)
