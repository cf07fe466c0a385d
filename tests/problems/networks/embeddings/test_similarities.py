import numpy as np
import pytest
import torch
from scipy.spatial.distance import pdist, squareform
from sklearn.manifold._t_sne import _joint_probabilities

from problems.networks.embeddings.affinities import joint_probabilities, squared_distances
from problems.networks.embeddings.similarities import (
    SIMILARITIES,
    DistanceSimilarity,
    GaussianSimilarity,
    PairDistanceSimilarity,
    StudentSimilarity,
)

EPSILON = np.finfo(np.float64).eps


def oracle_p(embeddings, perplexity=30.0):
    """scikit-learn's condensed joint probabilities, from exact distances."""
    return _joint_probabilities(squareform(pdist(np.asarray(embeddings, float), "sqeuclidean")), perplexity, 0)


def oracle_gaussian(parent, child, perplexity=30.0):
    p, q = oracle_p(parent, perplexity), oracle_p(child, perplexity)
    return 2 * float(p @ np.log(p / q))


def oracle_student(parent, child):
    p = oracle_p(parent)
    nu = child.shape[1]
    q = (1 + pdist(np.asarray(child, float), "sqeuclidean") / nu) ** (-(nu + 1) / 2)
    return 2 * float(p @ np.log(p / np.maximum(q / (2 * q.sum()), EPSILON)))


def oracle_distance(parent, child):
    """The published loss as its text has it: whole matrices, of which the half and the diagonal are zeros."""
    matrices = [np.triu(squareform(pdist(np.asarray(e, float))), k=1) for e in (parent, child)]
    a, b = ((d - d.min()) / (d.max() - d.min()) for d in matrices)
    return float(((a - b) ** 2).mean())


def oracle_pair_distance(parent, child):
    a, b = (pdist(np.asarray(e, float)) for e in (parent, child))
    return float(np.mean(((a - a.min()) / np.ptp(a) - (b - b.min()) / np.ptp(b)) ** 2))


ORACLES = {
    "gaussian": oracle_gaussian,
    "student": oracle_student,
    "distance": oracle_distance,
    "pair-distance": oracle_pair_distance,
}


def relu_features(n, h, rng, n_clusters=5):
    """Points like a hidden layer's: clusters, non-negative, many zeros."""
    centres = rng.normal(size=(n_clusters, h))
    return np.maximum(centres[rng.integers(n_clusters, size=n)] + 0.7 * rng.normal(size=(n, h)), 0).astype(np.float32)


def shapes_of_data():
    rng = np.random.default_rng(0)
    yield "hidden_layer", relu_features(100, 64, rng)
    yield "normal", rng.normal(size=(80, 5))
    yield "far_from_origin", rng.normal(size=(80, 5)) + 300
    yield "tiny", 1e-12 * rng.normal(size=(60, 3))
    yield "huge", 1e12 * rng.normal(size=(60, 3))
    yield "heavy_tails", rng.standard_cauchy(size=(90, 4))
    yield "two_far_clusters", np.vstack([rng.normal(size=(40, 4)), rng.normal(size=(60, 4)) + 1e3])
    yield "line", np.linspace(0, 1, 70)[:, None]
    yield "grid_with_ties", np.stack(np.meshgrid(np.arange(9.0), np.arange(9.0)), -1).reshape(-1, 2)


def beyond_scikit_learn():
    """Rows on which scikit-learn's exponentials underflow: no root, or every neighbour very far."""
    rng = np.random.default_rng(1)
    yield "outlier", np.vstack([rng.normal(size=(70, 4)), np.full((1, 4), 1e3)])
    yield "all_equally_far", np.eye(50)
    yield "pairs_of_duplicates", np.repeat(rng.normal(size=(40, 3)), 2, axis=0)
    yield "two_values", rng.integers(2, size=(60, 1)).astype(float)


def stable_joint_probabilities(d, perplexity):
    """The same construction by a plain bisection on ln(beta), with shifted exponentials."""
    n = len(d)
    c = np.zeros((n, n))
    for i in range(n):
        others = np.arange(n) != i
        x = d[i, others] - d[i, others].min()
        low, high = -80.0, 80.0
        for _ in range(200):
            middle = (low + high) / 2
            e = np.exp(-np.exp(middle) * x)
            entropy = np.log(e.sum()) + np.exp(middle) * (x @ e) / e.sum()
            low, high = (middle, high) if entropy > np.log(perplexity) else (low, middle)
        c[i, others] = e / e.sum()
    return np.maximum((c + c.T) / c.sum() / 2, EPSILON)


