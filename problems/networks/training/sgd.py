"""Training with stochastic gradient descent on a schedule that can be wound back to any epoch."""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Callable
from typing import Literal

import torch
from torch import nn
from torch.nn import functional

from problems.data.data import Split
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import Epoch, one_thread

Precision = Literal["float32", "bfloat16"]


def train_sgd(
    model: nn.Module,
    data: Split,
    schedule: Schedule,
    *,
    seed: int,
    start_epoch: float = 0.0,
    precision: Precision = "float32",
    augment: bool = False,
    progress: bool = False,
    after_epoch: Callable[[int], None] | None = None,
    after_step: Callable[[], None] | None = None,
    clip: float | None = None,
) -> list[Epoch]:
    """Train in place by SGD with Nesterov's momentum, from `start_epoch` of the schedule to its end.

    Args:
        model: Maps images (n, c, h, w) in [0, 1] to logits; its present weights are the start.
        data: Images and labels.
        schedule: Step sizes, batches, epochs.
        seed: Of the order of the images and of their shifts.
        start_epoch: Point to which the schedule is wound back ("learning-rate rewinding"); 0 is all of it.
        precision: Of products in the forward pass; bfloat16 takes half the time where the processor has it.
        augment: Shift images by up to four pixels and mirror half of them.
        progress: A line an epoch on stderr.
        after_epoch: Called with the number of each finished epoch, from 1 on; the model is then in training mode.
        after_step: Called after each step of the optimiser; may change weights.
        clip: Largest Euclidean norm of a step's gradient, over all parameters; None for any.

    Returns:
        One record an epoch; the validation's fields are NaN. On one thread, so that a seed fixes the result.

    Raises:
        ValueError: start_epoch lies outside the schedule.

    Source: Renda et al. 2020, arXiv:2003.02389, for rewinding.
    """
    if not 0 <= start_epoch < schedule.epochs:
        raise ValueError(f"start_epoch must lie in 0 <= start_epoch < {schedule.epochs}, got {start_epoch}.")
    generator = torch.Generator().manual_seed(seed)
    model.to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    optimiser = torch.optim.SGD(
        model.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=schedule.momentum > 0,
        weight_decay=schedule.weight_decay,
    )
    n = len(data)
    n_batches = -(-n // schedule.batch_size)
    at = round(start_epoch * n_batches)
    history: list[Epoch] = []
    with one_thread():
        while at < schedule.epochs * n_batches:
            start, total, seen = time.perf_counter(), 0.0, 0
            batches = torch.randperm(n, generator=generator).split(schedule.batch_size)
            for batch in itertools.islice(batches, at % n_batches, None):
                for group in optimiser.param_groups:
                    group["lr"] = schedule.lr_at((at + 0.5) / n_batches)
                images = data.images[batch]
                if augment:
                    images = _shifted_and_mirrored(images, generator)
                images = images.contiguous(memory_format=torch.channels_last)
                with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
                    logits = model(images)
                loss = functional.cross_entropy(logits.float(), data.labels[batch])
                optimiser.zero_grad()
                loss.backward()
                if clip is not None:
                    nn.utils.clip_grad_norm_(model.parameters(), clip)
                optimiser.step()
                if after_step is not None:
                    after_step()
                total, seen, at = total + loss.item() * len(batch), seen + len(batch), at + 1
            nan, number = float("nan"), at // n_batches
            history.append(Epoch(number, total / seen, nan, nan, time.perf_counter() - start))
            if progress:
                print(f"epoch {number}/{schedule.epochs}  loss {total / seen:.4f}", file=sys.stderr, flush=True)
            if after_epoch is not None:
                after_epoch(number)
    model.eval()
    return history


def _shifted_and_mirrored(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Every image moved by -4 to 4 pixels each way, black behind it, and half of them mirrored."""
    n, _, height, width = images.shape
    room = functional.pad(images, (4, 4, 4, 4))
    down, right = torch.randint(0, 9, (2, n), generator=generator)
    rows = down[:, None] + torch.arange(height)
    columns = right[:, None] + torch.arange(width)
    is_mirrored = torch.rand(n, generator=generator) < 0.5
    columns = torch.where(is_mirrored[:, None], columns.flip(1), columns)
    return room[torch.arange(n)[:, None, None], :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
