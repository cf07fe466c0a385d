"""Stochastic gradient descent with momentum on a schedule that can be wound back to any point of it."""

from __future__ import annotations

import functools
import math
import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn

from problems.networks.training.augmentation import shifted_and_mirrored
from problems.networks.training.descent import (
    Loss,
    Precision,
    Step,
    TrainingData,
    batches,
    class_loss,
    descend,
)
from problems.networks.training.randomness import epoch_stream, global_generators_kept, seed_global_generators
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import Epoch, copy_of_state, one_thread


def train_sgd(
    model: nn.Module,
    data: TrainingData,
    schedule: Schedule,
    *,
    seed: int,
    loss: Loss = class_loss,
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
        model: Its present weights are the start.
        data: Inputs and targets.
        schedule: Step sizes, batches, epochs.
        seed: Of the order of the examples, of images' shifts, and of what the model draws, as in dropout.
        loss: Of the model's outputs and the targets; by default the cross-entropy of logits.
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
    begin = functools.partial(
        _trained, model, data, schedule, seed=seed, loss=loss, start_epoch=start_epoch, precision=precision,
        augment=augment, progress=progress, after_epoch=after_epoch, after_step=after_step, clip=clip,
    )  # fmt: skip
    first, _ = data.batch(torch.arange(1))
    if not isinstance(first, Tensor) or first.ndim != 4:
        return begin(is_fast=False)
    before = copy_of_state(model)
    try:
        return begin(is_fast=True)
    except RuntimeError as error:
        # torch's view() takes no maps in the fastest layout, and a user's forward may have one
        if "view size is not compatible" not in str(error):
            raise
        model.load_state_dict(before)
        for name, parameter in model.named_parameters():
            parameter.data = before[name]  # strides too, which a copy into the fastest layout would lose
        return begin(is_fast=False)


def _trained(
    model: nn.Module,
    data: TrainingData,
    schedule: Schedule,
    *,
    seed: int,
    loss: Loss,
    start_epoch: float,
    precision: Precision,
    augment: bool,
    progress: bool,
    after_epoch: Callable[[int], None] | None,
    after_step: Callable[[], None] | None,
    clip: float | None,
    is_fast: bool,
) -> list[Epoch]:
    """Train as `train_sgd` does, in the layout in which convolutions are fastest (`is_fast`) or the usual one."""
    generator = torch.Generator().manual_seed(seed)
    if is_fast:
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = momentum_sgd(model, schedule, nesterov=schedule.momentum > 0)
    prepare = functools.partial(_prepared, generator=generator if augment else None, is_fast=is_fast)
    first, epochs = _rest_of(model, schedule, len(data), start_epoch, generator, seed)
    passes = descend(
        model,
        data,
        optimiser,
        epochs,
        loss=loss,
        prepare=prepare,
        precision=precision,
        clip=clip,
        after_step=after_step,
    )
    history: list[Epoch] = []
    with one_thread(), global_generators_kept():
        for number, (train_loss, seconds) in enumerate(passes, start=first):
            history.append(Epoch(number, train_loss, math.nan, math.nan, seconds))
            if progress:
                print(f"epoch {number}/{schedule.epochs}  loss {train_loss:.4f}", file=sys.stderr, flush=True)
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
    model: nn.Module, schedule: Schedule, n: int, start_epoch: float, generator: torch.Generator, seed: int
) -> tuple[int, Iterator[list[Step]]]:
    """The number of the first epoch behind `start_epoch`, and the steps that are left of it and of each later one."""
    n_batches = len(batches(torch.arange(n), schedule.batch_size, model=model))
    start = round(start_epoch * n_batches)

    def epochs() -> Iterator[list[Step]]:
        at = start
        while at < schedule.epochs * n_batches:
            seed_global_generators(epoch_stream(seed, at // n_batches))
            parts = batches(torch.randperm(n, generator=generator), schedule.batch_size, model=model)[at % n_batches :]
            # the step size in the middle of each step
            yield [Step(ids, schedule.lr_at((at + k + 0.5) / n_batches)) for k, ids in enumerate(parts)]
            at += len(parts)

    return start // n_batches + 1, epochs()


def _prepared(images: Tensor, *, generator: torch.Generator | None, is_fast: bool) -> Tensor:
    """Images in the layout in which convolutions are fastest; moved where there is a generator to draw from."""
    moved = images if generator is None else shifted_and_mirrored(images, generator)
    return moved.contiguous(memory_format=torch.channels_last) if is_fast else moved
