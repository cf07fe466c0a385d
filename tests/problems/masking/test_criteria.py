"""Criteria: scores against hand-made and plain values, selection, rounds, and the masks they choose."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from opt.console.errors import UsageError
from problems.data.data import load_dataset
from problems.data.sets.example_set import of_images
from problems.masking.channels import ChannelSpace
from problems.masking.criteria import MASK_CRITERIA, filter_scores
from problems.masking.criterion_masks import CRITERIA, CriterionMasks
from problems.masking.selection import keep_highest, lottery_keep_counts
from problems.masking.sensitivity import grasp_scores, snip_scores, synflow_rounds, synflow_scores
from problems.masking.space import WeightSpace
from problems.masking.training_plans import ScheduledTraining
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.training.schedule import Schedule
from problems.workloads.of_dataset import workload_of

W_I = np.array([1.0, -1.0, 2.0, -0.5])
W_F = np.array([3.0, 2.0, -1.0, -0.5])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("large_final", [3, 2, 1, 0.5]),
        ("small_final", [-3, -2, -1, -0.5]),
        ("large_init", [1, 1, 2, 0.5]),
        ("small_init", [-1, -1, -2, -0.5]),
        # a = 4.5 / 6.5
        ("large_init_large_final", [1, 1, 4.5 / 6.5, 0.5 * 4.5 / 6.5]),
        ("small_init_small_final", [-3 * 4.5 / 6.5, -2 * 4.5 / 6.5, -2, -0.5]),
        ("magnitude_increase", [2, 1, -1, 0]),
        ("movement", [2, 3, 3, 0]),
        ("large_final_same_sign", [3, 0, 0, 0.5]),
        ("large_final_diff_sign", [0, 2, 1, 0]),
    ],
)
def test_criterion_scores(name, expected):
    np.testing.assert_allclose(MASK_CRITERIA[name](W_I, W_F), expected)


def test_filter_scores_are_means_and_signed_means():
    w_i = np.array([[1.0, 3.0], [-1.0, -1.0], [1.0, 1.0]])
    w_f = np.array([[2.0, -4.0], [-3.0, -1.0], [5.0, 1.0]])
    np.testing.assert_allclose(filter_scores("large_final", w_i, w_f), [3, 2, 3])
    np.testing.assert_allclose(filter_scores("large_final_same_sign", w_i, w_f), [-1, 2, 3])
    np.testing.assert_allclose(filter_scores("large_final_diff_sign", w_i, w_f), [1, -2, -3])


# -- gradients --------------------------------------------------------------------------------


def small_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).requires_grad_(False).eval()


IMAGES = torch.rand(20, 1, 2, 3, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(20) % 3
NAMES = ["1", "3"]


def loss_of(model, temperature=1.0):
    return nn.functional.cross_entropy(model(IMAGES) / temperature, LABELS)


def test_snip_is_the_slope_by_each_weight():
    model = small_network()
    scores = snip_scores(model, NAMES, IMAGES, LABELS)
    assert sum(s.sum() for s in scores) == pytest.approx(1.0)
    double = copy.deepcopy(model).double()
    changes = []
    for where in ((0, 0), (4, 5)):
        w = double[1].weight
        value, epsilon = float(w[where]), 1e-5
        ends = []
        for factor in (1 + epsilon, 1 - epsilon):
            w[where] = value * factor
            ends.append(float(nn.functional.cross_entropy(double(IMAGES.double()), LABELS)))
        w[where] = value
        changes.append(abs(ends[0] - ends[1]) / (2 * epsilon))
    assert scores[0][0, 0] / scores[0][4, 5] == pytest.approx(changes[0] / changes[1], rel=1e-3)


def test_grasp_is_weight_times_the_hessian_times_the_gradient():
    model = small_network().double()
    scores = grasp_scores(model, NAMES, IMAGES.double(), LABELS)
    flat = torch.cat([model[1].weight.ravel(), model[3].weight.ravel()]).clone().requires_grad_(True)

    def loss(v):
        a = torch.tanh(IMAGES.double().flatten(1) @ v[:30].view(5, 6).T + model[1].bias)
        return nn.functional.cross_entropy((a @ v[30:].view(3, 5).T + model[3].bias) / 200.0, LABELS)

    g = torch.autograd.functional.jacobian(loss, flat)
    expected = (flat * (torch.autograd.functional.hessian(loss, flat) @ g)).detach().numpy()
    np.testing.assert_allclose(np.concatenate([s.ravel() for s in scores]), expected, rtol=1e-6)


def test_synflow_counts_paths_and_conserves_layers():
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), nn.ReLU(), nn.Linear(2, 1, bias=False))
    model.requires_grad_(False)
    model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
    model[3].weight.copy_(torch.tensor([[-5.0, 6.0]]))
    one, two = synflow_scores(model, ["1", "3"], torch.ones(1, 1, 1, 2))
    np.testing.assert_allclose(one, [[5, 10], [18, 24]])
    np.testing.assert_allclose(two, [[15, 42]])
    masks = [np.array([[True, False], [True, True]]), np.ones((1, 2), dtype=bool)]
    one, two = synflow_scores(model, ["1", "3"], torch.ones(1, 1, 1, 2), masks)
    np.testing.assert_allclose(one, [[5, 0], [18, 24]])
    assert float(model[1].weight[0, 1]) == -2.0, "the network is left as it is"


@pytest.mark.parametrize("tracks", [True, False])
def test_synflow_passes_through_batch_norms_whether_or_not_they_keep_statistics(tracks):
    norm = nn.BatchNorm1d(2, eps=0.0, track_running_stats=tracks)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False), norm, nn.Linear(2, 1, bias=False))
    model.requires_grad_(False).eval()
    model[1].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
    model[3].weight.copy_(torch.tensor([[-5.0, 6.0]]))
    np.testing.assert_allclose(synflow_scores(model, ["1", "3"], torch.ones(1, 1, 1, 2))[1], [[15, 42]])
    assert (norm.running_mean is not None) == tracks


def test_synflow_rounds_fall_geometrically_and_never_bring_back():
    seen = []

    def score(mask):
        seen.append(None if mask is None else mask.copy())
        return np.arange(100.0) if mask is None else np.arange(100.0)[::-1].copy()

    mask = synflow_rounds(score, lambda s, k: keep_highest([s], k), 100, 10, rounds=5)
    assert mask.sum() == 10 and len(seen) == 5 and seen[0] is None
    assert [int(m.sum()) for m in seen[1:]] == [63, 40, 25, 16]
    for earlier, later in zip(seen[1:], [*seen[2:], mask], strict=True):
        assert not (later & ~earlier).any()


# -- selection --------------------------------------------------------------------------------


def test_keep_highest_compares_layers_as_asked():
    scores = [np.array([1.0, 2.0, 3.0, 4.0]), np.array([10.0, 20.0])]
    assert keep_highest(scores, 3).tolist() == [0, 0, 0, 1, 1, 1]
    assert keep_highest(scores, 3, scope="layer").tolist() == [0, 0, 1, 1, 0, 1]
    # layer means 2.5 and 15: 0.4 .. 1.6 and 0.67, 1.33
    assert keep_highest(scores, 3, scope="normalised").tolist() == [0, 0, 1, 1, 0, 1]
    low = [np.array([1.0, 2.0]), np.array([10.0, 20.0, 30.0])]
    assert keep_highest(low, 3).tolist() == [0, 0, 1, 1, 1]
    assert keep_highest(low, 3, least=1).tolist() == [0, 1, 0, 1, 1]
    assert keep_highest([np.zeros(4)], 2).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="at least 2"):
        keep_highest(low, 1, least=1)
    with pytest.raises(ValueError, match="n_kept"):
        keep_highest(low, 6)


def test_lottery_counts_fall_by_a_fifth_and_end_where_asked():
    sizes = (235_200, 30_000, 1_000)
    plan = lottery_keep_counts(sizes, 53_240)
    assert sum(plan[-1]) == 53_240
    assert plan[0] == [188_160, 24_000, 900] and plan[1] == [150_528, 19_200, 810]
    table = np.array(plan)
    assert (np.diff(table, axis=0) <= 0).all() and len(plan) == 8
    assert sum(lottery_keep_counts((100,), 95)[-1]) == 95


# -- masks ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OPT_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        dataset = load_dataset("digits")
        dense = build_architecture("lenet-300-100", dataset.input_shape, 10, width=0.1).requires_grad_(False).eval()
        cnn = build_architecture("strided-cnn", dataset.input_shape, 10, width=0.1).requires_grad_(False).eval()
        training = ScheduledTraining(dataset, Schedule(epochs=2, lr=0.05, batch_size=20), 3)
        more = {"scope": "global", "n_examples": 100, "final_epochs": 2, "lottery_epochs": 1, "seed": 3}
        example = dataset.train.images[:2]
        spaces = WeightSpace(dense, ["fc1", "fc2", "fc3"], example), ChannelSpace(cnn, None, example)
        yield {
            "weights": CriterionMasks(workload_of(dense, of_images(dataset)), spaces[0], training, least=0, **more),
            "filters": CriterionMasks(workload_of(cnn, of_images(dataset)), spaces[1], training, least=1, **more),
        }


@pytest.mark.parametrize("level", ["weights", "filters"])
@pytest.mark.parametrize("name", [n for n in CRITERIA if n not in ("synflow",)])
def test_every_criterion_gives_a_mask_of_the_number(made, level, name):
    criteria = made[level]
    before = {k: v.clone() for k, v in criteria.model.state_dict().items()}
    n_kept = criteria.n // 2
    mask = criteria.mask(name, n_kept)
    assert mask.dtype == bool and mask.shape == (criteria.n,) and mask.sum() == n_kept
    parts = np.split(mask, np.cumsum(criteria.space.sizes)[:-1])
    assert min(part.sum() for part in parts) >= criteria.least
    assert all((before[k] == v).all() for k, v in criteria.model.state_dict().items())


def test_synflow_is_remembered_on_disk(made):
    criteria = made["weights"]
    mask = criteria.mask("synflow", criteria.n // 5)
    assert mask.sum() == criteria.n // 5
    criteria._known.clear()
    criteria._make = None  # would fail if it were made again
    try:
        np.testing.assert_array_equal(criteria.mask("synflow", criteria.n // 5), mask)
    finally:
        del criteria._make


def test_aliases_are_the_same_masks_and_unknown_names_are_refused(made):
    criteria = made["weights"]
    np.testing.assert_array_equal(criteria.mask("magsign", 500), criteria.mask("large_final_same_sign", 500))
    with pytest.raises(UsageError, match="magnitude"):
        criteria.mask("magnitud", 500)


def test_magnitude_mask_keeps_the_largest_final_weights(made):
    criteria = made["weights"]
    final = np.concatenate([np.abs(w).ravel() for w in criteria.weights(criteria.final_state())])
    mask = criteria.mask("magnitude", 700)
    assert final[mask].min() >= final[~mask].max()
