"""Odd networks decomposed: what a search says of a candidate is what its network, saved and loaded again, gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from odd_networks import NETWORKS
from test_odd_networks import COMPRESSED, N, answers, built, error, workload

from opt import UsageError
from problems.alds import ALDS
from problems.lowrank.materialise import load_decomposed
from problems.networks.storage.checkpoints import write_whole

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
OWN, READ = "computes in a way of its own", "its weight is read by other code than its own call"
REFUSED = {
    "scaled_weights": OWN,
    "masked_linear": OWN,
    "ternary_weights": OWN,
    "tied_autoencoder": READ,
    "tied_decoder_module": READ,
}
"""Networks of which nothing can be decomposed, though single weights can be pruned."""
WHOLE = ("mixed_precision_inside", "bfloat_that_casts", "bfloat_to_the_end", "one_bfloat_layer")
"""In bfloat16 two products are rounded otherwise than one."""
BOUNDED = COMPRESSED[::12]
"""Those that are tried on data as well, with everything that is given back."""


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.mark.parametrize("name", [name for name in COMPRESSED if name not in REFUSED])
def test_what_the_search_says_is_what_is_saved(name):
    case, network, inputs, targets = built(name)
    work = workload(case, network, (inputs, targets))
    problem = ALDS(workload=work, goal="accuracy", rivals=False, n_calibration=N)
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole == (name in WHOLE), notes
    assert not any("\n" in note for note in notes)
    for x in problem.extremes()[2:3]:
        (f,) = problem.evaluate(x[None])
        decoded = problem.decode(x)
        if work.error_objective.name == "error":
            said = error(answers(case, decoded, work.search.inputs), work.search.targets)
            assert abs(f[0] - said) <= 1 / work.search.targets.numel() + 1e-9
        n = sum(p.numel() for p in decoded.parameters())
        assert f[1] == pytest.approx(n / sum(p.numel() for p in work.network.parameters()), abs=1e-12)
        assert problem.describe(x)["n_parameters"] == n
    assert np.isfinite(list(problem.test(x).values())).all() or "NaN" in NETWORKS[name].build.__doc__


@pytest.mark.parametrize("name", [name for name in BOUNDED if name not in (*REFUSED, *WHOLE, "mapped_over_examples")])
def test_errors_on_data_and_what_is_given_back_are_proved(name):
    case, network, inputs, targets = built(name)
    work = workload(case, network, (inputs, targets))
    problem = ALDS(workload=work, goal="both", measure="data", compensation="refit", size="both", rivals=False)
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole, notes


@pytest.mark.parametrize("name", sorted({*REFUSED, *(name for name, case in NETWORKS.items() if case.refused)}))
def test_what_cannot_be_decomposed_is_refused_in_a_line(name):
    case, network, inputs, targets = built(name)
    with pytest.raises(UsageError, match=REFUSED.get(name, "")) as refusal:
        ALDS(workload=workload(case, network, (inputs, targets)), rivals=False).verify(np.random.default_rng(0))
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 400


@pytest.mark.parametrize("name", ["multihead_attention", "attention_of_other_widths", "transformer_nested"])
def test_decomposed_attention_is_loaded_into_the_users_own_network(name, tmp_path):
    import safetensors.numpy

    case, network, inputs, targets = built(name)
    work = workload(case, network, (inputs, targets))
    problem = ALDS(workload=work, rivals=False)
    x = problem.extremes()[1]
    assert any(".q" in key for key in problem.describe(x))
    write_whole(tmp_path / "net.safetensors", safetensors.numpy.save(problem.tensors(x)))
    torch.manual_seed(9)
    loaded = load_decomposed(case.build(), tmp_path / "net.safetensors")
    expected = answers(case, problem.decode(x), work.search.inputs)
    torch.testing.assert_close(answers(case, loaded, work.search.inputs), expected, rtol=1e-4, atol=1e-5)


def test_most_odd_networks_are_decomposed():
    assert len([name for name in COMPRESSED if name not in REFUSED]) >= 0.85 * len(NETWORKS)