CASES = [pytest.param(x, id=name) for name, x in shapes_of_data()]
HARD_CASES = [pytest.param(x, id=name) for name, x in beyond_scikit_learn()]


@pytest.mark.parametrize("points", CASES)
@pytest.mark.parametrize("perplexity", [5.0, 30.0])
def test_joint_probabilities_are_scikit_learns(points, perplexity):
    d = squareform(pdist(points.astype(np.float64), "sqeuclidean"))
    expected = squareform(_joint_probabilities(d, perplexity, 0))
    ours = joint_probabilities(torch.tensor(d), perplexity).numpy()
    np.fill_diagonal(expected, EPSILON)
    # The bisection stops within 1e-5 of the entropy; far pairs feel that many times over, near 0.
    np.testing.assert_allclose(ours, expected, rtol=2e-4, atol=1e-8)
    assert ours.sum() == pytest.approx(1, abs=1e-6)
    np.testing.assert_array_equal(ours, ours.T)


@pytest.mark.parametrize("points", CASES + HARD_CASES)
@pytest.mark.parametrize("perplexity", [2.5, 10.0, 30.0])
def test_joint_probabilities_are_those_of_a_shifted_bisection(points, perplexity):
    d = squareform(pdist(points.astype(np.float64), "sqeuclidean"))
    d /= d.mean()
    expected = stable_joint_probabilities(d, perplexity)
    ours = joint_probabilities(torch.tensor(d), perplexity).numpy()
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-9)


def test_joint_probabilities_reach_the_entropy_far_below_the_tolerance():
    d = squared_distances(torch.tensor(relu_features(100, 64, np.random.default_rng(1))).double())
    from problems.networks.embeddings.affinities import bandwidths, conditional_probabilities, shift_rows

    for dtype, tolerance in ((torch.float64, 4e-6), (torch.float32, 6e-6)):
        shifted, _ = shift_rows(d[None].to(dtype))
        p = conditional_probabilities(shifted, bandwidths(shifted, 30.0))[0].double()
        entropy = -(p * p.clamp(min=1e-300).log()).sum(1)
        assert float((entropy - np.log(30)).abs().max()) < tolerance


