"""Minibatch gradient descent on a loss: the loop of every training."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional

from opt.console.errors import UsageError
from problems.data.examples import Inputs, call

Precision = Literal["float32", "bfloat16"]

Loss = Callable[[Any, Tensor], Tensor]
"""`(outputs, targets) -> mean loss`, which can be differentiated."""


class TrainingData(Protocol):
    """Examples that batches are taken of: `Examples`, or a `Split` of images."""

    def __len__(self) -> int: ...

    def batch(self, ids: Tensor) -> tuple[Inputs, Tensor]:
        """Inputs and targets at (b,) int64 positions."""


class Step(NamedTuple):
    """One step of the optimiser.

    Attributes:
        batch: (b,) int64 positions of its examples.
        lr: Step size; None leaves the optimiser's own.
    """

    batch: Tensor
    lr: float | None = None


class Pass(NamedTuple):
    """One epoch: the mean loss of its batches, each before its step, and how long it took (s)."""

    loss: float
    seconds: float


def batches(order: Tensor, size: int, *, model: nn.Module) -> list[Tensor]:
    """Positions in batches of `size`; a last batch of one joins the one before where the model might not take it.

    A batch norm cannot normalise a single example, and a `forward` with squeeze() loses its axis.

    Args:
        order: (n,) positions.
        size: Positions a batch, 1 or more.
        model: What is trained.
    """
    parts = list(order.split(size))
    if size > 1 and len(parts) > 1 and len(parts[-1]) == 1 and not _takes_one_example(model):
        parts[-2:] = [torch.cat(parts[-2:])]
    return parts


def _takes_one_example(model: nn.Module) -> bool:
    """Whether all parts are torch's or ours, and none of them normalises a batch."""
    kinds = {type(module) for module in model.modules()}
    are_known = all(kind.__module__.partition(".")[0] in ("torch", "problems") for kind in kinds)
    return are_known and not any(issubclass(kind, nn.modules.batchnorm._BatchNorm) for kind in kinds)


def class_loss(logits: Any, labels: Tensor) -> Tensor:
    """Mean cross-entropy (nats) of (b, n_classes) logits."""
    return functional.cross_entropy(logits.float(), labels)


def descend(
    model: nn.Module,
    data: TrainingData,
    optimiser: torch.optim.Optimizer,
    epochs: Iterable[Iterable[Step]],
    *,
    loss: Loss = class_loss,
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
        model: In training mode while it is trained.
        data: Inputs and targets.
        optimiser: Of the model's parameters.
        epochs: The steps of each epoch; what makes them runs just before the epoch does.
        loss: Of the model's outputs and the targets of a batch.
        prepare: Input of a batch, (b, ...), to what the model is given; for models of one input.
        precision: Of products in the forward pass.
        clip: Largest Euclidean norm of a step's gradient, over all parameters; None for any.
        after_step: Called after each step of the optimiser; may change weights, as to hold masked ones at zero.

    Raises:
        UsageError: The loss is not a number.
    """
    for steps in epochs:
        start, total, n_examples = time.perf_counter(), 0.0, 0
        model.train()
        for ids, lr in steps:
            if lr is not None:
                for group in optimiser.param_groups:
                    group["lr"] = lr
            inputs, targets = data.batch(ids)
            if prepare is not None and isinstance(inputs, Tensor):
                inputs = prepare(inputs)
            with _forward_in(precision):
                outputs = call(model, inputs)
            value = loss(outputs, targets)
            optimiser.zero_grad()
            value.backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
            if after_step is not None:
                after_step()
            total += value.item() * len(ids)
            n_examples += len(ids)
        yield Pass(total / n_examples, time.perf_counter() - start)


def check_finite_loss(value: float) -> None:
    """Refuse a training whose loss is no number any more.

    Raises:
        UsageError: It is NaN or infinite.
    """
    if not math.isfinite(value):
        raise UsageError(f"the training's loss became {value}; take a smaller step size, or scale inputs and targets")


def _forward_in(precision: Precision) -> contextlib.AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
