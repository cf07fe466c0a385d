"""Sampling, crossover and mutation of networks: one suite over all of them, then each one's own behaviour."""

from __future__ import annotations

import numpy as np
import pytest

from operators.networks import (
    AlignedCrossover,
    BlockCrossover,
    L1Sampling,
    MixtureSampling,
    NetworkGenome,
    NeuronMutation,
    RandomSubsetSampling,
    RankedSampling,
    WeightNoise,
    as_population,
    l1_pruned,
    l1_ranking,
)
from operators.networks.mutation import merge_neurons

SAMPLINGS = {
    "l1": L1Sampling,
    "random": RandomSubsetSampling,
    "ranked": lambda network: RankedSampling(network, l1_ranking(network)),
    "mixture": lambda network: MixtureSampling((L1Sampling(network), RandomSubsetSampling(network))),
}
CROSSOVERS = {"aligned": AlignedCrossover, "block": BlockCrossover}
MUTATIONS = {
    "neurons": NeuronMutation,
    "merging": lambda network: NeuronMutation(network, merge=1.0),
    "noise": lambda network: WeightNoise(network, probability=1.0),
}


def prints(X):
    return [genome.fingerprint() for genome in X[:, 0]]


def check_population(X, network, n):
    assert X.shape == (n, 1) and X.dtype == object
    for genome in X[:, 0]:
        assert isinstance(genome, NetworkGenome)
        weights, biases = genome.materialise(network)
        sizes = [network.n_inputs, *genome.widths, network.n_outputs]
        assert [w.shape for w in weights] == list(zip(sizes[1:], sizes, strict=False))
        assert [b.shape for b in biases] == [(size,) for size in sizes[1:]]
        assert all(array.dtype == np.float32 for array in (*weights, *biases))
        for ids, width in zip(genome.ids, network.widths, strict=True):
            assert np.all(np.diff(ids) > 0) and ids[0] >= 0 and ids[-1] < width


def noisy(X, network):
    return WeightNoise(network, probability=0.5)(X, np.random.default_rng(8))


@pytest.mark.parametrize("name", SAMPLINGS)
@pytest.mark.parametrize("n", [1, 7, 30])
def test_sampling_conforms(name, n, network):
    sampling = SAMPLINGS[name](network)
    X = sampling(n, np.random.default_rng(1))
    check_population(X, network, n)
    assert prints(X) == prints(sampling(n, np.random.default_rng(1)))


@pytest.mark.parametrize("name", CROSSOVERS)
def test_crossover_conforms(name, network):
    crossover = CROSSOVERS[name](network)
    X = noisy(RandomSubsetSampling(network)(20, np.random.default_rng(1)), network)
    before = prints(X)
    C, D = crossover(X[:10], X[10:], np.random.default_rng(2))
    check_population(C, network, 10)
    check_population(D, network, 10)
    assert prints(X) == before
    again = crossover(X[:10], X[10:], np.random.default_rng(2))
    assert prints(C) + prints(D) == prints(again[0]) + prints(again[1])
    other = crossover(X[:10], X[10:], np.random.default_rng(3))
    assert prints(C) + prints(D) != prints(other[0]) + prints(other[1])


@pytest.mark.parametrize("name", CROSSOVERS)
def test_crossover_of_equal_parents_gives_the_same_networks(name, network, forward):
    a = noisy(as_population([l1_pruned(network, (9, 7))] * 4), network)
    b = as_population([NetworkGenome(g.ids, g.weights, g.biases) for g in a[:, 0]])
    inputs = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    for children in CROSSOVERS[name](network)(a, b, np.random.default_rng(2)):
        for child, parent in zip(children[:, 0], a[:, 0], strict=True):
            np.testing.assert_array_equal(forward(child, network, inputs), forward(parent, network, inputs))


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_conforms(name, network):
    mutation = MUTATIONS[name](network)
    X = RandomSubsetSampling(network)(30, np.random.default_rng(1))
    before = prints(X)
    for _ in range(5):
        changed = mutation(X, np.random.default_rng(2))
        check_population(changed, network, 30)
        assert prints(X) == before
        assert all(a != b for a, b in zip(prints(changed), prints(X), strict=True))
        assert prints(changed) == prints(mutation(X, np.random.default_rng(2)))
        X, before = changed, prints(changed)


