import numpy as np
import pytest
import torch

from problems.networks.architectures.fully_connected import FullyConnected
from problems.similarity.pruning import prune
from problems.similarity.refit import SequentialRefit, accumulate_moments, solve, solve_many


@pytest.fixture
def layer():
    generator = torch.Generator().manual_seed(0)
    activations = torch.relu(torch.randn(400, 12, generator=generator))
    targets = activations @ torch.randn(12, 5, generator=generator) + torch.randn(5, generator=generator)
    return activations, targets


def test_moments_do_not_depend_on_the_chunks(layer):
    activations, targets = layer
    whole, parts = accumulate_moments(activations, targets), accumulate_moments(activations, targets, chunk=33)
    np.testing.assert_allclose(whole.gram, parts.gram, rtol=1e-12)
    np.testing.assert_allclose(whole.cross, parts.cross, rtol=1e-10, atol=1e-10)
    a = np.hstack([activations.double().numpy(), np.ones((400, 1))])
    np.testing.assert_allclose(whole.gram, a.T @ a, rtol=1e-12)
    assert whole.n_points == 400


def test_solve_is_least_squares_on_the_kept_inputs(layer):
    activations, targets = layer
    kept = np.array([7, 2, 9, 4])
    weight, bias = solve(accumulate_moments(activations, targets), kept, ridge=0.0)
    a = np.hstack([activations.double().numpy()[:, kept], np.ones((400, 1))])
    expected = np.linalg.lstsq(a, targets.double().numpy(), rcond=None)[0]
    np.testing.assert_allclose(weight, expected[:-1].T, rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(bias, expected[-1], rtol=1e-5, atol=1e-7)


def test_solve_recovers_a_layer_of_which_nothing_was_removed(layer):
    activations, targets = layer
    weight, bias = solve(accumulate_moments(activations, targets), np.arange(12), ridge=1e-12)
    fitted = activations.double() @ torch.from_numpy(weight).T + torch.from_numpy(bias)
    torch.testing.assert_close(fitted, targets.double(), rtol=0, atol=1e-5)


def test_ridge_shrinks_weights_and_not_the_bias(layer):
    activations, targets = layer
    moments = accumulate_moments(activations, targets)
    loose, _ = solve(moments, np.arange(12), ridge=1e-6)
    tight, bias = solve(moments, np.arange(12), ridge=1e9)
    assert np.abs(tight).max() < 1e-6 * np.abs(loose).max()
    np.testing.assert_allclose(bias, targets.mean(0).numpy(), rtol=1e-4, atol=1e-4)


def test_solve_survives_dead_and_duplicate_inputs(layer):
    activations, targets = layer
    activations = activations.clone()
    activations[:, 3] = 0
    activations[:, 5] = activations[:, 4]
    weight, bias = solve(accumulate_moments(activations, targets), np.array([3, 4, 5]), ridge=0.0)
    assert np.isfinite(weight).all() and np.isfinite(bias).all()
    np.testing.assert_allclose(weight[:, 0], 0, atol=1e-6)
    np.testing.assert_allclose(weight[:, 1], weight[:, 2], rtol=1e-3)
    weight, bias = solve(accumulate_moments(torch.zeros(50, 4), torch.ones(50, 2)), np.array([0, 2]))
    np.testing.assert_allclose(weight, 0, atol=1e-12)
    np.testing.assert_allclose(bias, 1)


def test_solve_many_is_solve_of_each(layer):
    moments = accumulate_moments(*layer)
    subsets = [np.array([0, 3]), np.array([1, 2, 11]), np.arange(12)]
    for (weight, bias), kept in zip(solve_many(moments, subsets), subsets, strict=True):
        expected = solve(moments, kept)
        np.testing.assert_array_equal(weight, expected[0])
        np.testing.assert_array_equal(bias, expected[1])


def test_moments_refuse_different_points():
    with pytest.raises(ValueError, match="same n"):
        accumulate_moments(torch.zeros(4, 2), torch.zeros(5, 2))


@pytest.mark.parametrize("widths", [(10, 16, 5), (10, 16, 14, 5), (10, 16, 14, 12, 5)])
def test_sequential_refit_is_nearer_the_parent_than_pruning_alone(widths):
    parent = FullyConnected(widths, seed=1)
    inputs = torch.rand(600, 10, generator=torch.Generator().manual_seed(2))
    rng = np.random.default_rng(0)
    kept = [np.sort(rng.choice(w, w // 2, replace=False)) for w in widths[1:-1]]
    child = SequentialRefit(parent, inputs).refit(kept)
    assert child.widths == (10, *(len(k) for k in kept), 5)
    with torch.no_grad():
        wanted = parent(inputs)
        refitted = float((child(inputs) - wanted).square().mean())
        pruned = float((prune(parent, kept)(inputs) - wanted).square().mean())
    assert refitted < 0.2 * pruned
    first = parent.layer_1_linear.weight[torch.as_tensor(kept[0])]
    assert torch.equal(child.layer_1_linear.weight, first), "layer 1 keeps the parent's rows"


def test_sequential_refit_of_everything_returns_the_parents_function():
    parent = FullyConnected((10, 8, 7, 4), seed=3)
    inputs = torch.rand(500, 10, generator=torch.Generator().manual_seed(4))
    child = SequentialRefit(parent, inputs, ridge=1e-9).refit([np.arange(8), np.arange(7)])
    with torch.no_grad():
        torch.testing.assert_close(child(inputs), parent(inputs), rtol=0, atol=2e-3)


def test_sequential_refit_refuses_bad_ids():
    refit = SequentialRefit(FullyConnected((4, 3, 2)), torch.rand(20, 4))
    with pytest.raises(ValueError, match="kept"):
        refit.refit([np.array([5])])
