"""EComp on odd networks: those that end in linear layers are made smaller truly, the others refused in a line."""

from __future__ import annotations

import os

import numpy as np
import pytest
import safetensors.numpy
import torch
from odd_networks import NETWORKS
from test_odd_networks import N, answers, built, error, extra, snapshot, with_own_answers, workload

from opt import UsageError
from problems.ecomp import EComp

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning"),  # torch's, of what is odd
]
WHOLE = {"centred_over_the_batch", "order_of_the_batch"}
"""Answers depend on the batch."""

CHAINS = {
    "input_normalised_in_place", "asks_what_it_is_given", "one_way_by_name", "draws_for_nothing",
    "noise_of_its_own_seed", "keeps_its_activations", "counts_its_calls", "answers_with_a_history",
    "falls_back_on_errors", "weight_norm", "older_weight_norm", "orthogonal_and_symmetric", "pruned_by_torch",
    "pruned_and_trained", "graph_module", "averaged", "double_precision", "bfloat_examples",
    "double_that_casts", "made_without_gradients", "frozen", "nested", "weights_of_zero", "extra_state",
    "buffers_outside_the_state", "holds_a_generator", "gru_last_state", "mean_of_embeddings", "packed_sequences",
    "parameters_in_one_vector", "called_by_keyword", "any_arguments", "any_keywords", "one_number",
    "one_number_squeezed", "several_labels", "switches", "double_inputs", "more_answers_than_classes", "probabilities",
    *WHOLE,
}  # fmt: skip
SLOW = {"checkpointed", "compiled", "compiled_part", "compiled_in_place"}
"""Likewise chains, whose machinery takes seconds to import."""

STEP = 1 if os.environ.get("ALL_NETWORKS") else 3
"""All of them take a minute, and many are one network in other clothes."""

OTHERS = sorted(set(NETWORKS) - CHAINS - SLOW)


@pytest.mark.parametrize("name", sorted(CHAINS)[::STEP])
def test_what_the_search_says_is_what_is_saved(name):
    case, network, inputs, targets = built(name)
    inputs, targets = with_own_answers(case, network, (inputs, targets))
    before = snapshot(network)
    work = workload(case, network, (inputs, targets))
    problem = EComp(workload=work, similarity="distance", similarity_points=12)
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole == (name in WHOLE) and not any("\n" in note for note in notes)
    X = np.concatenate([problem.operators().sampling(3, np.random.default_rng(3)), problem.extremes()])
    whole = sum(p.numel() for p in problem.chain.network.parameters())
    for x, f, test in zip(X, problem.evaluate(X), problem.test_batch(X), strict=True):
        decoded = problem.decode(x)
        outputs = answers(case, decoded, work.search.inputs)
        said = error(outputs, work.search.targets)
        if work.error_objective.name == "error":
            assert abs(f[0] - said) <= 1 / len(work.search) + 1e-9
            assert 1 - test["accuracy"] == pytest.approx(
                error(answers(case, decoded, work.test.inputs), work.test.targets)
            )
        elif work.metric.name in ("rmse", "label_accuracy"):
            assert f[0] == pytest.approx(said, rel=1e-4, abs=1e-6)
        assert f[2] == pytest.approx(sum(p.numel() for p in decoded.parameters()) / whole)
        saved = safetensors.numpy.load(safetensors.numpy.save(problem.tensors(x)))
        again = problem.rebuilt({key: torch.from_numpy(array) for key, array in saved.items()} | extra(decoded), x)
        torch.testing.assert_close(answers(case, again, work.search.inputs), outputs, rtol=1e-4, atol=1e-5)
    assert snapshot(network) == before


@pytest.mark.parametrize("name", OTHERS[::STEP])
def test_other_networks_are_refused_in_a_line(name):
    case, network, inputs, targets = built(name)
    with pytest.raises(UsageError) as refusal:
        EComp(workload=workload(case, network, (inputs, targets)), similarity_points=12)
    text = str(refusal.value)
    assert "\n" not in text and len(text) < 400 and len(inputs) <= N
    assert "EComp" in text or (case.refused and case.refused in text)