@pytest.mark.parametrize("n_duplicates", [29, 30, 31, 45, 60])
def test_joint_probabilities_of_duplicates_take_the_limit(n_duplicates):
    rng = np.random.default_rng(2)
    points = np.vstack([np.ones((n_duplicates, 3)), rng.normal(size=(60 - n_duplicates, 3))])
    d = squareform(pdist(points, "sqeuclidean"))
    ours = joint_probabilities(torch.tensor(d), 30.0).numpy()
    expected = squareform(_joint_probabilities(d, 30.0, 0))
    np.fill_diagonal(expected, EPSILON)
    np.testing.assert_allclose(ours, expected, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("n", [2, 3, 20, 31])
def test_joint_probabilities_are_uniform_when_the_perplexity_cannot_be_reached(n):
    d = squareform(pdist(np.random.default_rng(3).normal(size=(n, 4)), "sqeuclidean"))
    p = joint_probabilities(torch.tensor(d), 30.0)
    off_diagonal = p[~torch.eye(n, dtype=torch.bool)]
    np.testing.assert_allclose(off_diagonal.numpy(), 1 / (n * (n - 1)), rtol=1e-9)


def test_joint_probabilities_of_a_batch_are_those_of_each_and_inputs_stay():
    rng = np.random.default_rng(4)
    batch = torch.stack([squared_distances(torch.tensor(rng.normal(size=(50, 3)))) for _ in range(4)])
    before = batch.clone()
    together = joint_probabilities(batch, 10.0)
    assert torch.equal(batch, before)
    for k in range(4):
        assert torch.allclose(together[k], joint_probabilities(batch[k], 10.0), rtol=1e-6)


@pytest.mark.parametrize("shape", [(5,), (5, 4), (1, 1), (2, 3, 4)])
def test_joint_probabilities_refuse_a_wrong_shape(shape):
    with pytest.raises(ValueError, match="shape"):
        joint_probabilities(torch.zeros(shape), 30.0)


@pytest.mark.parametrize("perplexity", [1.0, 0.0, -3.0, float("nan"), float("inf")])
def test_joint_probabilities_refuse_a_wrong_perplexity(perplexity):
    with pytest.raises(ValueError, match="perplexity"):
        joint_probabilities(torch.zeros(5, 5), perplexity)


def test_squared_distances_are_exact_zeros_for_equal_points():
    points = torch.full((6, 40), 0.1) + torch.rand(1, 40, generator=torch.Generator().manual_seed(0))
    assert torch.equal(squared_distances(points), torch.zeros(6, 6))
    mixed = torch.cat([points, torch.zeros(1, 40)])
    d = squared_distances(mixed)
    assert torch.equal(d[:6, :6], torch.zeros(6, 6)) and float(d[6, 0]) == pytest.approx(float(points[0] @ points[0]))


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_similarity_of_a_padded_batch_is_the_oracles(kind):
    rng = np.random.default_rng(5)
    parent = relu_features(100, 64, rng)
    widths = [64, 50, 33, 7, 1]
    batch = np.zeros((5, 100, 64), dtype=np.float32)
    for k, width in enumerate(widths):
        noise = np.float32(0.2) * rng.normal(size=(100, width)).astype(np.float32)
        batch[k, :, :width] = np.maximum(parent[:, :width] + noise, 0)
    expected = [ORACLES[kind](parent, batch[k, :, :w]) for k, w in enumerate(widths)]
    given = torch.tensor(batch)
    loss = SIMILARITIES[kind](torch.tensor(parent))
    ours = loss(given, widths=torch.tensor(widths))
    assert torch.equal(given, torch.tensor(batch)), "the embeddings must not change"
    np.testing.assert_allclose(ours.numpy(), expected, rtol=1e-4)
    np.testing.assert_allclose(loss(given.double(), widths=widths).numpy(), expected, rtol=1e-4)
    for k, width in enumerate(widths):
        assert float(loss(given[k, :, :width])) == pytest.approx(expected[k], rel=1e-4)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_similarity_in_chunks_is_similarity_at_once(kind, monkeypatch):
    import problems.networks.embeddings.similarities as module

    rng = np.random.default_rng(6)
    loss = SIMILARITIES[kind](torch.tensor(relu_features(40, 16, rng)))
    batch = torch.tensor(np.stack([relu_features(40, 12, rng) for _ in range(7)]))
    whole = loss(batch)
    monkeypatch.setattr(module, "_BLOCK", 3 * 1600)
    np.testing.assert_allclose(loss(batch).numpy(), whole.numpy(), rtol=2e-5)


@pytest.mark.parametrize("kind", SIMILARITIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_similarity_by_blocks_of_rows_is_the_oracles(kind, dtype, monkeypatch):
    import problems.networks.embeddings.blockwise as blockwise
    import problems.networks.embeddings.similarities as module

    rng = np.random.default_rng(12)
    parent = relu_features(90, 20, rng)
    child = np.maximum(parent[:, :13] + 0.3 * rng.normal(size=(90, 13)).astype(np.float32), 0)
    batch = torch.zeros(3, 90, 20, dtype=dtype)
    batch[0, :, :13] = torch.tensor(child)
    batch[1] = torch.tensor(parent)
    monkeypatch.setattr(module, "_DENSE_POINTS", 10)
    monkeypatch.setattr(blockwise, "_BLOCK", 7 * 90)
    loss = SIMILARITIES[kind](torch.tensor(parent).to(dtype))
    ours = loss(batch, widths=torch.tensor([13, 20, 20]))
    assert float(ours[0]) == pytest.approx(ORACLES[kind](parent, child), rel=1e-4)
    assert float(ours[1]) < 1e-6 or kind == "student"
    assert torch.isfinite(ours[2]), "a dead network has a loss too"
    assert "_p" not in vars(loss) and "_parent" not in vars(loss), "no (n, n) matrix may be built"


@pytest.mark.parametrize("kind", ["gaussian", "distance", "pair-distance"])
def test_similarity_is_zero_for_the_same_geometry(kind):
    rng = np.random.default_rng(7)
    parent = torch.tensor(relu_features(90, 30, rng))
    rotation, _ = np.linalg.qr(rng.normal(size=(30, 30)))
    moved = 3 * parent @ torch.tensor(rotation, dtype=torch.float32) + 5
    loss = SIMILARITIES[kind](parent)
    assert abs(float(loss(parent))) < 1e-9 and abs(float(loss(moved))) < 1e-7


def test_small_losses_keep_their_digits_in_float32():
    rng = np.random.default_rng(8)
    parent = relu_features(100, 64, rng)
    child = parent + np.float32(3e-3) * rng.normal(size=parent.shape).astype(np.float32)
    expected = oracle_gaussian(parent, child)
    assert expected < 1e-4
    assert float(GaussianSimilarity(torch.tensor(parent))(torch.tensor(child))) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_dead_and_broken_networks_do_not_spoil_the_batch(kind):
    rng = np.random.default_rng(9)
    parent = torch.tensor(relu_features(60, 20, rng))
    good = torch.tensor(relu_features(60, 20, rng))
    batch = torch.stack([good, torch.zeros(60, 20), torch.full((60, 20), 0.3), good, good, good])
    batch[3, 5, 2], batch[4, 7, 0] = float("nan"), float("inf")
    loss = SIMILARITIES[kind](parent)
    ours = loss(batch)
    assert ours[0] == pytest.approx(float(loss(good)), rel=1e-5) and ours[5] == pytest.approx(float(ours[0]), rel=1e-5)
    assert torch.isfinite(ours[1:3]).all() and float(ours[1]) == pytest.approx(float(ours[2]), rel=1e-4)
    assert torch.isnan(ours[3]) and torch.isnan(ours[4])


@pytest.mark.parametrize("kind", SIMILARITIES)
def test_similarity_has_the_gradient_of_finite_differences(kind):
    rng = np.random.default_rng(10)
    parent = torch.tensor(rng.normal(size=(25, 6)))
    child = torch.tensor(rng.normal(size=(25, 4)), requires_grad=True)
    loss = SIMILARITIES[kind](parent, **({"perplexity": 5.0} if SIMILARITIES[kind].has_perplexity else {}))
    value = loss(child)
    value.backward()
    assert float(value) == pytest.approx(float(loss(child.detach())), rel=1e-6)
    direction = torch.tensor(rng.normal(size=(25, 4)))
    step = 1e-2 if kind == "gaussian" else 1e-5
    slopes = []
    for h in (step, step / 2):
        plus, minus = (float(loss(child.detach() + sign * h * direction)) for sign in (1, -1))
        slopes.append((plus - minus) / (2 * h))
    slope = slopes[1] + (slopes[1] - slopes[0]) / 3
    assert float((child.grad * direction).sum()) == pytest.approx(slope, rel=5e-3)


def test_published_distance_of_three_points_by_hand():
    # distances 3, 4, 5 over the greatest, and 1, 1, 2 over theirs: squares of 0.1, 0.3 and 0, over nine entries
    parent = torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])
    child = torch.tensor([[0.0], [1.0], [-1.0]])
    assert float(DistanceSimilarity(parent)(child)) == pytest.approx((0.1**2 + 0.3**2) / 9, rel=1e-5)
    # over the pairs alone the nearest is 0: 0, 0.5, 1 and 0, 0, 1
    assert float(PairDistanceSimilarity(parent)(child)) == pytest.approx(0.5**2 / 3, rel=1e-5)


