"""NetworkGenome and ParentNetwork."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from operators.networks import NetworkGenome, ParentNetwork, as_population
from operators.networks.genome import descend


def test_genome_materialises_the_parents_connections(network):
    genome = network.genome([np.array([5, 1, 2]), np.array([0, 15])])
    weights, biases = genome.materialise(network)
    np.testing.assert_array_equal(genome.ids[0], [1, 2, 5])
    np.testing.assert_array_equal(weights[0], network.weights[0][[1, 2, 5]])
    np.testing.assert_array_equal(weights[1], network.weights[1][[0, 15]][:, [1, 2, 5]])
    np.testing.assert_array_equal(weights[2], network.weights[2][:, [0, 15]])
    np.testing.assert_array_equal(biases[1], network.biases[1][[0, 15]])
    assert genome.widths == (3, 2)
    assert genome.is_compact


def test_genome_fingerprint_tells_ids_and_weights_apart(network):
    a = network.genome([np.arange(3), np.arange(4)])
    b = network.genome([np.arange(3), np.arange(4)])
    moved = network.genome([np.arange(4), np.arange(3)])
    weights, biases = a.materialise(network)
    explicit = NetworkGenome(a.ids, tuple(weights), tuple(biases))
    assert a == b and hash(a) == hash(b) and a.fingerprint() == b.fingerprint()
    assert len({g.fingerprint() for g in (a, moved, explicit)}) == 3


def test_genome_is_opaque_to_numpy_and_copies_as_itself(network):
    genome = network.genome()
    X = as_population([genome, genome])
    assert X.shape == (2, 1) and X.dtype == object
    assert np.array([[genome]], dtype=object).shape == (1, 1)
    assert copy.deepcopy(X)[0, 0] is genome


def test_genome_arrays_are_read_only(network):
    genome = network.genome()
    with pytest.raises(ValueError, match="read-only"):
        genome.ids[0][0] = 3


def test_genome_refuses_an_empty_layer(network):
    with pytest.raises(ValueError, match="at least one neuron"):
        network.genome([np.array([], dtype=int), np.arange(3)])


def test_parent_network_refuses_layers_that_do_not_fit():
    with pytest.raises(ValueError, match="takes 5 inputs"):
        ParentNetwork((np.zeros((3, 4)), np.zeros((2, 5))), (np.zeros(3), np.zeros(2)))


def test_descend_takes_the_first_source_then_the_parent(network):
    rng = np.random.default_rng(0)

    def explicit(ids):
        genome = network.genome(ids)
        weights, biases = genome.materialise(network)
        noise = rng.normal()
        return NetworkGenome(genome.ids, tuple(w + noise for w in weights), tuple(b + noise for b in biases)), noise

    a, shift_a = explicit([np.arange(0, 4), np.arange(0, 3)])
    b, shift_b = explicit([np.arange(2, 8), np.arange(0, 3)])
    child = descend(network, [np.array([0, 3, 7, 9]), np.arange(3)], a, b)
    expected = network.biases[0][[0, 3, 7, 9]] + np.array([shift_a, shift_a, shift_b, 0.0], dtype=np.float32)
    np.testing.assert_allclose(child.biases[0], expected, rtol=1e-6)
    expected = network.weights[0][[0, 3, 7, 9]] + np.array([[shift_a], [shift_a], [shift_b], [0.0]], dtype=np.float32)
    np.testing.assert_allclose(child.weights[0], expected, rtol=1e-5, atol=1e-6)
