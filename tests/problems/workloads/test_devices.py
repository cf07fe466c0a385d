"""Networks and examples go to a device together, and nothing on another device is mixed in."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from opt.console.errors import UsageError
from problems.data.examples import Examples
from problems.networks.evaluation.staged import StagedNetwork
from problems.networks.training.descent import Step, descend
from problems.threshold import Threshold
from problems.workloads import Workload
from problems.workloads.devices import device_named
from problems.workloads.further_training import training_loss

RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 1, 6, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 60)


class Net(nn.Module):
    """Runs wherever its parameters are; with `stray` it makes a tensor on the processor."""

    def __init__(self, *, stray=False):
        super().__init__()
        self.stray = stray
        self.conv, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(64, 3)

    def forward(self, x):
        x = self.norm(self.conv(x)).relu().flatten(1)
        if self.stray:
            x = x + torch.ones(64)
        return self.last(x)


def workload(**options):
    torch.manual_seed(0)
    return Workload(Net(**options), (X, Y))


@pytest.mark.parametrize("score", ["magnitude", "std"])
def test_two_names_of_the_processor_give_equal_values(score):
    problems = [Threshold(workload=workload(), device=name, layers="*", score=score) for name in ("cpu", "cpu:0")]
    candidates = problems[0].operators().sampling(6, np.random.default_rng(0))
    assert np.array_equal(*(problem.evaluate(candidates) for problem in problems))
    assert problems[1].workload.device == torch.device("cpu:0")
    assert problems[0].data_fingerprint() == problems[1].data_fingerprint()


@pytest.mark.parametrize(("name", "told"), [("gpu", "unknown device 'gpu'"), ("cuda:77", "cannot be used here")])
def test_devices_that_are_not_there_are_told(name, told):
    with pytest.raises(UsageError, match=told) as caught:
        device_named(name)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has the device")
def test_a_named_network_is_not_trained_for_a_device_that_is_not_there():
    with pytest.raises(UsageError, match="device cuda cannot be used here"):
        Threshold(device="cuda")


def test_a_network_without_weights_is_refused():
    with pytest.raises(UsageError, match="on torch's device meta and has no weights"):
        Workload(Net().to("meta"), (X, Y))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no such device")
def test_a_network_and_arrays_of_a_gpu_are_taken_to_the_processor():
    work = Workload(Net().cuda(), (torch.from_numpy(X).cuda(), torch.from_numpy(Y).cuda()))
    assert "taken from cuda" in work.notes[0] and work.search.targets.device.type == "cpu"
    assert next(work.network.parameters()).device.type == "cpu"


def elsewhere(work):
    """The workload on torch's device of shapes without values, which mixes with no other."""
    moved = copy.copy(work)
    moved.network = copy.deepcopy(work.network).to("meta").requires_grad_(True)
    for name, split in work.splits():
        part = object.__new__(Examples)  # there are no values to check
        object.__setattr__(part, "inputs", split.inputs.to("meta"))
        object.__setattr__(part, "targets", split.targets.to("meta"))
        setattr(moved, name, part)
    return moved


def step(work):
    """Loss of one batch, its gradients taken."""
    inputs, targets = work.train.batch(torch.arange(8, device="meta"))
    loss = training_loss(work)(work.network(inputs), targets)
    loss.backward()
    return loss


def test_answers_and_training_stay_on_the_device():
    work = elsewhere(workload())
    assert step(work).device.type == "meta"
    assert all(p.grad.device.type == "meta" for p in work.network.parameters())
    assert work.answers(work.network, work.example).device.type == "meta"


def test_a_tensor_of_another_device_is_noticed():
    work = elsewhere(workload(stray=True))
    with pytest.raises(RuntimeError, match="device"):
        step(work)


def test_the_staged_network_keeps_its_weights_where_the_images_are():
    network = Net().eval()
    device = torch.device("cpu:0")

    def pruned(layer, counts):
        own = (network.conv, network.last)[layer]
        return (own.weight * float(counts[0])).to(device), own.bias

    staged = StagedNetwork(network, ["conv", "last"], torch.from_numpy(X).to(device), torch.from_numpy(Y), pruned)
    ones = np.ones((2, 1), dtype=np.int64)
    assert staged.n_right([ones, ones])[0] == int((network(torch.from_numpy(X)).argmax(1) == torch.from_numpy(Y)).sum())


def test_descent_takes_positions_of_the_processor_on_any_device():
    work = workload()
    network = copy.deepcopy(work.network).requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), lr=0.1)
    ids = torch.arange(10)
    (first,) = descend(network, work.train, optimiser, [[Step(ids)]], loss=training_loss(work))
    assert np.isfinite(first.loss)


def test_a_part_that_ran_in_parallel_runs_where_it_is():
    network = nn.Sequential(nn.Flatten(), nn.DataParallel(nn.Linear(36, 3)))
    network[1].device_ids = [0]  # as on a machine with a GPU
    work = Workload(network, (X, Y))
    assert "1.module.weight" in work.network.state_dict()
    assert work.outputs(work.network, work.search).shape == (len(work.search), 3)