@pytest.mark.parametrize("kind", ["distance", "pair-distance"])
def test_distances_of_a_dead_network_are_all_zero(kind):
    parent = torch.tensor(relu_features(30, 8, np.random.default_rng(13)))
    a = pdist(parent.numpy().astype(float))
    published, of_pairs = np.sum((a / a.max()) ** 2) / 30**2, np.mean(((a - a.min()) / np.ptp(a)) ** 2)
    expected = published if kind == "distance" else of_pairs
    loss = SIMILARITIES[kind](parent)
    dead = torch.full((30, 4), 0.2)
    assert float(loss(dead)) == pytest.approx(expected, rel=1e-5)
    moving = dead.clone().requires_grad_()
    value = loss(moving)
    value.backward()
    assert float(value) == pytest.approx(expected, rel=1e-5) and bool(torch.isfinite(moving.grad).all())


def test_student_needs_the_true_width():
    rng = np.random.default_rng(11)
    parent, child = torch.tensor(relu_features(40, 8, rng)), torch.tensor(relu_features(40, 5, rng))
    padded = torch.nn.functional.pad(child, (0, 3))[None]
    loss = StudentSimilarity(parent)
    assert float(loss(padded, widths=torch.tensor([5]))[0]) == pytest.approx(float(loss(child)), rel=1e-6)
    assert float(loss(padded)[0]) != pytest.approx(float(loss(child)), rel=1e-3)


@pytest.mark.parametrize("shape", [(39, 4), (40,), (2, 39, 4), (1, 2, 40, 4)])
def test_similarity_refuses_other_points(shape):
    with pytest.raises(ValueError, match="n = 40 points"):
        DistanceSimilarity(torch.rand(40, 4))(torch.zeros(shape))


@pytest.mark.parametrize("widths", [[4], [0, 4], [4, 5]])
def test_similarity_refuses_impossible_widths(widths):
    with pytest.raises(ValueError, match="widths"):
        DistanceSimilarity(torch.rand(40, 4))(torch.zeros(2, 40, 4), widths=torch.tensor(widths))


def test_similarity_of_an_empty_batch_is_empty():
    assert GaussianSimilarity(torch.rand(40, 4))(torch.zeros(0, 40, 3)).shape == (0,)
