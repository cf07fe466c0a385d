"""Right answers: ties, NaN, chunks, little memory, and the chain against products."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from problems.networks.evaluation.accuracy import LabelBlocks
from problems.networks.evaluation.staged import StagedNetwork
from problems.thresholds.chain import RemovalChain


@pytest.mark.parametrize("kind", ["random", "ties", "nan"])
def test_label_blocks_count_what_argmax_calls_right(kind):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 200))
    if kind == "ties":
        logits = np.rint(logits)
    labels = rng.choice([0, 1, 3, 4], size=200)
    right = logits.argmax(axis=1) == labels
    if kind == "nan":
        logits[:, 2, :20] = np.nan
        right[:, :20] = False
    blocks = LabelBlocks(labels)
    assert blocks.n_right(logits[:, :, blocks.order]).tolist() == right.sum(axis=1).tolist()


@pytest.fixture
def setting():
    """A small network whose two last layers are pruned by rows: one count says how many weights of a row go."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 5))
    model.eval().requires_grad_(False)
    images, labels = torch.rand(130, 1, 4, 4), torch.randint(0, 5, (130,))

    def pruned(layer, counts):
        weight = model[(3, 5)[layer]].weight.clone()
        weight.reshape(-1)[: int(counts[0])] = 0
        return weight, model[(3, 5)[layer]].bias

    counts = [np.random.default_rng(k).integers(0, 30, size=(40, 1)) for k in (1, 2)]
    return model, images, labels, pruned, counts


def plain(model, images, labels, pruned, counts):
    found = []
    for a, b in zip(*counts, strict=True):
        x = torch.relu(model[:2](images))
        x = torch.relu(nn.functional.linear(x, *pruned(0, a)))
        found.append(int((nn.functional.linear(x, *pruned(1, b)).argmax(1) == labels).sum()))
    return found


@pytest.mark.parametrize("cache_bytes", [0, 2000, 1 << 20])
@pytest.mark.parametrize("chunk", [1, 50, 130, 1000])
def test_staged_network_equals_the_plain_one_whatever_it_remembers(setting, chunk, cache_bytes):
    model, images, labels, pruned, counts = setting
    network = StagedNetwork(model, ["3", "5"], images, labels, pruned, chunk=chunk, cache_bytes=cache_bytes)
    expected = plain(*setting)
    assert network.n_right(counts).tolist() == expected
    assert network.n_right([c[::-1] for c in counts]).tolist() == expected[::-1]
    assert network._memory._total <= cache_bytes


def test_staged_network_computes_a_shared_stage_once(setting):
    model, images, labels, pruned, counts = setting
    seen = []
    network = StagedNetwork(
        model, ["3", "5"], images, labels, lambda k, c: (seen.append((k, *c.tolist())), pruned(k, c))[1], chunk=40
    )
    network.n_right(counts)
    assert len(seen) == len(set(seen)) == len(np.unique(counts[0])) + len(np.unique(counts[1]))


@pytest.mark.parametrize("with_mean", [False, True])
@pytest.mark.parametrize("chunk", [7, 1000])
def test_removal_chain_equals_one_product_a_mask(chunk, with_mean):
    rng = np.random.default_rng(3)
    features, labels = rng.normal(size=(90, 6)).astype(np.float32), rng.integers(0, 4, size=90)
    weight, bias = rng.normal(size=(4, 6)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    order, mean = rng.permutation(24), features.mean(axis=0, dtype=np.float64)
    chain = RemovalChain(features, labels, weight, bias, order, mean=mean if with_mean else None, chunk=chunk)
    expected = []
    for count in range(25):
        kept = np.ones(24, dtype=bool)
        kept[order[:count]] = False
        kept = kept.reshape(4, 6)
        moved = np.where(kept, 0, weight).astype(np.float64) @ mean if with_mean else 0
        logits = features.astype(np.float64) @ np.where(kept, weight, 0).T.astype(np.float64) + bias + moved
        expected.append(int((logits.argmax(axis=1) == labels).sum()))
    assert chain.n_right(np.arange(25)).tolist() == expected
    some = np.array([[24, 3], [3, 0]])
    assert chain.n_right(some).tolist() == np.array(expected)[some].tolist()