def test_l1_sampling_is_the_published_initial_population(network):
    X = L1Sampling(network)(10, np.random.default_rng(0))
    assert [g.widths for g in X[:, 0]] == [(20 - int(20 * r), 16 - int(16 * r)) for r in 0.1 + 0.07 * np.arange(10)]


def test_l1_pruned_keeps_the_largest_rows_of_what_is_left(network):
    genome = l1_pruned(network, (5, 3))
    norms = np.abs(network.weights[0]).sum(axis=1)
    assert set(genome.ids[0]) == set(np.argsort(-norms)[:5])
    norms = np.abs(network.weights[1][:, genome.ids[0]]).sum(axis=1)
    assert set(genome.ids[1]) == set(np.argsort(-norms)[:3])
    with pytest.raises(ValueError, match="between 1 and"):
        l1_pruned(network, (5, 17))


def test_random_subsets_spread_over_both_widths(network):
    X = RandomSubsetSampling(network, smallest=0.05)(60, np.random.default_rng(0))
    widths = np.array([g.widths for g in X[:, 0]])
    assert widths.min(axis=0).tolist() == [1, 1] and (widths.max(axis=0) >= [18, 14]).all()
    assert abs(np.corrcoef(widths.T)[0, 1]) < 0.5


def test_block_crossover_exchanges_the_top_left_block(network):
    a, b = network.genome([np.arange(10), np.arange(6)]), network.genome([np.arange(5, 12), np.arange(8, 16)])
    b = WeightNoise(network, probability=1.0)(as_population([b]), np.random.default_rng(5))[0, 0]
    C, D = BlockCrossover(network)(as_population([a]), as_population([b]), np.random.default_rng(0))
    c, d = C[0, 0], D[0, 0]
    assert c.widths == a.widths and d.widths == b.widths
    for k in range(3):
        own, other = a.layer(k, network), b.layer(k, network)
        child, sibling = c.layer(k, network), d.layer(k, network)
        cut = int((child[1] != own[1]).sum())
        assert 1 <= cut <= min(*own[0].shape, *other[0].shape)
        expected = own[0].copy()
        expected[:cut, :cut] = other[0][:cut, :cut]
        np.testing.assert_array_equal(child[0], expected)
        np.testing.assert_array_equal(sibling[0][:cut, :cut], own[0][:cut, :cut])
        np.testing.assert_array_equal(sibling[1][:cut], own[1][:cut])


def test_block_crossover_over_generations_equals_plain_arrays(network):
    rng, plain_rng = np.random.default_rng(4), np.random.default_rng(4)
    crossover = BlockCrossover(network)
    pair = [l1_pruned(network, (15, 9)), l1_pruned(network, (8, 14))]
    plain = [[[a.copy() for a in arrays] for arrays in genome.materialise(network)] for genome in pair]
    for _ in range(6):
        C, D = crossover(as_population(pair[:1]), as_population(pair[1:]), rng)
        pair = [C[0, 0], D[0, 0]]
        for k in range(3):
            (weight_a, weight_b), (bias_a, bias_b) = ([network_[part][k] for network_ in plain] for part in (0, 1))
            c = int(plain_rng.integers(1, min(*weight_a.shape, *weight_b.shape), endpoint=True))
            kept, kept_bias = weight_a[:c, :c].copy(), bias_a[:c].copy()
            weight_a[:c, :c], bias_a[:c] = weight_b[:c, :c], bias_b[:c]
            weight_b[:c, :c], bias_b[:c] = kept, kept_bias
        for genome, (weights, biases) in zip(pair, plain, strict=True):
            for ours, expected in zip(genome.materialise(network), (weights, biases), strict=True):
                for array, wanted in zip(ours, expected, strict=True):
                    np.testing.assert_array_equal(array, wanted)
    assert pair[0].weights[0].shape[1] < network.n_inputs


