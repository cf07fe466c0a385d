"""Exact evaluation of masked fully connected networks: one value for a mask, whatever the way to it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from operators.masks import MaskGenome
from problems.masking.exact import ExactNetwork
from problems.masking.logit_losses import (
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
        assert exact.logits(genome).dtype == np.float32


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


def test_mask_of_a_layer_is_its_part_of_the_genome():
    exact, weights, *_ = network(SHAPES["three"], bias=False)
    genome = random_genome(exact, np.random.default_rng(9))
    sizes = [weight.size for weight in weights]
    assert genome.n == sum(sizes)
    for k, part in enumerate(np.split(genome.mask(), np.cumsum(sizes)[:-1])):
        np.testing.assert_array_equal(exact.mask_of(genome, k), part.reshape(weights[k].shape))


def loud_network(widths, *, bias, white=255, size=1.0):
    """All weights near the greatest, all pixels white: the sums are as large as they can be."""
    rng = np.random.default_rng(11)
    weights = [size * rng.uniform(0.9, 1.0, size=(o, i)).astype(np.float32) for i, o in itertools.pairwise(widths)]
    biases = [np.full(o, bias, dtype=np.float32) for o in widths[1:]] if bias else None
    pixels = np.full((5, widths[0]), white, dtype=np.uint8)
    pixels[1:] -= rng.integers(0, 3, size=pixels[1:].shape).astype(np.uint8)
    return ExactNetwork(weights, biases, pixels, white=white), weights, biases, pixels


@pytest.mark.parametrize(("bias", "size"), [(0.0, 1.0), (3.0, 1.0), (500.0, 1.0), (-7.0, 1.0), (1.0, 1e-9), (1.0, 0.0)])
@pytest.mark.parametrize("widths", [(126, 126, 30, 4), (1000, 62, 254, 4), (7, 2000, 4)])
def test_sums_are_exact_where_they_are_largest(widths, bias, size):
    """Against integers of any length; a float64 holds each of them, and each activation fits its 24 bits."""
    exact, weights, biases, pixels = loud_network(widths, bias=bias, size=size)
    genome = MaskGenome.from_mask(np.ones(int(exact.starts[-1]), dtype=bool))
    state = exact.state(genome)
    before = pixels.T.astype(int).astype(object)
    for k, pre in enumerate([np.stack(state.rows), *state.later]):
        whole = exact._whole[k]
        assert (whole == np.rint(whole)).all() and np.abs(whole).max() <= 2**24
        offsets = exact._offsets[k].astype(int).astype(object)
        sums = whole.astype(int).astype(object) @ before + offsets
        assert (np.abs(sums) < 2**53).all()
        assert (pre.astype(int).astype(object) == sums).all() and (pre == np.rint(pre)).all()
        step = exact._steps[k]
        assert step >= 1 and np.frexp(step)[0] == 0.5, "a power of two"
        a = exact.activations(k, pre)
        assert (a == np.rint(np.maximum(pre, 0) / step)).all() and a.max() <= 2**24
        # as many bits as there are: more than half of the range is used, or nothing was lost
        assert step == 1 or a.max() > 2**22 or bias < 0
        before = a.astype(int).astype(object)
    plain = plain_logits(exact, weights, biases, pixels / 255, genome)
    np.testing.assert_allclose(state.logits, plain, rtol=1e-4, atol=1e-6 * np.abs(plain).max())
    flipped = genome.flipped(np.array([0, widths[0] * widths[1]]))
    again = loud_network(widths, bias=bias, size=size)[0].logits(MaskGenome.from_mask(flipped.mask()))
    assert exact.logits(flipped).tobytes() == again.tobytes()


def test_weights_keep_as_many_bits_as_an_exact_sum_allows():
    for widths, bits in (((12, 9, 4), 24), ((126, 126, 4), 21), ((127, 127, 4), 20)):
        exact, *_ = loud_network(widths, bias=0.0, white=16)
        assert np.abs(exact._whole[1]).max() == 2.0**bits, widths


def test_layer_without_weights_left_gives_its_biases():
    rng = np.random.default_rng(2)
    weights = [rng.normal(size=(9, 12)).astype(np.float32), np.zeros((4, 9), dtype=np.float32)]
    biases = [rng.normal(size=9).astype(np.float32), np.array([1.0, -2.0, 0.5, 0.0], dtype=np.float32)]
    for order in (weights, [np.zeros((9, 12), dtype=np.float32), rng.normal(size=(4, 9)).astype(np.float32)]):
        pixels = rng.integers(0, 17, size=(N, 12)).astype(np.uint8)
        exact = ExactNetwork(order, biases, pixels, white=16)
        genome = random_genome(exact, rng)
        plain = plain_logits(exact, order, biases, pixels / 16, genome)
        np.testing.assert_allclose(exact.logits(genome), plain, atol=1e-5)
        assert np.isfinite(exact.slope(genome, lambda z: np.ones_like(z))).all()


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


def test_states_are_remembered_up_to_the_memory_and_the_longest_unused_goes_first():
    widths, n_kept = (12, 40, 30, 20, 4), 5
    each = 8 * N * (30 + 20 + 40 // 8 + 1)
    exact = network(widths, bias=True, cache_bytes=n_kept * each + each // 2)[0]
    rng = np.random.default_rng(4)
    genomes = [random_genome(exact, rng) for _ in range(12)]
    kept = exact.logits(genomes[0])
    for i, genome in enumerate(genomes[1:], start=2):
        made = exact.logits(genome)
        assert exact.logits(genome) is made, "remembered"
        assert len(exact._states) == min(i, n_kept)
        assert exact.logits(genomes[0]) is kept, "used again and again, so it stays"
    assert list(exact._states) == [g.key for g in (*genomes[-4:], genomes[0])]
    many = network((12, 9, 4), bias=True, cache_bytes=1 << 40)[0]
    for _ in range(70):
        many.logits(random_genome(many, rng))
    assert len(many._states) == 64


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
