"""All masks along one order of removal against one product of matrices a mask."""

from __future__ import annotations

import numpy as np
import pytest

from problems.thresholds.chain import RemovalChain

N, N_IN, N_OUT = 53, 6, 4


def drawn(seed):
    """Features, labels, weight, bias, order and means: whole numbers, so that no sum depends on its order."""
    rng = np.random.default_rng(seed)
    features = rng.integers(-4, 5, size=(N, N_IN)).astype(np.float32)
    labels = rng.integers(0, N_OUT, size=N)
    weight = rng.integers(-3, 4, size=(N_OUT, N_IN)).astype(np.float32)
    bias = rng.integers(-5, 6, size=N_OUT).astype(np.float32)
    return features, labels, weight, bias, rng.permutation(weight.size), rng.integers(-3, 4, size=N_IN).astype(float)


def plain(features, labels, weight, bias, order, mean, count):
    """Right answers of the masked layer, ties to the first class."""
    mask = np.ones(weight.size)
    mask[order[:count]] = 0
    mask = mask.reshape(weight.shape)
    logits = features @ (weight * mask).T
    if bias is not None:
        logits = logits + bias
    if mean is not None:
        logits = logits + (weight * (1 - mask)) @ mean
    return int((logits.argmax(axis=1) == labels).sum())


@pytest.mark.parametrize("chunk", [1, 10, N, 5000])
@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize("has_mean", [True, False])
def test_right_answers_are_those_of_each_mask(has_mean, has_bias, chunk):
    features, labels, weight, bias, order, mean = drawn(seed=chunk)
    bias, mean = bias if has_bias else None, mean if has_mean else None
    chain = RemovalChain(features, labels, weight, bias, order, mean=mean, chunk=chunk)
    expected = [plain(features, labels, weight, bias, order, mean, count) for count in range(weight.size + 1)]
    assert len(set(expected)) > 3 and chain.n_images == N
    found = chain.n_right(np.arange(weight.size + 1))
    assert found.tolist() == expected and found.dtype == np.int64
    # in any order, repeated, and asked again
    counts = np.random.default_rng(0).integers(0, weight.size + 1, size=40)
    assert chain.n_right(counts).tolist() == [expected[count] for count in counts]
    assert chain.n_right(np.array([weight.size])).tolist() == expected[-1:]
    assert chain.n_right(np.empty(0, dtype=np.int64)).shape == (0,)


def test_a_mask_has_one_value_whatever_else_is_asked_for():
    """Sums of floats run in one order: asked alone or among others, a count gives the same answers."""
    rng = np.random.default_rng(5)
    features = rng.normal(size=(4000, N_IN)).astype(np.float32)
    features[1::2] = features[::2] * (1 + 1e-7)  # many near ties
    weight = rng.normal(size=(N_OUT, N_IN)).astype(np.float32)
    weight[1] = weight[0]
    labels, order = rng.integers(0, N_OUT, size=4000), rng.permutation(weight.size)
    chain = RemovalChain(features, labels, weight, None, order, chunk=999)
    together = chain.n_right(np.arange(weight.size + 1))
    assert together.tolist() == [int(chain.n_right(np.array([k]))[0]) for k in range(weight.size + 1)]


def test_sums_are_of_float64():
    """2**24 + 1 is no float32: what differs by one must still be told apart."""
    features = np.array([[2.0**24, 1.0], [2.0**24, -1.0]], dtype=np.float32)
    weight = np.array([[1.0, 0.0], [1.0, 1.0]], dtype=np.float32)
    chain = RemovalChain(features, np.array([1, 0]), weight, np.zeros(2, dtype=np.float32), np.array([1, 3, 0, 2]))
    assert chain.n_right(np.array([0, 1, 2])).tolist() == [2, 2, 1]


def test_means_are_taken_off_in_float64():
    """What a removal takes is w (x - mean): in float32 a mean of a quarter is lost beside 2**24."""
    features, weight = np.array([[2.0**24]], dtype=np.float32), np.array([[1.0], [0.0]], dtype=np.float32)
    bias = np.array([0.0, 0.1], dtype=np.float32)
    chain = RemovalChain(features, np.array([0]), weight, bias, np.array([0, 1]), mean=np.array([0.25]))
    assert chain.n_right(np.array([0, 1, 2])).tolist() == [1, 1, 1]
