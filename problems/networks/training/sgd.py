"""Stochastic gradient descent with momentum on a schedule that can be wound back to any point of it."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from problems.data.data import Split
from problems.networks.training.augmentation import shifted_and_mirrored
from problems.networks.training.descent import Precision, Step, descend
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import Epoch, one_thread


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
        after_step: As in `descend`.
        clip: As in `descend`.

    Returns:
        One record an epoch; the validation's fields are NaN. On one thread, so that a seed fixes the result.

    Raises:
        ValueError: start_epoch lies outside the schedule.

    Source: Renda et al. 2020, arXiv:2003.02389, for rewinding.
    """
    if not 0 <= start_epoch < schedule.epochs:
        raise ValueError(f"start_epoch must lie in 0 <= start_epoch < {schedule.epochs}, got {start_epoch}.")
    generator = torch.Generator().manual_seed(seed)
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = momentum_sgd(model, schedule, nesterov=schedule.momentum > 0)
    prepare = functools.partial(_prepared, generator=generator if augment else None)
    first, epochs = _rest_of(schedule, len(data), start_epoch, generator)
    passes = descend(
        model, data, optimiser, epochs, prepare=prepare, precision=precision, clip=clip, after_step=after_step
    )
    history: list[Epoch] = []
    with one_thread():
        for number, (loss, seconds) in enumerate(passes, start=first):
            history.append(Epoch(number, loss, math.nan, math.nan, seconds))
            if progress:
                print(f"epoch {number}/{schedule.epochs}  loss {loss:.4f}", file=sys.stderr, flush=True)
            if after_epoch is not None:
                after_epoch(number)
    model.eval()
    return history


def momentum_sgd(model: nn.Module, schedule: Schedule, *, nesterov: bool) -> torch.optim.SGD:
    """The optimiser of a schedule, for all parameters of a network."""
    return torch.optim.SGD(
        model.parameters(),
        lr=schedule.lr,
        momentum=schedule.momentum,
        nesterov=nesterov,
        weight_decay=schedule.weight_decay,
    )


def _rest_of(
    schedule: Schedule, n: int, start_epoch: float, generator: torch.Generator
) -> tuple[int, Iterator[list[Step]]]:
    """The number of the first epoch behind `start_epoch`, and the steps that are left of it and of each later one."""
    n_batches = -(-n // schedule.batch_size)
    start = round(start_epoch * n_batches)

    def epochs() -> Iterator[list[Step]]:
        at = start
        while at < schedule.epochs * n_batches:
            batches = torch.randperm(n, generator=generator).split(schedule.batch_size)[at % n_batches :]
            # the step size in the middle of each step
            yield [Step(batch, schedule.lr_at((at + k + 0.5) / n_batches)) for k, batch in enumerate(batches)]
            at += len(batches)

    return start // n_batches + 1, epochs()


def _prepared(images: Tensor, *, generator: torch.Generator | None) -> Tensor:
    """Images in the layout in which convolutions are fastest; moved where there is a generator to draw from."""
    moved = images if generator is None else shifted_and_mirrored(images, generator)
    return moved.contiguous(memory_format=torch.channels_last)
