"""Minibatch gradient descent on the cross-entropy: the loop of every training."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from problems.data.data import Split

Precision = Literal["float32", "bfloat16"]


class Step(NamedTuple):
    """One step of the optimiser.

    Attributes:
        batch: (b,) int64 positions of its images.
        lr: Step size; None leaves the optimiser's own.
    """

    batch: Tensor
    lr: float | None = None


class Pass(NamedTuple):
    """One epoch: the mean loss of its batches (nats), each before its step, and how long it took (s)."""

    loss: float
    seconds: float


def descend(
    model: nn.Module,
    data: Split,
    optimiser: torch.optim.Optimizer,
    epochs: Iterable[Iterable[Step]],
    *,
    prepare: Callable[[Tensor], Tensor] | None = None,
    precision: Precision = "float32",
    clip: float | None = None,
    after_step: Callable[[], None] | None = None,
) -> Iterator[Pass]:
    """Train a network in place, an epoch for each value taken from this iterator.

    The body of the loop over it is what happens between epochs: validation, checkpoints, lines on the terminal; to
    leave that loop ends the training. Nothing is drawn here: orders, step sizes and augmentation are
    arguments.

    Args:
        model: Maps images (n, c, h, w) to logits; in training mode while it is trained.
        data: Images and labels.
        optimiser: Of the model's parameters.
        epochs: The steps of each epoch; what makes them runs just before the epoch does.
        prepare: Images of a batch, (b, c, h, w), to what the model is given.
        precision: Of products in the forward pass.
        clip: Largest Euclidean norm of a step's gradient, over all parameters; None for any.
        after_step: Called after each step of the optimiser; may change weights, as to hold masked ones at zero.
    """
    for steps in epochs:
        start, total, n_images = time.perf_counter(), 0.0, 0
        model.train()
        for batch, lr in steps:
            if lr is not None:
                for group in optimiser.param_groups:
                    group["lr"] = lr
            images = data.images[batch] if prepare is None else prepare(data.images[batch])
            with _forward_in(precision):
                logits = model(images)
            loss = functional.cross_entropy(logits.float(), data.labels[batch])
            optimiser.zero_grad()
            loss.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
            if after_step is not None:
                after_step()
            total += loss.item() * len(batch)
            n_images += len(batch)
        yield Pass(total / n_images, time.perf_counter() - start)


def _forward_in(precision: Precision) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
