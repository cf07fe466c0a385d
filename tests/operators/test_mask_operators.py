"""Masks as genomes, and every operator on them: sparsity, least places, distances, purity."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.masks import (
    Flip,
    GuidedSwap,
    KeepLeast,
    MaskGenome,
    MaskLayout,
    MasksAround,
    MixedMutation,
    RandomMasks,
    Swap,
    UniformMaskCrossover,
    as_population,
    draw_places,
    hamming_distance,
    shares,
)

SIZES = (70, 40, 13)
N = sum(SIZES)
LAYOUTS = {
    "free": MaskLayout(SIZES),
    "per layer": MaskLayout(SIZES, per_layer=True),
    "least": MaskLayout(SIZES, least=2),
}
SLOPE = np.random.default_rng(8).normal(size=N).astype(np.float32)


def masks(X):
    return np.array([genome.mask() for genome in X[:, 0]])


def random_masks(layout, n=6, kept=30, seed=0):
    return RandomMasks(layout, kept, kept)(n, np.random.default_rng(seed))


@pytest.fixture(params=LAYOUTS)
def layout(request):
    return LAYOUTS[request.param]


# -- genomes ----------------------------------------------------------------------------------


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.data())
@settings(max_examples=60, deadline=None)
def test_genome_and_its_flips_agree_with_plain_arrays(bits, data):
    mask = np.array(bits)
    ids = np.array(data.draw(st.lists(st.integers(0, len(bits) - 1), unique=True, max_size=len(bits))), dtype=np.int64)
    genome = MaskGenome.from_mask(mask)
    child = genome.flipped(ids)
    expected = mask.copy()
    expected[ids] ^= True
    np.testing.assert_array_equal(genome.mask(), mask)
    np.testing.assert_array_equal(child.mask(), expected)
    np.testing.assert_array_equal(child.keeps(np.arange(len(bits))), expected)
    assert child.n_kept == expected.sum()
    assert child.key == MaskGenome.from_mask(expected).key, "the key is the mask's, however it was reached"
    assert (child.key == genome.key) == (len(ids) == 0)
    assert child.parent_key == genome.key
    np.testing.assert_array_equal(child.flips, np.sort(ids))
    start, stop = sorted(data.draw(st.tuples(st.integers(0, len(bits)), st.integers(0, len(bits)))))
    np.testing.assert_array_equal(child.part(start, stop), expected[start:stop])


def test_genomes_with_equal_bits_are_equal_and_copies_are_themselves():
    mask = np.arange(20) % 3 == 0
    a, b = MaskGenome.from_mask(mask), MaskGenome.from_mask(~mask).flipped(np.arange(20))
    assert a == b and hash(a) == hash(b) and a != MaskGenome.from_mask(~mask)
    assert copy.copy(a) is a and copy.deepcopy(a) is a
    assert a != "mask"


def test_keys_of_many_masks_differ():
    genome = MaskGenome.from_mask(np.zeros(2000, dtype=bool))
    keys = {genome.flipped(np.array([i, j])).key for i in range(60) for j in range(i + 1, 60)}
    assert len(keys) == 60 * 59 // 2


def test_hamming_distance_counts_places():
    layout = LAYOUTS["free"]
    X, Y = random_masks(layout, seed=1), random_masks(layout, seed=2)
    np.testing.assert_array_equal(hamming_distance(X, Y), (masks(X) != masks(Y)).sum(axis=1))
    np.testing.assert_array_equal(hamming_distance(X, X), 0)


def test_drawn_places_are_different_and_of_the_kind():
    genome = random_masks(MaskLayout((4000,)), 1, kept=400)[0, 0]
    rng = np.random.default_rng(0)
    for kept, size in ((True, 20), (False, 20), (True, 399), (False, 5000)):
        ids = draw_places(genome, kept, size, rng)
        assert len(ids) == len(np.unique(ids)) == min(size, 400 if kept else 3600)
        assert (genome.keeps(ids) == kept).all()


def test_drawn_places_are_uniform():
    genome = random_masks(MaskLayout((400,)), 1, kept=100)[0, 0]
    rng = np.random.default_rng(0)
    counts = np.bincount(np.concatenate([draw_places(genome, True, 5, rng) for _ in range(4000)]), minlength=400)
    kept = counts[genome.mask()]
    assert kept.sum() == 20_000 and kept.min() > 130 and kept.max() < 270  # expected 200, 5 deviations


# -- moves ------------------------------------------------------------------------------------


def moves(layout):
    return {
        "swap": Swap(layout, 20),
        "guided": GuidedSwap(layout, 20, lambda genome: SLOPE, lambda: 0),
    }


@pytest.mark.parametrize("name", ["swap", "guided"])
@pytest.mark.parametrize("step", [1e-6, 0.2, 1.0])
def test_swaps_keep_the_number_and_take_the_step(layout, name, step):
    X = random_masks(layout)
    before = masks(X)
    Y = moves(layout)[name](X, np.full(len(X), step), np.random.default_rng(3))
    assert (masks(Y).sum(axis=1) == 30).all()
    distance = hamming_distance(X, Y)
    h = max(1, round(20 * step))
    assert (distance % 2 == 0).all() and (distance > 0).all() and (distance <= 2 * h).all()
    if not layout.least and (name == "swap" and not layout.per_layer):
        assert (distance == 2 * h).all()
    for genome, old in zip(Y[:, 0], X[:, 0], strict=True):
        assert (layout.kept(genome) >= layout.least).all()
        if layout.per_layer:
            np.testing.assert_array_equal(layout.kept(genome), layout.kept(old))
    np.testing.assert_array_equal(masks(X), before)


def test_swap_reaches_every_place():
    layout = LAYOUTS["free"]
    X = random_masks(layout, 1)
    rng = np.random.default_rng(0)
    touched = np.zeros(N, dtype=bool)
    for _ in range(800):
        touched |= masks(Swap(layout, 1)(X, np.ones(1), rng))[0] != masks(X)[0]
    assert touched.all()


def test_guided_swap_lowers_what_the_slope_says():
    layout = LAYOUTS["free"]
    X = random_masks(layout, 40)
    for pressure, least in ((64.0, 40), (1.0, 10)):
        move = GuidedSwap(layout, 4, lambda genome: SLOPE, lambda: 0, pressure=pressure)
        Y = move(X, np.ones(40), np.random.default_rng(0))
        change = masks(Y) @ SLOPE - masks(X) @ SLOPE
        assert (change < 0).sum() >= least * 0.8 and (pressure > 1 or (change > 0).sum() >= 10)


def test_guided_swap_renews_its_slope_by_age_and_data():
    layout, asked, stamp = LAYOUTS["free"], [], [0]

    def slope(genome):
        asked.append(genome.key)
        return SLOPE

    move = GuidedSwap(layout, 2, slope, lambda: stamp[0], renew=2)
    X = random_masks(layout, 1)
    rng = np.random.default_rng(0)
    line = [X]
    for _ in range(4):
        line.append(move(line[-1], np.ones(1), rng))
    assert asked == [line[0][0, 0].key, line[2][0, 0].key]
    move(line[0], np.ones(1), rng)
    assert len(asked) == 2, "a mask whose slope is known does not ask again"
    stamp[0] = 1
    move(line[4], np.ones(1), rng)
    assert asked[-1] == line[4][0, 0].key and len(asked) == 3


def test_guided_swap_keeps_a_share_of_the_old_slope():
    layout, taken = LAYOUTS["free"], [np.ones(N, dtype=np.float32), np.zeros(N, dtype=np.float32)]
    move = GuidedSwap(layout, 2, lambda genome: taken.pop(0), lambda: 0, renew=1, momentum=0.25)
    X = random_masks(layout, 1)
    Y = move(X, np.ones(1), np.random.default_rng(0))
    move(Y, np.ones(1), np.random.default_rng(0))
    np.testing.assert_allclose(Y[0, 0].guide.slope, 0.25)


@pytest.mark.parametrize("adds", [True, False])
def test_flips_stay_within_bounds(adds):
    layout = MaskLayout(SIZES, least=1)
    X = RandomMasks(layout, 6, N)(30, np.random.default_rng(0))
    Y = Flip(layout, adds, 6, N)(X, np.ones(30), np.random.default_rng(1))
    counts, before = masks(Y).sum(axis=1), masks(X).sum(axis=1)
    assert (counts >= 6).all() and (counts <= N).all() and (hamming_distance(X, Y) > 0).all()
    middle = (before > 20) & (before < N - 40)
    assert middle.any() and ((counts > before) == adds)[middle].all()


def test_mutation_draws_moves_and_sizes(layout):
    mutation = MixedMutation(tuple(moves(layout).values()), smallest=1 / 20)
    X = random_masks(layout, 40)
    Y = mutation(X, np.random.default_rng(0))
    distances = hamming_distance(X, Y)
    assert len(set(distances.tolist())) > 4 and distances.min() == 2


# -- sampling, crossover, repair ----------------------------------------------------------------


def test_random_masks_have_the_number_and_are_seeded(layout):
    X = random_masks(layout, 20)
    assert (masks(X).sum(axis=1) == 30).all()
    assert all((layout.kept(g) >= layout.least).all() for g in X[:, 0])
    if layout.per_layer:
        assert all(layout.kept(g).tolist() == shares(SIZES, 30) for g in X[:, 0])
    np.testing.assert_array_equal(masks(X), masks(random_masks(layout, 20)))
    assert (masks(X) != masks(random_masks(layout, 20, seed=1))).any()


def test_random_masks_of_free_number_cover_the_range():
    counts = masks(RandomMasks(LAYOUTS["free"], 4, N)(40, np.random.default_rng(0))).sum(axis=1)
    assert counts.min() < 6 and counts.max() > 0.8 * N and len(set(counts.tolist())) > 20


def test_masks_around_begin_with_the_given_ones():
    layout = LAYOUTS["free"]
    given = list(random_masks(layout, 2)[:, 0])
    X = MasksAround(given, Swap(layout, 20), largest=0.5)(8, np.random.default_rng(0))
    assert X[0, 0] is given[0] and X[1, 0] is given[1]
    away = hamming_distance(X[2:], as_population(given * 3))
    assert (np.diff(away[::2]) >= 0).all() and away[-1] == 20 and (masks(X).sum(axis=1) == 30).all()
    assert MasksAround(given, Swap(layout, 20))(1, np.random.default_rng(0))[0, 0] is given[0]


def test_crossover_keeps_numbers_and_what_is_shared(layout):
    A, B = random_masks(layout, seed=1), random_masks(layout, seed=2)
    before = masks(A), masks(B)
    C, D = UniformMaskCrossover(layout)(A, B, np.random.default_rng(0))
    assert (masks(C).sum(axis=1) == 30).all() and (masks(D).sum(axis=1) == 30).all()
    both = before[0] & before[1]
    assert (masks(C)[both]).all() and (masks(D)[both]).all()
    neither = ~before[0] & ~before[1]
    assert not masks(C)[neither].any() and not masks(D)[neither].any()
    np.testing.assert_array_equal(masks(C).astype(int) + masks(D), before[0].astype(int) + before[1])
    assert (hamming_distance(A, C) > 0).any()
    if layout.per_layer:
        for parent, child in zip(A[:, 0], C[:, 0], strict=True):
            np.testing.assert_array_equal(layout.kept(parent), layout.kept(child))
    np.testing.assert_array_equal(masks(A), before[0])


def test_free_crossover_deals_out_each_place():
    layout = LAYOUTS["free"]
    A, B = RandomMasks(layout, 10, N)(6, np.random.default_rng(0)), random_masks(layout)
    C, D = UniformMaskCrossover(layout, balanced=False)(A, B, np.random.default_rng(0))
    np.testing.assert_array_equal(masks(C).astype(int) + masks(D), masks(A).astype(int) + masks(B))
    assert len(set(masks(C).sum(axis=1).tolist())) > 1


@pytest.mark.parametrize("fixed", [True, False])
def test_repair_gives_each_layer_its_least(fixed):
    layout = MaskLayout(SIZES, least=3)
    mask = np.zeros(N, dtype=bool)
    mask[:30] = True
    mask[75] = True
    (genome,) = KeepLeast(layout, fixed)(as_population([MaskGenome.from_mask(mask)]))[:, 0]
    assert layout.kept(genome).tolist()[1:] == [3, 3]
    assert genome.n_kept == (31 if fixed else 36)
    again = KeepLeast(layout, fixed)(as_population([genome]))[0, 0]
    assert again is genome


def test_shares_sum_up_and_follow_sizes():
    assert shares((10, 10, 10), 10) == [4, 3, 3]
    assert sum(shares(SIZES, 30)) == 30 and shares(SIZES, N) == list(SIZES)
