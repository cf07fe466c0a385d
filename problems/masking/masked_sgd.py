"""Stochastic gradient descent under masks, with learning curves and checkpoints that survive a kill."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.data import Split
from problems.networks.storage.checkpoints import read_safetensors, write_whole
from problems.networks.training.descent import Loss, Step, batches, class_loss, descend
from problems.networks.training.randomness import epoch_stream, global_generators_kept, seed_global_generators
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import momentum_sgd
from problems.networks.training.training import copy_of_state, evaluate, one_thread

Dropped = Literal["zero", "frozen"]


@dataclass
class Trained:
    """What a training left: one row an epoch, and states of the epochs that were asked for.

    Attributes:
        curve: Rows with `epoch`, `train_loss`, and `NAME_loss`, `NAME_accuracy` of each split that was watched.
        states: State dicts by epoch, 0 = before training.
    """

    curve: list[dict[str, float]] = field(default_factory=list)
    states: dict[int, dict[str, Tensor]] = field(default_factory=dict)


def train_masked(
    model: nn.Module,
    data: Split,
    *,
    schedule: Schedule,
    seed: int,
    masks: Mapping[str, np.ndarray] | None = None,
    dropped: Dropped = "zero",
    watched: Mapping[str, Split] | None = None,
    keep_epochs: tuple[int, ...] = (),
    checkpoint: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
    loss: Loss = class_loss,
) -> Trained:
    """Train in place by SGD on the cross-entropy.

    Orders of batches and dropout of an epoch follow from the seed and the epoch's number alone, so that a
    training that goes on from its checkpoint ends with the same weights as one that was never stopped.

    Args:
        model: Maps images (n, c, h, w) to logits.
        data: What it is trained on.
        schedule: Epochs, step sizes and the like.
        seed: Of orders and dropout.
        masks: Bool arrays by names of parameters, True where a weight stays; the others do not train.
        dropped: What the others are: zero, or frozen at the value they have now.
        watched: Splits that are evaluated after every epoch, by name.
        keep_epochs: Epochs whose states are returned.
        checkpoint: File that the training writes after each epoch and goes on from where it exists.
        on_epoch: Called with each row of the curve.
        loss: Of what the model returns and the labels; by default the cross-entropy of logits.

    Returns:
        Curve and states. One thread is used whatever torch is set to, so that results repeat.

    Raises:
        UsageError: the checkpoint is of another training, damaged, or can't be written.
    """
    about = {"schedule": json.loads(json.dumps(asdict(schedule))), "seed": seed, "dropped": dropped, "n": len(data)}
    saved = None if checkpoint is None else _Checkpoint(Path(checkpoint), about)
    done = Trained()
    with _all_trainable(model) as optimised, one_thread(), global_generators_kept():
        hold = holding_masks(optimised, masks or {}, dropped)
        hold()
        optimiser = momentum_sgd(model, schedule, nesterov=False)
        if saved is not None:
            saved.restore(model, optimiser, done)
        if 0 in keep_epochs and 0 not in done.states:
            done.states[0] = copy_of_state(model)
        steps = _steps(model, schedule, len(data), seed, first := len(done.curve) + 1)
        passes = descend(model, data, optimiser, steps, loss=loss, after_step=hold)
        for epoch, (train_loss, _) in enumerate(passes, start=first):
            done.curve.append({"epoch": float(epoch), "train_loss": train_loss} | _measured(model, watched or {}))
            if epoch in keep_epochs:
                done.states[epoch] = copy_of_state(model)
            if saved is not None:
                saved.write(model, optimiser, done)
            if on_epoch:
                on_epoch(done.curve[-1])
    return done


@contextmanager
def _all_trainable(model: nn.Module) -> Iterator[dict[str, nn.Parameter]]:
    """While open every parameter of the network, by name, is trained; behind it those that were, in evaluation mode."""
    parameters = dict(model.named_parameters())
    was_trained = {name: parameter.requires_grad for name, parameter in parameters.items()}
    model.requires_grad_(True)
    try:
        yield parameters
    finally:
        model.eval().zero_grad()
        for name, parameter in parameters.items():
            parameter.requires_grad_(was_trained[name])


def _steps(model: nn.Module, schedule: Schedule, n: int, seed: int, first: int) -> Iterator[list[Step]]:
    """Steps of each epoch from `first` on; orders of images and dropout follow from seed and epoch alone."""
    for epoch in range(first, schedule.epochs + 1):
        stream = epoch_stream(seed, epoch)
        seed_global_generators(stream)
        order = torch.randperm(n, generator=torch.Generator().manual_seed(stream))
        yield [Step(batch, schedule.lr_at(epoch - 1)) for batch in batches(order, schedule.batch_size, model=model)]


def _measured(model: nn.Module, watched: Mapping[str, Split]) -> dict[str, float]:
    """Loss and accuracy on each split that is watched."""
    row = {}
    for name, split in watched.items():
        row[f"{name}_loss"], row[f"{name}_accuracy"] = evaluate(model, split.images, split.labels)
    return row


def holding_masks(
    parameters: Mapping[str, nn.Parameter], masks: Mapping[str, np.ndarray], dropped: Dropped = "zero"
) -> Callable[[], None]:
    """What puts parameters, by name, to zero or to their value of now where bool masks of their shapes are false."""
    held: list[tuple[nn.Parameter, Tensor, Tensor | None]] = []
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            raise ValueError(f"mask {name!r} of shape {mask.shape} fits no parameter of the network.")
        keep = torch.tensor(mask, dtype=parameters[name].dtype)
        rest = None if dropped == "zero" else parameters[name].detach() * (1 - keep)
        held.append((parameters[name], keep, rest))
    return functools.partial(_apply, held)


@torch.no_grad()
def _apply(held: list[tuple[nn.Parameter, Tensor, Tensor | None]]) -> None:
    for parameter, keep, rest in held:
        parameter.mul_(keep)
        if rest is not None:
            parameter.add_(rest)


class _Checkpoint:
    """What a training goes on from after a kill: weights, momentum, curve and states.

    Args:
        path: The file.
        about: What the training is, plain values; another training's file is refused.
    """

    def __init__(self, path: Path, about: dict[str, Any]) -> None:
        self._path, self._about = path, about

    def write(self, model: nn.Module, optimiser: torch.optim.SGD, done: Trained) -> None:
        """Write the file, whole or not at all."""
        tensors = {f"model.{name}": t for name, t in copy_of_state(model).items()}
        for name, parameter in model.named_parameters():
            buffer = optimiser.state[parameter].get("momentum_buffer")
            if buffer is not None:
                tensors[f"momentum.{name}"] = buffer
        for epoch, state in done.states.items():
            tensors |= {f"epoch.{epoch}.{name}": t for name, t in state.items()}
        info = json.dumps({"about": self._about, "curve": done.curve})
        write_whole(self._path, safetensors.torch.save(tensors, {"info": info}))

    def restore(self, model: nn.Module, optimiser: torch.optim.SGD, done: Trained) -> None:
        """Put in place what the file holds, if there is one."""
        if not self._path.exists():
            return
        tensors, metadata = read_safetensors(self._path)
        try:
            info = json.loads(metadata["info"])
            is_own = info["about"] == self._about
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"{self._path} is no checkpoint of a training: {error}; remove it.") from None
        if not is_own:
            raise UsageError(f"checkpoint {self._path} is of another training; remove it or name another file.")
        try:
            model.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
            done.curve = info["curve"]
        except (KeyError, RuntimeError) as error:
            raise UsageError(f"checkpoint {self._path} does not fit this network: {error}; remove it.") from None
        for name, parameter in model.named_parameters():
            if f"momentum.{name}" in tensors:
                optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"].clone()
        for key, tensor in tensors.items():
            if key.startswith("epoch."):
                epoch, _, name = key.removeprefix("epoch.").partition(".")
                done.states.setdefault(int(epoch), {})[name] = tensor
