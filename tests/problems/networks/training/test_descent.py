"""The one training loop gives, bit for bit, the weights of plain loops that are written out here."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from problems.data.data import load_dataset
from problems.masking.masked_sgd import train_masked
from problems.networks.architectures.fully_connected import FullyConnected
from problems.networks.architectures.lottery_networks import build_architecture
from problems.networks.layers.quantised import channel_scales, train_quantised
from problems.networks.training.descent import batches
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.networks.training.training import train

DATA = load_dataset("digits").train.subset(slice(0, 230))
SCHEDULE = Schedule(epochs=3, lr=0.1, batch_size=32, warm_up=1.0, milestones=(2.0,), weight_decay=1e-3)


def convolutional():
    return build_architecture("strided-cnn", (1, 8, 8), 10, width=0.05)


def dense():
    return build_architecture("lenet-300-100", (1, 8, 8), 10, width=0.1)


@pytest.fixture(autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def same(model, plain):
    for (name, tensor), other in zip(model.state_dict().items(), plain.state_dict().values(), strict=True):
        assert torch.equal(tensor, other), name


def step(model, optimiser, ids, *, images=None):
    images = DATA.images[ids] if images is None else images
    loss = nn.functional.cross_entropy(model(images), DATA.labels[ids])
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    return loss.item() * len(ids)


def plain_adam(model, *, seed, epochs, batch_size, lr):
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(DATA), generator=generator)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    losses = []
    for _ in range(epochs):
        model.train()
        ids = order[torch.randperm(len(DATA), generator=generator)]
        losses.append(sum(step(model, optimiser, batch) for batch in ids.split(batch_size)) / len(DATA))
    return losses


def test_adam_is_the_plain_loop():
    model = FullyConnected((64, 12, 10), seed=1)
    plain = copy.deepcopy(model)
    options = {"seed": 5, "epochs": 3, "batch_size": 32, "lr": 0.01}
    history = train(model, DATA, validation=0.0, progress=False, **options)
    assert [e.train_loss for e in history.epochs] == plain_adam(plain, **options)
    same(model, plain)


def test_training_on_the_int8_grid_is_the_plain_loop_on_rounded_weights():
    class Rounded(nn.Module):
        def __init__(self, layer):
            super().__init__()
            self.weight, self.bias = layer.weight, layer.bias

        def forward(self, x):
            scale = channel_scales(self.weight)
            on_grid = (torch.round(self.weight / scale) * scale - self.weight).detach() + self.weight
            return nn.functional.linear(x, on_grid, self.bias)

    model = FullyConnected((64, 12, 10), seed=1)
    first, last = copy.deepcopy(model).linear_layers
    plain = nn.Sequential(nn.Flatten(), Rounded(first), nn.ReLU(), Rounded(last))
    options = {"seed": 5, "epochs": 2, "batch_size": 32, "lr": 0.01}
    train_quantised(model, DATA, validation=0.0, progress=False, **options)
    plain_adam(plain, **options)
    for layer, rounded in zip(model.linear_layers, (plain[1], plain[3]), strict=True):
        scale = channel_scales(rounded.weight)
        on_grid = rounded.weight + (torch.round(rounded.weight / scale) * scale - rounded.weight)
        assert torch.equal(layer.weight, on_grid)
        assert torch.equal(layer.bias, rounded.bias)


@pytest.mark.parametrize("start_epoch", [0.0, 1.3])
@pytest.mark.parametrize("clip", [None, 0.5])
def test_sgd_is_the_plain_loop(start_epoch, clip):
    model = FullyConnected((64, 12, 10), seed=1)
    plain = copy.deepcopy(model)
    seen = []
    history = train_sgd(
        model,
        DATA,
        SCHEDULE,
        seed=3,
        start_epoch=start_epoch,
        clip=clip,
        after_epoch=lambda number: seen.append((number, model.training)),
    )
    generator = torch.Generator().manual_seed(3)
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-3)
    n_batches = 8
    at, losses = round(start_epoch * n_batches), []
    while at < 3 * n_batches:
        total = n = 0
        for ids in torch.randperm(len(DATA), generator=generator).split(32)[at % n_batches :]:
            optimiser.param_groups[0]["lr"] = SCHEDULE.lr_at((at + 0.5) / n_batches)
            loss = nn.functional.cross_entropy(plain(DATA.images[ids]), DATA.labels[ids])
            optimiser.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(plain.parameters(), clip)
            optimiser.step()
            total, n, at = total + loss.item() * len(ids), n + len(ids), at + 1
        losses.append(total / n)
    same(model, plain)
    assert [e.train_loss for e in history] == losses
    numbers = [1, 2, 3] if start_epoch == 0 else [2, 3]
    assert [e.number for e in history] == numbers and seen == [(number, True) for number in numbers]
    assert not model.training


def test_what_is_done_after_each_step_is_part_of_the_training():
    model = FullyConnected((64, 12, 10), seed=1)
    plain = copy.deepcopy(model)
    gone = torch.arange(64 * 12).reshape(12, 64) % 3 == 0

    def drop(network):
        with torch.no_grad():
            network.linear_layers[0].weight[gone] = 0.0

    train_sgd(model, DATA, Schedule(epochs=1, batch_size=50), seed=0, after_step=lambda: drop(model))
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=1e-4)
    for ids in torch.randperm(len(DATA), generator=torch.Generator().manual_seed(0)).split(50):
        step(plain, optimiser, ids)
        drop(plain)
    same(model, plain)


@pytest.mark.parametrize("dropped", [None, "zero", "frozen"])
def test_masked_sgd_is_the_plain_loop_with_orders_and_dropout_of_each_epoch_from_its_number(dropped):
    model = convolutional() if dropped is None else dense()
    plain = copy.deepcopy(model)
    masks = {} if dropped is None else {"fc1.weight": np.arange(64 * 30).reshape(30, 64) % 3 == 0}
    done = train_masked(
        model, DATA, schedule=SCHEDULE, seed=7, masks=masks, dropped=dropped or "zero", watched={"watched": DATA}
    )
    keep = {name: torch.tensor(mask, dtype=torch.float32) for name, mask in masks.items()}
    rest = {name: plain.get_parameter(name).detach() * (1 - k) * (dropped == "frozen") for name, k in keep.items()}
    optimiser = torch.optim.SGD(plain.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)

    def hold():
        with torch.no_grad():
            for name, k in keep.items():
                plain.get_parameter(name).mul_(k).add_(rest[name])

    losses = []
    with torch.random.fork_rng(devices=[]):
        hold()
        for epoch in (1, 2, 3):
            stream = int(np.random.SeedSequence([7, epoch]).generate_state(1, np.uint64)[0] >> 1)
            torch.random.manual_seed(stream)
            order = torch.randperm(len(DATA), generator=torch.Generator().manual_seed(stream))
            optimiser.param_groups[0]["lr"] = SCHEDULE.lr_at(epoch - 1)
            plain.train()
            total = 0.0
            for ids in order.split(32):
                total += step(plain, optimiser, ids)
                hold()
            losses.append(total / len(DATA))
    same(model, plain.eval())
    assert [row["train_loss"] for row in done.curve] == losses
    assert [row["epoch"] for row in done.curve] == [1, 2, 3] and 0 < done.curve[-1]["watched_accuracy"] <= 1


def test_images_are_moved_by_up_to_four_pixels_and_half_of_them_are_mirrored():
    from problems.networks.training.augmentation import shifted_and_mirrored

    images = torch.zeros(400, 2, 9, 9)
    images[:, 0, 4, 2], images[:, 1, 4, 6] = 1.0, 2.0
    moved = shifted_and_mirrored(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    mirrored = []
    rows, columns = set(), set()
    for image in moved:
        left, right = (torch.nonzero(channel) for channel in image)
        if len(left) and len(right):
            mirrored.append(bool(left[0, 1] > right[0, 1]))
            assert left[0, 0] == right[0, 0] and abs(int(left[0, 1] - right[0, 1])) == 4
        for place in (*left, *right):
            rows.add(int(place[0]))
            columns.add(int(place[1]))
    assert rows == columns == set(range(9)) and 0.4 < np.mean(mirrored) < 0.6
    assert torch.equal(moved, shifted_and_mirrored(images, torch.Generator().manual_seed(0)))


def test_a_last_batch_of_one_joins_the_one_before():
    class Own(nn.Module):
        pass

    def sizes(model, n, size):
        return [len(part) for part in batches(torch.arange(n), size, model=model)]

    for model in (nn.Sequential(nn.BatchNorm1d(3)), Own(), nn.Sequential(Own())):
        assert sizes(model, 21, 10) == [10, 11] and sizes(model, 22, 10) == [10, 10, 2]
        assert sizes(model, 1, 10) == [1] and sizes(model, 3, 1) == [1] * 3
    assert sizes(dense(), 21, 10) == [10, 10, 1]