def test_aligned_crossover_inherits_what_both_have_and_reaches_every_width(network):
    a, b = network.genome([np.arange(0, 10), np.arange(6)]), network.genome([np.arange(6, 20), np.arange(6)])
    A, B = as_population([a] * 400), as_population([b] * 400)
    C, D = AlignedCrossover(network, whole_layer=0.0)(A, B, np.random.default_rng(0))
    widths = {g.widths[0] for g in np.concatenate([C, D])[:, 0]}
    assert widths >= set(range(9, 17))
    for genome in np.concatenate([C, D])[:, 0]:
        assert set(range(6, 10)) <= set(genome.ids[0].tolist())
        np.testing.assert_array_equal(genome.ids[1], a.ids[1])
        assert genome.is_compact


def test_aligned_crossover_works_on_disjoint_parents(network):
    a, b = network.genome([np.array([0]), np.array([3])]), network.genome([np.array([7]), np.array([4])])
    C, D = AlignedCrossover(network)(as_population([a] * 50), as_population([b] * 50), np.random.default_rng(0))
    check_population(np.concatenate([C, D]), network, 100)


def test_neuron_mutation_makes_small_and_large_moves(network):
    X = as_population([network.genome([np.arange(14), np.arange(10)])] * 300)
    changed = NeuronMutation(network, largest=0.4, several=0.0)(X, np.random.default_rng(0))[:, 0]
    sizes = [sum(len(set(old) ^ set(new)) for old, new in zip(X[0, 0].ids, g.ids, strict=True)) for g in changed]
    assert min(sizes) == 1 and max(sizes) >= 5
    widths = {g.widths[0] for g in changed}
    assert min(widths) < 14 < max(widths)


def test_operators_keep_the_smallest_width(network):
    X = RandomSubsetSampling(network, smallest=0.2)(100, np.random.default_rng(0))
    for operator in (NeuronMutation(network, merge=0.5, smallest=0.2), AlignedCrossover(network, smallest=0.2)):
        rng = np.random.default_rng(1)
        for _ in range(5):
            X = operator(X, rng) if isinstance(operator, NeuronMutation) else operator(X, X[::-1], rng)[0]
            assert (np.array([g.widths for g in X[:, 0]]) >= [4, 3]).all()


def test_neuron_mutation_never_empties_or_overfills_a_layer(network):
    smallest, full = network.genome([np.array([2]), np.array([4])]), network.genome()
    mutation = NeuronMutation(network, merge=0.5)
    check_population(mutation(as_population([smallest, full] * 50), np.random.default_rng(0)), network, 100)
    with pytest.raises(ValueError, match="not all 0"):
        NeuronMutation(network, remove=0, insert=0, exchange=0)


def test_merging_a_twin_changes_nothing(network, forward):
    weights, biases = [w.copy() for w in network.weights], [b.copy() for b in network.biases]
    weights[0][4], biases[0][4] = weights[0][11], biases[0][11]
    twin = NetworkGenome(network.genome().ids, tuple(weights), tuple(biases))
    inputs = np.random.default_rng(0).normal(size=(50, 12)).astype(np.float32)
    merged = [merge_neurons(twin, 0, network, np.random.default_rng(seed)) for seed in range(60)]
    best = min(np.abs(forward(g, network, inputs) - forward(twin, network, inputs)).max() for g in merged)
    assert best < 1e-4
    assert all(g.widths == (19, 16) for g in merged)


def test_merging_loses_less_than_removing_the_same_neuron(network, forward):
    inputs = np.random.default_rng(0).normal(size=(200, 12)).astype(np.float32)
    base, genome = forward(network.genome(), network, inputs), network.genome()
    merged, removed = [], []
    for seed in range(40):
        child = merge_neurons(genome, 1, network, np.random.default_rng(seed))
        merged.append(np.square(forward(child, network, inputs) - base).mean())
        cut = network.genome([genome.ids[0], child.ids[1]])
        removed.append(np.square(forward(cut, network, inputs) - base).mean())
    assert np.median(merged) < 2 * np.median(removed)
    assert np.isfinite(merged).all()


def test_weight_noise_is_rare_and_bounded(network):
    X = as_population([network.genome()] * 500)
    changed = WeightNoise(network)(X, np.random.default_rng(0))[:, 0]
    hit = [g for g in changed if not g.is_compact]
    assert 0 < len(hit) < 20
    ratio = hit[0].weights[0] / network.weights[0]
    assert 0.9 <= ratio.min() < 0.91 and 1.09 < ratio.max() <= 1.1 + 1e-6
