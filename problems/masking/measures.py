"""What a mask is judged by: losses of a network's answers, and their slopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from opt.console.errors import UsageError
from opt.problem import Objective, minimise
from problems.masking.logit_losses import LOSSES, Loss
from problems.networks.storage.checkpoints import as_numpy
from problems.workloads.further_training import mean_loss
from problems.workloads.losses import value_of
from problems.workloads.workload import Workload

DEFAULT_CLASS_LOSS: Loss = "scaled"


class Measure(Protocol):
    """A loss, of answers (..., n) float32 with the n examples along the last axis."""

    @property
    def objective(self) -> Objective:
        """Its name, sense and unit."""

    def value(self, answers: np.ndarray, targets: Tensor) -> float:
        """What is minimised."""

    def slope(self, answers: np.ndarray, targets: Tensor) -> np.ndarray:
        """Derivative of the value, or of what stands for it, by the answers: of their shape."""


@dataclass(frozen=True)
class ClassMeasure:
    """One of the mask search's own losses of logits, (n_classes, n), for classes, (n,).

    Args:
        loss: Its name.
        objective: What it is called.
    """

    loss: Loss
    objective: Objective

    def value(self, answers: np.ndarray, targets: Tensor) -> float:
        """The loss, minimised."""
        return LOSSES[self.loss].value(answers, targets.numpy())

    def slope(self, answers: np.ndarray, targets: Tensor) -> np.ndarray:
        """Its derivative by the logits."""
        return LOSSES[self.loss].slope(answers, targets.numpy())


@dataclass(frozen=True)
class WorkloadMeasure:
    """A workload's own loss, or the error of its first metric.

    Args:
        workload: Says which.
        is_error: Whether the metric is minimised; the loss's slope then stands for its own.
        objective: What it is called.
    """

    workload: Workload
    is_error: bool
    objective: Objective

    def value(self, answers: np.ndarray, targets: Tensor) -> float:
        """The loss or the metric's error, minimised."""
        work, outputs = self.workload, _examples_first(answers)
        if not self.is_error or work.metric is None:
            return work.loss_of(outputs, targets)
        name = work.metric.name
        return work.quality({name: float(value_of(work.metric.function, f"metric {name!r}", outputs, targets).mean())})

    def slope(self, answers: np.ndarray, targets: Tensor) -> np.ndarray:
        """The derivative of the loss by the answers.

        Raises:
            UsageError: It has none.
        """
        with torch.enable_grad():
            outputs = _examples_first(answers).requires_grad_(True)
            loss = mean_loss(self.workload)(outputs, targets)
            (gradient,) = torch.autograd.grad(loss, outputs, allow_unused=True, materialize_grads=True)
        return np.ascontiguousarray(np.moveaxis(gradient.numpy(), 0, -1), dtype=np.float32)


def measure_of(workload: Workload, loss: Loss | None) -> Measure:
    """What masks of a workload's network are judged by.

    Args:
        workload: The network and how it is judged.
        loss: Its name; None for the usual one: of logits at one scale on a named data set, else the workload's own.

    Raises:
        UsageError: A loss of classes is asked of a workload that has none.
    """
    is_own = workload.dataset is None
    if is_own and loss is None:
        is_in_nats = workload.loss_name in ("cross-entropy", "binary-cross-entropy")
        return WorkloadMeasure(workload, False, Objective("loss", minimise, unit="nats" if is_in_nats else ""))
    if is_own and loss == "error":
        return WorkloadMeasure(workload, True, workload.error_objective)
    if is_own:
        _check_classes(workload, loss)
    unit = "fraction" if loss == "error" else "nats"
    name = "error" if loss == "error" else "loss"
    return ClassMeasure(loss or DEFAULT_CLASS_LOSS, Objective(name, minimise, unit=unit))


def _check_classes(workload: Workload, loss: Loss | None) -> None:
    with torch.no_grad():
        answers = workload.answers(workload.network, workload.example)
    targets = workload.search.targets
    if targets.is_floating_point() or targets.ndim != 1 or answers.ndim != 2:
        raise UsageError(
            f"loss {loss} is of one class an example, and this workload has targets {targets.dtype} "
            f"{tuple(targets.shape)} and answers {tuple(answers.shape)}; leave out --problem.loss to take its own loss "
            f"({workload.loss_name}), or give error for its first metric".replace("torch.", "")
        )
    if int(targets.min()) < 0 or int(targets.max()) >= answers.shape[1]:
        raise UsageError(
            f"loss {loss} needs classes from 0 to {answers.shape[1] - 1}, got {int(targets.min())} to "
            f"{int(targets.max())}; leave out --problem.loss to take the workload's own loss"
        )


def examples_last(answers: Tensor) -> np.ndarray:
    """Answers, (n, ...), as an array with the examples along its last axis, in which losses of classes are fastest."""
    return as_numpy(answers.detach().movedim(0, -1).contiguous())


def _examples_first(answers: np.ndarray) -> Tensor:
    """(n, ...) tensor of answers with the examples along the last axis."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(answers, -1, 0)))
