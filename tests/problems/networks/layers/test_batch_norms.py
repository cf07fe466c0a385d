"""Batch-norm recalibration: the statistics of what is met, everything else as it was."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from problems.masking.graph import settle_norms
from problems.networks.layers.batch_norms import BATCH_NORMS, batch_norms, batch_statistics, recalibration


class Twice(nn.Module):
    """One norm that runs twice, one that keeps no statistics, one that does not run."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.free = nn.BatchNorm2d(3, track_running_stats=False)
        self.idle = nn.BatchNorm1d(3, momentum=0.5)

    def forward(self, x):
        return self.free(self.norm(torch.relu(self.norm(self.conv(x)))))


@pytest.fixture
def model():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        made = Twice().requires_grad_(False)
    made.norm.running_mean.fill_(7.0)
    made.norm.num_batches_tracked.fill_(9)
    made.idle.running_mean.fill_(7.0)
    return made.eval()


@pytest.fixture
def images():
    return torch.rand((5, 2, 6, 6), generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("is_biased", [False, True])
def test_statistics_are_the_mean_over_what_a_norm_meets(model, images, is_biased):
    first = model.conv(images)
    with batch_statistics(model):
        second = torch.relu(model.norm(first))
    with recalibration(model, is_biased=is_biased):
        model(images)
    means = torch.stack([x.mean(dim=(0, 2, 3)) for x in (first, second)]).mean(dim=0)
    variances = [x.var(dim=(0, 2, 3), unbiased=not is_biased) for x in (first, second)]
    torch.testing.assert_close(model.norm.running_mean, means)
    torch.testing.assert_close(model.norm.running_var, torch.stack(variances).mean(dim=0))
    assert int(model.norm.num_batches_tracked) == 2 and model.free.running_mean is None
    assert (model.idle.running_mean == 7).all()


def test_everything_else_is_as_it_was_behind_it_and_behind_an_error(model, images):
    with pytest.raises(RuntimeError), recalibration(model):
        model(images[:, :1])
    with recalibration(model):
        model(images)
    assert not any(module.training for module in model.modules())
    assert (model.norm.momentum, model.idle.momentum) == (0.1, 0.5)
    assert not model.norm._forward_pre_hooks
    assert torch.equal(model(images), model(images))


def test_batch_statistics_leave_those_of_training_alone(model, images):
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with batch_statistics(model):
        batch = model.norm(model.conv(images))
    torch.testing.assert_close(batch.mean(dim=(0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not model.norm.training and model.norm.track_running_stats


def test_settling_leaves_a_norm_without_statistics_alone(model, images):
    settle_norms(model, images)
    assert model.free.running_var is None and float(model.norm.running_mean.max()) < 7


def test_every_batch_norm_is_known(model):
    assert [type(norm) for norm in batch_norms(model)] == [nn.BatchNorm2d, nn.BatchNorm2d, nn.BatchNorm1d]
    assert len(BATCH_NORMS) == 3
