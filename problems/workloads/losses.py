"""Losses and metrics by name, or a user's own: what a workload is judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from opt.console.errors import UsageError, nearest
from opt.problem import Sense, maximise, minimise

LossFunction = Callable[[Any, Tensor], Tensor]
"""`(outputs, targets) -> scalar or (n,)`: a mean over the examples, or one value each; less is better."""


@dataclass(frozen=True)
class Metric:
    """How good answers are, as a number that people read.

    Args:
        name: Its name in tables.
        function: `(outputs, targets) -> scalar` of all examples of a split together.
        sense: Whether more is better (`maximise`) or less (`minimise`).
        unit: In words, such as "fraction"; "" for none.
        best: The value of faultless answers, or None where there is none.
    """

    name: str
    function: Callable[[Any, Tensor], Any]
    sense: Sense = maximise
    unit: str = ""
    best: float | None = None


def cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """(n,) cross-entropy in nats of logits (n, n_classes, ...) for classes (n, ...), the mean of each example's."""
    losses = functional.cross_entropy(outputs, targets, reduction="none")
    return losses.flatten(1).mean(dim=1) if losses.ndim > 1 else losses


def binary_cross_entropy(outputs: Tensor, targets: Tensor) -> Tensor:
    """(n,) binary cross-entropy in nats of logits for labels of 0 and 1, both (n, ...), the mean of each example's."""
    losses = functional.binary_cross_entropy_with_logits(outputs, targets.to(outputs.dtype), reduction="none")
    return losses.flatten(1).mean(dim=1) if losses.ndim > 1 else losses


def mse(outputs: Tensor, targets: Tensor) -> Tensor:
    """(n,) squared errors of numbers, both (n, ...), the mean of each example's."""
    return _differences(outputs, targets).square().mean(dim=1)


def mae(outputs: Tensor, targets: Tensor) -> Tensor:
    """(n,) absolute errors of numbers, both (n, ...), the mean of each example's."""
    return _differences(outputs, targets).abs().mean(dim=1)


def _differences(outputs: Tensor, targets: Tensor) -> Tensor:
    """(n, k) differences; targets of one number an example may lack the last axis, or have it in excess."""
    flat, wanted = outputs.flatten(1) if outputs.ndim > 1 else outputs[:, None], targets.to(outputs.dtype)
    wanted = wanted.flatten(1) if wanted.ndim > 1 else wanted[:, None]
    if flat.shape != wanted.shape:
        raise ValueError(f"outputs {tuple(outputs.shape)} and targets {tuple(targets.shape)} differ in shape")
    return flat - wanted


def usual_pick(outputs: Any) -> Any:
    """The tensor that is judged of a network's outputs: the one that they are, or their `logits`; else the outputs."""
    if isinstance(outputs, Mapping) and "logits" in outputs:
        return outputs["logits"]
    if not isinstance(outputs, Tensor) and isinstance(getattr(outputs, "logits", None), Tensor):
        return outputs.logits
    return outputs


LOSSES: dict[str, LossFunction] = {
    "cross-entropy": cross_entropy,
    "binary-cross-entropy": binary_cross_entropy,
    "mse": mse,
    "mae": mae,
}
"""Losses by name."""


def accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of right classes; a row with a NaN is wrong. Outputs (n, n_classes, ...), targets (n, ...)."""
    right = (outputs.argmax(dim=1) == targets) & ~outputs.isnan().any(dim=1)
    return int(right.sum()) / right.numel()


def top5(outputs: Tensor, targets: Tensor) -> float:
    """Share of examples whose class is among the five highest outputs (n, n_classes)."""
    k = min(5, outputs.shape[1])
    right = (outputs.topk(k, dim=1).indices == targets[:, None]).any(dim=1) & ~outputs.isnan().any(dim=1)
    return float(right.sum()) / len(right)


def label_accuracy(outputs: Tensor, targets: Tensor) -> float:
    """Share of right labels, each its own: a logit above 0 says 1; a NaN is wrong."""
    return float((((outputs > 0) == (targets > 0.5)) & ~outputs.isnan()).double().mean())


def macro_f1(outputs: Tensor, targets: Tensor) -> float:
    """F1 of each class or label, and their mean; a class that is neither there nor answered is left out.

    A NaN answers a label wrongly, and no class.
    """
    if targets.is_floating_point() or targets.ndim > 1:
        true = (targets > 0.5).flatten(1)
        said = torch.where(outputs.isnan().flatten(1), ~true, (outputs > 0).flatten(1))
    else:
        n_classes = outputs.shape[1]
        said = functional.one_hot(outputs.argmax(dim=1), n_classes).bool() & ~outputs.isnan().any(dim=1, keepdim=True)
        true = functional.one_hot(targets, n_classes).bool()
    both, either = (said & true).sum(dim=0), said.sum(dim=0) + true.sum(dim=0)
    known = either > 0
    return float((2 * both[known] / either[known]).double().mean()) if bool(known.any()) else 0.0


def rmse(outputs: Tensor, targets: Tensor) -> float:
    """Root of the mean squared error."""
    return float(_differences(outputs, targets).double().square().mean().sqrt())


def mean_absolute_error(outputs: Tensor, targets: Tensor) -> float:
    """Mean absolute error."""
    return float(_differences(outputs, targets).double().abs().mean())


def r2(outputs: Tensor, targets: Tensor) -> float:
    """Share of the targets' variance that is explained, the mean over the numbers of an example; 1 is faultless.

    A number that is the same for all examples counts as 1 where it is answered exactly, and as 0 elsewhere.
    """
    residuals = _differences(outputs, targets).double().square().sum(dim=0)
    wanted = targets.double().flatten(1) if targets.ndim > 1 else targets.double()[:, None]
    spread = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    scores = torch.where(spread > 0, 1 - residuals / spread.clamp(min=torch.finfo(torch.float64).tiny), 0.0)
    return float(torch.where((spread == 0) & (residuals == 0), 1.0, scores).mean())


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", accuracy, maximise, "fraction", 1.0),
        Metric("top5", top5, maximise, "fraction", 1.0),
        Metric("label_accuracy", label_accuracy, maximise, "fraction", 1.0),
        Metric("macro_f1", macro_f1, maximise, "fraction", 1.0),
        Metric("rmse", rmse, minimise, "", 0.0),
        Metric("mae", mean_absolute_error, minimise, "", 0.0),
        Metric("r2", r2, maximise, "fraction", 1.0),
    )
}
"""Metrics by name."""

_USUAL = {
    "cross-entropy": ("accuracy",),
    "binary-cross-entropy": ("label_accuracy", "macro_f1"),
    "mse": ("rmse", "r2"),
    "mae": ("mae", "r2"),
}


def loss_named(loss: str | LossFunction) -> LossFunction:
    """The loss of that name; a function is one already.

    Raises:
        UsageError: No loss has that name.
    """
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise UsageError(f"unknown loss {loss!r}{nearest(loss, LOSSES)}; known: {', '.join(LOSSES)}, or a function")
    return LOSSES[loss]


def usual_loss(targets: Tensor) -> str:
    """The loss that targets ask for: classes, several labels of 0 and 1, or numbers."""
    if not targets.is_floating_point():
        is_labels = targets.ndim == 2 and targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all())
        return "binary-cross-entropy" if is_labels else "cross-entropy"
    return "mse"


def metrics_named(metrics: Any, *, loss: str | LossFunction) -> tuple[Metric, ...]:
    """Metrics from names, `Metric` objects, or functions under their names.

    Args:
        metrics: One or several; None takes the usual ones of the loss.
        loss: The workload's loss.

    Raises:
        UsageError: No metric has that name, or two have the same.
    """
    if metrics is None:
        metrics = _USUAL.get(loss, ()) if isinstance(loss, str) else ()
    if isinstance(metrics, (str, Metric)) or callable(metrics):
        metrics = (metrics,)
    result = []
    for metric in metrics:
        if isinstance(metric, Metric):
            result.append(metric)
        elif callable(metric):
            result.append(Metric(getattr(metric, "__name__", "metric"), metric))
        elif metric in METRICS:
            result.append(METRICS[metric])
        else:
            known = ", ".join(METRICS)
            raise UsageError(f"unknown metric {metric!r}{nearest(str(metric), METRICS)}; known: {known}")
    names = [metric.name for metric in result]
    if len(set(names)) < len(names) or "loss" in names:
        raise UsageError(f"metrics need different names, none of them 'loss', got {', '.join(names)}")
    return tuple(result)


def notes_on_senses(asked: Any, metrics: Sequence[Metric], outputs: Tensor, targets: Tensor) -> list[str]:
    """Of each metric that was given as a plain function: that more counts as better, and where that looks wrong.

    Args:
        asked: The metrics as they were given.
        metrics: What `metrics_named` made of them.
        outputs: (n, ...) answers of the network as it is.
        targets: (n, ...).
    """
    given = asked if isinstance(asked, (list, tuple)) else (asked,)
    functions = [one for one in given if callable(one) and not isinstance(one, Metric)]
    notes = []
    for metric in metrics:
        if not any(metric.function is one for one in functions):
            continue
        name, hint = metric.name, f"Metric({metric.name!r}, {metric.name}, sense=minimise)"
        # right answers given to other examples make an error larger, and a quality smaller
        own, mixed = (
            float(value_of(metric.function, name, o, targets).mean()) for o in (outputs, outputs.roll(1, dims=0))
        )
        if mixed > own:
            notes.append(
                f"warning: {name} is maximised, and it is larger where each example gets another one's answer "
                f"({mixed:.4g}) than as it is ({own:.4g}); if it is an error, give {hint}"
            )
        else:
            notes.append(f"{name} is maximised; of an error give {hint}")
    return notes


def value_of(function: Callable[[Any, Tensor], Any], name: str, outputs: Any, targets: Tensor) -> np.ndarray:
    """What a loss or metric says of a batch: a float64 scalar or (n,) array.

    Raises:
        UsageError: It fails, or returns another shape; with its name and reason.
    """
    try:
        value = function(outputs, targets)
    except UsageError:
        raise
    except Exception as error:  # a user's function may raise anything
        reason = " ".join(str(error).split())
        raise UsageError(f"{name} failed on outputs {_shapes(outputs)}: {type(error).__name__}: {reason}") from None
    array = value.detach().cpu().double().numpy() if isinstance(value, Tensor) else np.asarray(value, dtype=np.float64)
    if array.shape not in ((), (len(targets),)):
        raise UsageError(f"{name} must return a number, or one an example ({len(targets)},), got shape {array.shape}")
    return array


def _shapes(outputs: Any) -> str:
    return str(tuple(outputs.shape)) if isinstance(outputs, Tensor) else type(outputs).__name__
