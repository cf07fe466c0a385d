"""Channels: what is coupled, and masked, cut and pruned networks that give the same outputs."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from operators.masks import MaskGenome
from opt.console.errors import UsageError
from problems.data.data import Split
from problems.masking.channels import ChannelSpace
from problems.masking.graph import MaskedGraph, settle_norms
from problems.masking.space import WeightSpace, with_masks
from problems.networks.architectures.lottery_networks import ARCHITECTURES, build_architecture

SHAPE = (2, 12, 12)


class Block(nn.Module):
    """A residual block with two convolutions, and a third on the shortcut where shapes differ."""

    def __init__(self, n_in, n_out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(n_out)
        self.shortcut = None
        if stride > 1 or n_in != n_out:
            self.shortcut = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + (x if self.shortcut is None else self.shortcut(x)))


class SmallResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.norm = nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.blocks = nn.Sequential(Block(6, 6, 1), Block(6, 10, 2))
        self.head = nn.Linear(10, 4)

    def forward(self, x):
        return self.head(self.blocks(torch.relu(self.norm(self.stem(x)))).mean((2, 3)))


class Concatenating(nn.Module):
    """Two branches side by side, then a depthwise and a dense layer."""

    def __init__(self):
        super().__init__()
        self.left, self.right = nn.Conv2d(2, 4, 3), nn.Conv2d(2, 5, 3)
        self.depthwise = nn.Conv2d(9, 9, 3, groups=9)
        self.fc = nn.Linear(9 * 8 * 8, 4)

    def forward(self, x):
        x = torch.cat([torch.relu(self.left(x)), torch.relu(self.right(x))], 1)
        return self.fc(torch.relu(self.depthwise(x)).flatten(1))


def build(name):
    torch.manual_seed(5)
    if name == "resnet":
        model = SmallResNet()
    elif name == "concatenating":
        model = Concatenating()
    else:
        model = build_architecture(name, SHAPE, 4, seed=1, width=0.4, bias=True)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return model.requires_grad_(False).eval()


def images(n=40):
    pixels = torch.randint(0, 17, (n, *SHAPE), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    return Split(pixels, torch.arange(n) % 4, 16)


def random_mask(space, rng, keep=0.5):
    mask = rng.random(sum(space.sizes)) < keep
    for start, size in zip(space.starts, space.sizes, strict=False):
        mask[start + rng.integers(size)] = True
    while space.empty_layers(mask):
        mask |= rng.random(len(mask)) < 0.2
    return mask


MODELS = ["resnet", "concatenating", *ARCHITECTURES]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("keep", [0.2, 0.7, 1.0])
def test_masked_and_pruned_networks_give_the_same_outputs(name, keep):
    model, split = build(name), images()
    space = ChannelSpace(model, None, split.images)
    mask = random_mask(space, np.random.default_rng(3), keep)
    masked = build(name)
    masked.load_state_dict(with_masks(model.state_dict(), space.tensors(mask)))
    settle_norms(masked, split.images)
    pruned = space.prune(masked, mask)
    a, b = masked(split.images), pruned(split.images)
    assert float((a - b).detach().abs().max()) <= 1e-5 * max(1.0, float(a.detach().abs().max()))
    n_parameters, _ = space.cost(mask)
    assert sum(p.numel() for p in pruned.parameters()) == n_parameters
    assert keep == 1.0 or n_parameters < sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("name", MODELS)
def test_cut_graph_gives_the_masked_networks_logits(name):
    model, split = build(name), images()
    space = ChannelSpace(model, None, split.images)
    graph = MaskedGraph(model, space, model.state_dict(), split)
    assert graph._graph is not None
    rng = np.random.default_rng(4)
    genomes = [MaskGenome.from_mask(random_mask(space, rng)) for _ in range(3)]
    genomes += [genomes[0].flipped(np.array([k])) for k in np.flatnonzero(~genomes[0].mask())[-2:]]
    together = [z.copy() for z in graph.logits(genomes)]
    for genome, logits in zip(genomes, together, strict=True):
        masked = build(name)
        masked.load_state_dict(with_masks(model.state_dict(), space.tensors(genome.mask())))
        settle_norms(masked, split.images)
        expected = masked(split.images).T.numpy()
        np.testing.assert_allclose(logits, expected, atol=2e-5 * max(1.0, np.abs(expected).max()))
        (alone,) = MaskedGraph(model, space, model.state_dict(), split).logits([genome])
        np.testing.assert_allclose(alone, logits, atol=2e-5 * max(1.0, np.abs(expected).max()))


@pytest.mark.parametrize("name", ["resnet", "lenet-5", "strided-cnn"])
def test_network_that_cannot_be_traced_gives_the_same_logits(name):
    model, split = build(name), images()
    for space in (ChannelSpace(model, None, split.images), WeightSpace(model, _layers(model), split.images)):
        graph = MaskedGraph(model, space, model.state_dict(), split)
        whole = MaskedGraph(model, space, model.state_dict(), split)
        whole._graph = None
        mask = np.random.default_rng(0).random(sum(space.sizes)) < 0.7
        genomes = [MaskGenome.from_mask(mask)]
        (a,), (b,) = list(graph.logits(genomes)), list(whole.logits(genomes))
        np.testing.assert_allclose(a, b, atol=2e-5 * max(1.0, np.abs(b).max()))


def _layers(model):
    return [n for n, m in model.named_modules() if isinstance(m, (nn.Conv2d, nn.Linear))][:2]


def test_mask_that_empties_a_layer_is_judged_whole():
    model, split = build("lenet-5"), images()
    space = ChannelSpace(model, None, split.images)
    mask = np.ones(sum(space.sizes), dtype=bool)
    mask[: space.sizes[0]] = False
    graph = MaskedGraph(model, space, model.state_dict(), split)
    a, b = graph.logits([MaskGenome.from_mask(mask), MaskGenome.from_mask(np.ones_like(mask))])
    zeroed = build("lenet-5")
    zeroed.load_state_dict(with_masks(model.state_dict(), space.tensors(mask)))
    np.testing.assert_allclose(a, zeroed(split.images).detach().T.numpy(), atol=1e-5)
    np.testing.assert_allclose(b, model(split.images).T.numpy(), atol=1e-5)


def test_residual_sums_share_their_channels():
    space = ChannelSpace(build("resnet"), None, images().images)
    assert space.labels == ["stem", "blocks.0.conv1", "blocks.1.conv1", "blocks.1.conv2"]
    assert space.sizes == (6, 6, 10, 10)
    stem = space.groups[0]
    assert {"stem", "norm", "blocks.0.conv2", "blocks.0.norm2"} <= set(stem.outputs)
    assert {"blocks.1.conv2", "blocks.1.shortcut.0"} <= set(space.groups[3].outputs)
    assert "head" not in {n for g in space.groups for n in g.outputs}, "answers are no channels"


def test_published_network_has_960_filters_and_its_cost_is_counted():
    model = build_architecture("strided-cnn", (3, 32, 32), 10).eval()
    space = ChannelSpace(model, None, torch.rand(2, 3, 32, 32))
    assert sum(space.sizes) == 960 and space.labels == ["conv1", "conv2", "conv3", "conv4"]
    parameters, macs = space.cost(np.ones(960, dtype=bool))
    assert parameters == sum(p.numel() for p in model.parameters())
    # 15, 13, 6 and 4 pixels a side behind the convolutions
    assert macs == 225 * 27 * 64 + 169 * 576 * 128 + 36 * 1152 * 256 + 16 * 2304 * 512 + 8192 * 10


@pytest.mark.parametrize("name", ["resnet", "lenet-5"])
def test_slope_is_what_a_channel_adds(name):
    model, split = build(name), images()
    space = ChannelSpace(model, None, split.images)
    graph = MaskedGraph(model, space, model.state_dict(), split)
    genome = MaskGenome.from_mask(random_mask(space, np.random.default_rng(0)))
    d = np.random.default_rng(1).normal(size=(4, len(split))).astype(np.float32)
    slope = graph.slope(genome, lambda z: d)
    assert slope.shape == (sum(space.sizes),) and slope.dtype == np.float32 and np.isfinite(slope).all()
    # a channel at the last hidden layer is linear in its place until the rectifier: a small step says the same
    label = space.labels[-1]
    at = int(space.starts[len(space.labels) - 1]) + int(np.flatnonzero(genome.mask()[space.starts[-2] :])[0])
    layer = space.groups[-1].outputs
    gates = [n for n in layer if "norm" in n or "shortcut.1" in n] or list(layer)
    values = []
    for epsilon in (1e-2, -1e-2):
        state = with_masks(model.state_dict(), space.tensors(genome.mask()))
        for gate in gates:
            for kind in ("weight", "bias"):
                full = f"{gate}.{kind}"
                state[full] = state[full].clone()
                state[full][at - int(space.starts[-2])] *= 1 + epsilon
        values.append(float((next(_plain(model, space, state, split)) * d).sum()))
    assert label and slope[at] == pytest.approx((values[0] - values[1]) / 2e-2, rel=0.05, abs=0.02)


def _plain(model, space, state, split):
    return MaskedGraph(model, space, state, split).logits([MaskGenome.from_mask(np.ones(sum(space.sizes), dtype=bool))])


def test_pruning_refuses_empty_layers():
    model, split = build("lenet-5"), images()
    space = ChannelSpace(model, None, split.images)
    mask = np.ones(sum(space.sizes), dtype=bool)
    mask[: space.sizes[0]] = False
    with pytest.raises(UsageError, match="conv1"):
        space.prune(model, mask)


def test_activations_that_add_something_are_judged_as_the_cut_network():
    split = images()
    adds = nn.Sequential(nn.Conv2d(2, 6, 3), nn.Sigmoid(), nn.Flatten(), nn.Linear(600, 4)).requires_grad_(False).eval()
    space = ChannelSpace(adds, None, split.images)
    mask = np.arange(6) % 2 == 0
    assert not space.is_plain
    (logits,) = MaskedGraph(adds, space, adds.state_dict(), split).logits([MaskGenome.from_mask(mask)])
    np.testing.assert_allclose(logits, space.prune(adds, mask)(split.images).T.numpy(), atol=1e-6)


def test_only_chosen_layers_have_places_and_a_lone_last_layer_has_none():
    model, split = build("lenet-5"), images()
    assert ChannelSpace(model, "conv*", split.images).labels == ["conv1", "conv2"]
    with pytest.raises(UsageError, match="answers"):
        ChannelSpace(model, "fc3", split.images)
