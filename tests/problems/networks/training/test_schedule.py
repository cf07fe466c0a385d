"""Step sizes over a training."""

from __future__ import annotations

import pytest

from opt import UsageError
from problems.networks.training.schedule import PUBLISHED_CIFAR, Schedule


def test_schedule_in_thirds_is_the_published_one_at_90_epochs():
    published = Schedule.in_thirds(90)
    assert (published.epochs, published.lr, published.momentum, published.weight_decay) == (90, 0.1, 0.9, 1e-4)
    found = [published.lr_at(epoch) for epoch in (0, 29, 30, 59, 60, 89)]
    assert found == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert Schedule.in_thirds(9).milestones == (3, 6)


def test_step_size_rises_in_the_warm_up_and_falls_at_milestones_or_to_zero():
    assert [PUBLISHED_CIFAR.lr_at(e) for e in (0, 2.5, 5, 90.9, 91, 136)] == pytest.approx(
        [0.0, 0.05, 0.1, 0.1, 0.01, 0.001]
    )
    falling = Schedule(epochs=10, lr=1.0, warm_up=2.0, decay="linear")
    assert [falling.lr_at(e) for e in (0, 1, 2, 6, 10)] == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0])


@pytest.mark.parametrize("option", ["epochs", "lr", "factor", "batch_size"])
def test_schedule_refuses_what_is_not_above_zero(option):
    with pytest.raises(UsageError, match=f"{option} must be above 0, got 0"):
        Schedule(**({"epochs": 3} | {option: 0}))
