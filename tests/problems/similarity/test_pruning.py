import numpy as np
import pytest
import torch

from opt.console.errors import UsageError
from problems.networks.architectures.fully_connected import FullyConnected
from problems.similarity.pruning import SCORES, keep_top, neuron_scores, prune, prune_arrays


@pytest.fixture
def model():
    return FullyConnected((12, 9, 7, 4), seed=5)


@pytest.fixture
def inputs():
    return torch.rand(30, 12, generator=torch.Generator().manual_seed(1))


def masked_forward(model, x, kept):
    *hidden, output = model.linear_layers
    for layer, ids in zip(hidden, kept, strict=True):
        mask = torch.zeros(layer.out_features)
        mask[torch.as_tensor(ids)] = 1
        x = torch.relu(layer(x)) * mask
    return output(x)


def test_pruned_network_computes_what_the_masked_one_does(model, inputs):
    kept = [np.array([7, 0, 3, 4]), np.array([6, 2])]
    small = prune(model, kept)
    assert small.widths == (12, 4, 2, 4)
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), masked_forward(model, inputs, kept), rtol=0, atol=1e-5)


def test_pruning_nothing_changes_nothing(model, inputs):
    whole = prune(model, [np.arange(9), np.arange(7)])
    assert torch.equal(whole(inputs), model(inputs))


def test_prune_keeps_the_order_of_the_ids_and_copies(model):
    weights, biases = model.to_arrays()
    frozen = [a.copy() for a in weights + biases]
    small_weights, small_biases = prune_arrays(weights, biases, [np.array([5, 1]), np.array([0, 6])])
    np.testing.assert_array_equal(small_weights[0], weights[0][[5, 1]])
    np.testing.assert_array_equal(small_weights[1], weights[1][[0, 6]][:, [5, 1]])
    np.testing.assert_array_equal(small_biases[1], biases[1][[0, 6]])
    for a in small_weights + small_biases:
        a += 1
    for before, after in zip(frozen, weights + biases, strict=True):
        np.testing.assert_array_equal(before, after)


@pytest.mark.parametrize(
    "kept",
    [
        [np.array([0])],
        [np.array([], dtype=int), np.array([0])],
        [np.array([0, 9]), np.array([0])],
        [np.array([-1]), np.array([0])],
        [np.array([1, 1]), np.array([0])],
        [np.array([0.5]), np.array([0])],
        [np.array([True, False]), np.array([0])],
    ],
)
def test_prune_refuses_ids_that_make_no_network(model, kept):
    with pytest.raises(ValueError, match="kept"):
        prune(model, kept)


def test_scores_follow_their_definitions(model, inputs):
    (w1, w2, w3), _ = model.to_arrays()
    np.testing.assert_allclose(neuron_scores(model, "l1")[1], np.abs(w2).sum(1), rtol=1e-6)
    np.testing.assert_allclose(neuron_scores(model, "l2")[0], np.linalg.norm(w1, axis=1), rtol=1e-6)
    product = np.linalg.norm(w2, axis=1) * np.linalg.norm(w3, axis=0)
    np.testing.assert_allclose(neuron_scores(model, "outgoing")[1], product, rtol=1e-6)
    mean = model.hidden(inputs)[0].detach().numpy().mean(0)
    np.testing.assert_allclose(neuron_scores(model, "activation", inputs=inputs)[0], mean, atol=1e-6)
    random = [neuron_scores(model, "random", rng=np.random.default_rng(3)) for _ in range(2)]
    np.testing.assert_array_equal(random[0][0], random[1][0])
    for kind in SCORES:
        scores = neuron_scores(model, kind, inputs=inputs, rng=np.random.default_rng(0))
        assert [s.shape for s in scores] == [(9,), (7,)] and all(s.dtype == np.float64 for s in scores)


def test_outgoing_score_ignores_a_shift_of_scale_between_layers(model):
    weights, biases = model.to_arrays()
    before = neuron_scores(model, "outgoing")[0]
    weights[0][2] *= 8
    biases[0][2] *= 8
    weights[1][:, 2] /= 8
    after = neuron_scores(FullyConnected.from_arrays(weights, biases), "outgoing")[0]
    np.testing.assert_allclose(after, before, rtol=1e-6)


def test_scores_name_what_is_missing(model):
    with pytest.raises(UsageError, match="did you mean 'outgoing'"):
        neuron_scores(model, "outgoin")
    with pytest.raises(ValueError, match="need inputs"):
        neuron_scores(model, "activation")
    with pytest.raises(ValueError, match="need rng"):
        neuron_scores(model, "random")


def test_keep_top_takes_the_highest_and_breaks_ties_by_id():
    scores = np.array([1.0, 3.0, 2.0, 3.0, 2.0, 2.0])
    assert keep_top(scores, 1).tolist() == [1]
    assert keep_top(scores, 3).tolist() == [1, 2, 3]
    assert keep_top(scores, 4).tolist() == [1, 2, 3, 4]
    assert keep_top(scores, 6).tolist() == [0, 1, 2, 3, 4, 5]
    for width in (0, 7):
        with pytest.raises(ValueError, match="width"):
            keep_top(scores, width)
