"""Embeddings at named layers, and the losses between two networks' embeddings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from opt import UsageError
from problems.ecomp import EComp
from problems.networks.architectures.fully_connected import FullyConnected, save_fully_connected
from problems.networks.embeddings.collect import collect_embeddings
from problems.networks.embeddings.dissimilarity import dissimilarity

LOSSES = ["gaussian", "student", "distance", "pair-distance"]


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    path = tmp_path_factory.mktemp("parent") / "parent.safetensors"
    save_fully_connected(FullyConnected((64, 24, 20, 10), seed=1), path)
    return str(path)


@pytest.mark.parametrize("loss", LOSSES)
def test_dissimilarity_is_what_the_search_of_fully_connected_networks_minimises(parent, loss):
    problem = EComp(checkpoint=parent, similarity=loss, similarity_points=60, perplexity=10.0)
    X = problem.operators().sampling(3, np.random.default_rng(0))
    points = problem.workload.search.inputs[:60].flatten(1)
    original = FullyConnected((64, 24, 20, 10), seed=1)
    behind = ["layer_2_linear", "output"]
    wanted = collect_embeddings(original, behind, points, side="inputs")
    for x, f in zip(X, problem.evaluate(X), strict=True):
        embeddings = collect_embeddings(problem.decode(x), behind, points, side="inputs")
        assert dissimilarity(wanted, embeddings, loss=loss, perplexity=10.0) == pytest.approx(f[1], rel=1e-4, abs=1e-6)
        arrays = [layer.numpy() for layer in wanted], [layer.numpy() for layer in embeddings]
        assert dissimilarity(*arrays, loss=loss, perplexity=10.0) == pytest.approx(f[1], rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_dissimilarity_of_equal_geometry_is_zero_and_inputs_are_unchanged(loss):
    points = np.random.default_rng(0).normal(size=(30, 5))
    before = points.copy()
    same = dissimilarity(points, 3 * points[:, ::-1], loss=loss)
    assert same < 1e-6 or loss == "student"  # whose Q has another kernel than P, and a scale
    assert dissimilarity(points, np.random.default_rng(1).normal(size=(30, 2)), loss=loss, perplexity=5) > 1e-3
    assert np.array_equal(points, before)


@pytest.mark.parametrize(
    ("original", "compressed", "options", "message"),
    [
        (np.zeros((9, 2)), np.zeros((8, 2)), {}, "9 of the original and 8"),
        (np.zeros((9, 2)), [np.zeros((9, 2))] * 2, {}, "as many layers, got 1 and 2"),
        (np.zeros(9), np.zeros(9), {}, r"shape \(n, h\)"),
        (np.zeros((2, 2)), np.zeros((2, 2)), {}, "at least 3"),
        (np.full((9, 2), np.nan), np.zeros((9, 2)), {}, "finite"),
        (np.zeros((9, 2)), np.zeros((9, 2)), {"loss": "gausian"}, "did you mean 'gaussian'"),
    ],
)
def test_embeddings_that_do_not_fit_are_told_in_a_line(original, compressed, options, message):
    with pytest.raises(UsageError, match=message):
        dissimilarity(original, compressed, **options)


class TwoInputs(nn.Module):
    """Changes its inputs in place, and runs a layer twice."""

    def __init__(self):
        super().__init__()
        self.first, self.act, self.again = nn.Conv1d(2, 3, 2), nn.ReLU(inplace=True), nn.Linear(3, 3)
        self.pair, self.never = nn.GRU(3, 4, batch_first=True), nn.Linear(2, 2)

    def forward(self, a, *, b):
        a += b
        h = self.act(self.first(a))
        return self.pair(self.again(self.again(h.transpose(1, 2))))[0]


def test_embeddings_of_any_layers_are_collected_and_leave_no_trace():
    network = TwoInputs().eval()
    inputs = {"a": torch.rand(11, 2, 5), "b": torch.rand(11, 2, 5)}
    before = inputs["a"].clone()
    first, act, pair = collect_embeddings(network, ["first", "act", "pair"], inputs, batch_size=4)
    expected = nn.functional.conv1d(before + inputs["b"], network.first.weight, network.first.bias)
    torch.testing.assert_close(first, expected.flatten(1))
    torch.testing.assert_close(act, expected.relu().flatten(1))
    assert pair.shape == (11, 16) and torch.equal(inputs["a"], before)
    (got,) = collect_embeddings(network, ["act"], inputs, side="inputs")
    torch.testing.assert_close(got, first)
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


@pytest.mark.parametrize(
    ("name", "message"), [("again", "runs 2 times"), ("never", "runs 0 times"), ("frist", "did you mean 'first'")]
)
def test_layers_without_one_embedding_an_example_are_told(name, message):
    with pytest.raises(UsageError, match=message):
        collect_embeddings(TwoInputs().eval(), [name], {"a": torch.rand(3, 2, 5), "b": torch.rand(3, 2, 5)})
