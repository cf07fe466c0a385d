"""Computed weights on odd networks: the int8 layers of each, judged truly, and the rest left as it is."""

from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.numpy
import torch
from odd_networks import NETWORKS
from test_odd_networks import answers, built, error, extra, snapshot, with_own_answers, workload

from opt import UsageError
from opt.algorithms.interface.checked_operators import operators_of
from problems.cgp import CGP
from problems.cgp_layers import CGPLayers

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
OF_OTHER_NUMBERS = {"bfloat_that_casts", "bfloat_to_the_end", "one_bfloat_layer", "half_that_casts"}
ROUNDED = [name for name, case in NETWORKS.items() if not case.refused and name not in OF_OTHER_NUMBERS]
SMALL = {"rows": 8, "cols": 4}
if not os.environ.get("ALL_NETWORKS"):  # all of them take a minute
    ROUNDED = ROUNDED[::4]


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", ROUNDED)
def test_what_the_search_of_layers_says_is_what_is_saved(name):
    case, network, inputs, targets = built(name)
    inputs, targets = with_own_answers(case, network, (inputs, targets))
    before = snapshot(network)
    work = workload(case, network, (inputs, targets))
    problem = CGPLayers(workload=work, generations=20, thresholds="0,30", **SMALL)
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole and any("weights that can be changed" in note for note in notes)
    X = operators_of(problem).sampling(2, np.random.default_rng(3))
    X = np.concatenate([X, problem.extremes()])
    for x, f in zip(X, problem.evaluate(X), strict=True):
        decoded = problem.decode(x)
        outputs = answers(case, decoded, work.search.inputs)
        said = error(outputs, work.search.targets)
        if work.error_objective.name == "error":
            assert abs(f[0] - said) <= 1 / len(work.search.targets.flatten()) + 1e-9
        elif work.metric is not None and work.metric.name in ("rmse", "label_accuracy"):
            assert f[0] == pytest.approx(said, rel=1e-4, abs=1e-6, nan_ok=True)
    saved = safetensors.numpy.load(safetensors.numpy.save(problem.tensors(x)))
    state = {key: torch.from_numpy(array) for key, array in saved.items() if key in decoded.state_dict()}
    again = answers(case, problem.rebuilt(state | extra(decoded), x), work.search.inputs)
    torch.testing.assert_close(again, outputs, rtol=1e-4, atol=1e-5, equal_nan=True)
    assert problem.test(x) and snapshot(network) == before


@pytest.mark.parametrize("name", sorted(OF_OTHER_NUMBERS))
def test_layers_of_other_numbers_are_left_out_in_a_line(name):
    case, network, inputs, targets = built(name)
    with pytest.raises(UsageError, match=r"that can be made smaller: .*its weight is of b?float16"):
        CGPLayers(workload=workload(case, network, (inputs, targets)))


@pytest.mark.parametrize("name", ["u_net", "one_number", "tied_autoencoder", "causal_attention_by_hand", "two_heads"])
def test_circuits_of_any_layer_are_judged_by_the_workload(name):
    case, network, inputs, targets = built(name)
    work = workload(case, network, (inputs, targets))
    problem = CGP(workload=work, task="no_input", **SMALL)
    assert problem.verify(np.random.default_rng(0)) and not problem.is_whole
    (x,) = problem.operators().sampling(1, np.random.default_rng(1))
    assert problem.test(x) == pytest.approx(work.judge(problem.decode(x), work.test), nan_ok=True)
    codes = problem.codes(x)
    wanted = sum(float(((codes[name].astype(int) - problem.weights[name].codes) ** 2).sum()) for name in codes)
    assert problem.evaluate(x[None])[0, 0] == wanted


def test_a_false_circuit_is_noticed_before_a_search(monkeypatch):
    case, network, inputs, targets = built("weight_norm")
    problem = CGP(workload=workload(case, network, (inputs, targets)), task="no_input", **SMALL)
    true = problem.computed
    monkeypatch.setattr(problem, "computed", lambda x: [outputs[::-1].copy() for outputs in true(x)])
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole and "error is" in notes[-1]


def test_layers_that_cannot_be_int8_are_told_with_the_reason():
    case, network, inputs, targets = built("one_parameter_in_two_layers")
    work = workload(case, network, (inputs, targets))
    with pytest.raises(UsageError, match="layer '4' cannot have int8 weights: its weight is shared"):
        CGP(workload=work, task="no_input", layer="4")
    with pytest.raises(UsageError, match="choose another layer, or task no_input"):
        CGP(workload=work)
    with pytest.raises(UsageError, match=r"leave out --problem\.width"):
        CGPLayers(workload=work, width=0.5)
