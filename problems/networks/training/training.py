"""Training with early stopping, every random choice from one seed."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor, nn

from problems.data.examples import call
from problems.networks.training.descent import (
    Loss,
    Step,
    TrainingData,
    batches,
    check_finite_loss,
    class_loss,
    descend,
)
from problems.networks.training.randomness import epoch_stream, global_generators_kept, seed_global_generators

_VALIDATION_BATCH = 2000


@dataclasses.dataclass(frozen=True)
class Epoch:
    """One epoch: mean training loss (nats), validation loss and accuracy (NaN without validation), seconds."""

    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class History:
    """What a training did: its epochs, and the number of the one whose weights were kept."""

    epochs: tuple[Epoch, ...]
    best: int


def train(
    model: nn.Module,
    data: TrainingData,
    *,
    seed: int,
    loss: Loss | None = None,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    patience: int = 3,
    validation: float = 0.1,
    progress: bool = True,
) -> History:
    """Train in place with Adam, and keep the epoch of lowest validation loss.

    Args:
        model: Its present weights are the start.
        data: The training split; the validation part is taken from it, never from search or test.
        seed: Of the validation part, of the order of the batches, and of what the model draws, as in dropout.
        loss: Of the model's outputs and the targets; None takes the cross-entropy of logits (n, n_classes).
        epochs: At most so many passes.
        batch_size: Examples a step; a last batch of one as in `batches`.
        lr: Adam's step size.
        patience: Stop after so many epochs without a lower validation loss.
        validation: Fraction of `data` to validate on; 0 trains for all epochs and keeps the last.
        progress: A bar on a terminal, else a line an epoch, on stderr; False is silent.

    Returns:
        The history. The result is fixed by the seed: training runs on one thread, whose sums have one order.

    Raises:
        ValueError: an option out of range.
        UsageError: The loss is not a number any more.
    """
    _check_above_zero(epochs=epochs, batch_size=batch_size, lr=lr, patience=patience)
    if not 0 <= validation < 1:
        raise ValueError(f"validation must be a fraction, 0 <= validation < 1, got {validation}.")
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(data), generator=generator)
    n_validation = round(validation * len(data))
    held_out, used = order[:n_validation], order[n_validation:]
    optimiser = torch.optim.Adam(model.parameters(), lr=lr, fused=True)
    history: list[Epoch] = []
    best, best_loss, best_weights = 0, float("inf"), copy_of_state(model)
    steps = _steps(model, used, generator, seed=seed, epochs=epochs, batch_size=batch_size)
    n_batches = -(-len(used) // batch_size)
    with one_thread(), global_generators_kept(), _reporter(epochs, n_batches, progress=progress) as report:
        passes = descend(model, data, optimiser, steps, loss=loss or class_loss, after_step=report.step)
        for number, (train_loss, seconds) in enumerate(passes, start=1):
            check_finite_loss(train_loss)
            v_loss, v_accuracy = _validated(model, data, held_out, loss)
            history.append(Epoch(number, train_loss, v_loss, v_accuracy, seconds))
            report.epoch(history[-1])
            if not n_validation or v_loss < best_loss:
                best, best_loss, best_weights = number, v_loss, copy_of_state(model)
            elif number - best >= patience:
                break
    model.load_state_dict(best_weights)
    model.eval()
    return History(tuple(history), best)


def _steps(
    model: nn.Module, used: Tensor, generator: torch.Generator, *, seed: int, epochs: int, batch_size: int
) -> Iterator[Iterator[Step]]:
    """Steps of each epoch; what the model draws in it follows from the seed and the epoch's number."""
    for epoch in range(1, epochs + 1):
        seed_global_generators(epoch_stream(seed, epoch))
        order = used[torch.randperm(len(used), generator=generator)]
        yield map(Step, batches(order, batch_size, model=model))


@torch.no_grad()
def _validated(model: nn.Module, data: TrainingData, held_out: Tensor, loss: Loss | None) -> tuple[float, float]:
    """Loss and accuracy on the part that is held out; NaN where there is none, or no classes."""
    if not len(held_out):
        return float("nan"), float("nan")
    if loss is None:
        inputs, labels = data.batch(held_out)
        assert isinstance(inputs, Tensor)
        return evaluate(model, inputs, labels)
    model.eval()
    total = 0.0
    for ids in batches(held_out, _VALIDATION_BATCH, model=model):
        inputs, targets = data.batch(ids)
        total += float(loss(call(model, inputs), targets)) * len(ids)
    return total / len(held_out), float("nan")


def _check_above_zero(**options: float) -> None:
    for name, value in options.items():
        if not value > 0:
            raise ValueError(f"{name} must be above 0, got {value}.")


@torch.no_grad()
def evaluate(model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 2000) -> tuple[float, float]:
    """Mean cross-entropy (nats) and accuracy (fraction) of a network; NaN for no images.

    Args:
        model: Maps images to logits; put into evaluation mode.
        images: (n, c, h, w), or (n, inputs) for a fully connected network.
        labels: (n,) int64.
        batch_size: Images at once.
    """
    if not len(labels):
        return float("nan"), float("nan")
    model.eval()
    loss, n_right = 0.0, 0
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        logits = model(x)
        loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
        n_right += int((logits.argmax(dim=1) == y).sum())
    return loss / len(labels), n_right / len(labels)


@contextmanager
def one_thread() -> Iterator[None]:
    """While open, torch runs on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def copy_of_state(model: nn.Module) -> dict[str, Tensor]:
    """A network's tensors by name, which later training does not change."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


class _Report(Protocol):
    def step(self) -> None: ...

    def epoch(self, epoch: Epoch) -> None: ...


class _Silent:
    def step(self) -> None:
        pass

    def epoch(self, epoch: Epoch) -> None:
        pass


class _Lines(_Silent):
    def __init__(self, n_epochs: int) -> None:
        self._n_epochs = n_epochs

    def epoch(self, epoch: Epoch) -> None:
        print(f"training epoch {epoch.number}/{self._n_epochs}  {_summary(epoch)}", file=sys.stderr, flush=True)


class _Bar:
    def __init__(self, progress: Progress, total: int) -> None:
        self._progress, self._task = progress, progress.add_task("training", total=total, summary="")

    def step(self) -> None:
        self._progress.advance(self._task)

    def epoch(self, epoch: Epoch) -> None:
        self._progress.update(self._task, summary=_summary(epoch))


def _summary(epoch: Epoch) -> str:
    text = f"loss {epoch.train_loss:.4f}"
    if epoch.validation_loss == epoch.validation_loss:
        text += f"  validation {epoch.validation_loss:.4f}, accuracy {epoch.validation_accuracy:.4f}"
    return text


@contextmanager
def _reporter(n_epochs: int, n_batches: int, *, progress: bool) -> Iterator[_Report]:
    console = Console(stderr=True)
    if not progress:
        yield _Silent()
    elif not console.is_terminal:
        yield _Lines(n_epochs)
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[summary]}"), console=console, transient=True) as bar:
            yield _Bar(bar, n_epochs * n_batches)
