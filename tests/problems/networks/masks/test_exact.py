"""Exact evaluation of masked fully connected networks: one value for a mask, whatever the way to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from operators.masks import MaskGenome
from problems.networks.masks.exact import ExactNetwork
from problems.networks.masks.logit_losses import (
    cross_entropy,
    cross_entropy_slope,
    error_rate,
    scaled_cross_entropy,
    scaled_cross_entropy_slope,
)

SHAPES = {"one layer": (12, 4), "two": (12, 9, 4), "three": (12, 9, 7, 4), "five": (12, 9, 7, 8, 6, 4)}
N = 37


def network(widths, *, bias, seed=0, **options):
    rng = np.random.default_rng(seed)
    weights = [rng.normal(size=(o, i)).astype(np.float32) for i, o in itertools.pairwise(widths)]
    biases = [rng.normal(size=o).astype(np.float32) for o in widths[1:]] if bias else None
    pixels = rng.integers(0, 17, size=(N, widths[0])).astype(np.uint8)
    return ExactNetwork(weights, biases, pixels, white=16, **options), weights, biases, pixels / 16


def random_genome(exact, rng, keep=0.5):
    return MaskGenome.from_mask(rng.random(int(exact.starts[-1])) < keep)


def plain_logits(exact, weights, biases, x, genome):
    """The same network in float64."""
    for k, weight in enumerate(weights):
        x = x @ (weight * exact.mask_of(genome, k)).astype(np.float64).T
        if biases is not None:
            x = x + biases[k]
        if k < len(weights) - 1:
            x = np.maximum(x, 0)
    return x.T


def fresh_logits(widths, bias, genome):
    return network(widths, bias=bias)[0].logits(MaskGenome.from_mask(genome.mask()))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SHAPES)
def test_logits_are_those_of_the_masked_network(name, bias):
    exact, weights, biases, x = network(SHAPES[name], bias=bias)
    rng = np.random.default_rng(1)
    for keep in (0.0, 0.1, 0.6, 1.0):
        genome = random_genome(exact, rng, keep)
        plain = plain_logits(exact, weights, biases, x, genome)
        np.testing.assert_allclose(exact.logits(genome), plain, atol=2e-5 * max(1.0, np.abs(plain).max()))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("h", [1, 3, 10])
def test_logits_are_the_same_bits_however_a_mask_is_reached(name, bias, h):
    widths = SHAPES[name]
    exact = network(widths, bias=bias)[0]
    rng = np.random.default_rng(2)
    genome = random_genome(exact, rng)
    for _ in range(25):
        genome = genome.flipped(rng.choice(genome.n, h, replace=False))
        exact.logits(genome)
    assert exact.logits(genome).tobytes() == fresh_logits(widths, bias, genome).tobytes()


def test_flips_of_one_layer_alone_are_enough():
    widths = SHAPES["three"]
    exact = network(widths, bias=False)[0]
    genome = random_genome(exact, np.random.default_rng(3))
    exact.logits(genome)
    for start, stop in zip(exact.starts, exact.starts[1:], strict=False):
        child = genome.flipped(np.array([start, stop - 1]))
        assert exact.logits(child).tobytes() == fresh_logits(widths, False, child).tobytes()


def test_states_of_parents_outlive_their_children_and_memory_is_bounded():
    widths = SHAPES["three"]
    exact = network(widths, bias=False, cache_bytes=1)[0]
    rng = np.random.default_rng(4)
    parent = random_genome(exact, rng)
    first = exact.logits(parent).copy()
    children = [parent.flipped(rng.choice(parent.n, 2, replace=False)) for _ in range(30)]
    for child in children:
        exact.logits(child)
        assert len(exact._states) <= 2 and parent.key in exact._states
    assert exact.logits(parent).tobytes() == first.tobytes()
    assert exact.logits(children[0]).tobytes() == fresh_logits(widths, False, children[0]).tobytes()


def test_other_images_give_other_logits():
    exact, weights, biases, _ = network(SHAPES["three"], bias=True)
    genome = random_genome(exact, np.random.default_rng(5))
    exact.logits(genome)
    pixels = np.random.default_rng(6).integers(0, 17, size=(N + 5, 12)).astype(np.uint8)
    exact.show(pixels)
    np.testing.assert_allclose(
        exact.logits(genome), plain_logits(exact, weights, biases, pixels / 16, genome), atol=1e-4
    )


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize(
    ("loss", "derivative"), [(scaled_cross_entropy, scaled_cross_entropy_slope), (cross_entropy, cross_entropy_slope)]
)
def test_slope_is_the_derivative_by_the_mask(name, bias, loss, derivative):
    exact, weights, biases, x = network(SHAPES[name], bias=bias)
    genome = random_genome(exact, np.random.default_rng(7))
    labels = np.random.default_rng(8).integers(0, 4, size=N)
    seen = []
    slope = exact.slope(genome, lambda z: derivative(seen.append(z) or z, labels))
    pixels = np.rint(16 * x).astype(np.uint8)
    exact.slope(genome, lambda z: derivative(seen.append(z) or z, labels), pixels)
    # a logit's width decides how fast a search is: nothing becomes float64 on the way
    assert slope.dtype == np.float32 and [(z.dtype, z.shape) for z in seen] == 2 * [(np.float32, (4, N))]
    np.testing.assert_allclose(
        exact.slope(genome, lambda z: derivative(z, labels), pixels), slope, atol=2e-5 * np.abs(slope).max()
    )
    masks = [
        torch.tensor(exact.mask_of(genome, k), dtype=torch.float64, requires_grad=True) for k in range(len(weights))
    ]
    a = torch.tensor(x)
    for k, (weight, mask) in enumerate(zip(weights, masks, strict=True)):
        a = a @ (torch.tensor(weight, dtype=torch.float64) * mask).T
        a = a if biases is None else a + torch.tensor(biases[k])
        a = torch.relu(a) if k < len(weights) - 1 else a
    if loss is scaled_cross_entropy:
        a = a * (4 / a.std(unbiased=False))
    torch.nn.functional.cross_entropy(a, torch.tensor(labels)).backward()
    expected = np.concatenate([mask.grad.numpy().ravel() for mask in masks])
    np.testing.assert_allclose(slope, expected, atol=2e-5 * np.abs(expected).max())


def test_losses_of_logits():
    rng = np.random.default_rng(0)
    z, labels = rng.normal(size=(4, 50)).astype(np.float32), rng.integers(0, 4, size=50)
    t = torch.tensor(z.T)
    assert cross_entropy(z, labels) == pytest.approx(float(torch.nn.functional.cross_entropy(t, torch.tensor(labels))))
    assert scaled_cross_entropy(1000 * z, labels) == pytest.approx(scaled_cross_entropy(z, labels), rel=1e-5)
    assert scaled_cross_entropy(z, labels) == pytest.approx(cross_entropy(z * (4 / z.std()), labels), rel=1e-5)
    assert error_rate(z, labels) == pytest.approx((z.argmax(axis=0) != labels).mean())
    assert error_rate(np.full((4, 3), np.nan, dtype=np.float32), labels[:3]) == 1.0
    assert np.isfinite(scaled_cross_entropy(np.zeros((4, 50), dtype=np.float32), labels))
    assert np.isfinite(scaled_cross_entropy_slope(np.zeros((4, 50), dtype=np.float32), labels)).all()
