"""Training by SGD on a schedule, under masks, with curves and checkpoints that survive a kill."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
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
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import evaluate, one_thread

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

    Returns:
        Curve and states. One thread is used whatever torch is set to, so that results repeat.

    Raises:
        UsageError: the checkpoint is of another training, damaged, or can't be written.
    """
    parameters = dict(model.named_parameters())
    learnt = {name: parameter.requires_grad for name, parameter in parameters.items()}
    model.requires_grad_(True)
    held = _held(parameters, masks or {}, dropped)
    optimiser = torch.optim.SGD(
        model.parameters(), lr=schedule.lr, momentum=schedule.momentum, weight_decay=schedule.weight_decay
    )
    about = {"schedule": json.loads(json.dumps(asdict(schedule))), "seed": seed, "dropped": dropped, "n": len(data)}
    done = Trained()
    with one_thread(), torch.random.fork_rng(devices=[]):
        _apply(held)
        if checkpoint is not None and Path(checkpoint).exists():
            _restore(Path(checkpoint), about, model, optimiser, done)
        if 0 in keep_epochs and 0 not in done.states:
            done.states[0] = _copy(model)
        for epoch in range(len(done.curve) + 1, schedule.epochs + 1):
            row = {"epoch": float(epoch)}
            row["train_loss"] = _one_epoch(model, data, optimiser, schedule, seed, epoch, held)
            for name, split in (watched or {}).items():
                row[f"{name}_loss"], row[f"{name}_accuracy"] = evaluate(model, split.images, split.labels)
            done.curve.append(row)
            if epoch in keep_epochs:
                done.states[epoch] = _copy(model)
            if checkpoint is not None:
                _save(Path(checkpoint), about, model, optimiser, done)
            if on_epoch:
                on_epoch(row)
    model.eval().zero_grad()
    for name, parameter in parameters.items():
        parameter.requires_grad_(learnt[name])
    return done


def _one_epoch(
    model: nn.Module,
    data: Split,
    optimiser: torch.optim.SGD,
    schedule: Schedule,
    seed: int,
    epoch: int,
    held: list[tuple[nn.Parameter, Tensor, Tensor | None]],
) -> float:
    for group in optimiser.param_groups:
        group["lr"] = schedule.lr_at(epoch - 1)
    stream = int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)
    torch.random.manual_seed(stream)  # dropout draws from torch's own generator, which is put back afterwards
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(stream))
    model.train()
    total = 0.0
    for batch in order.split(schedule.batch_size):
        loss = nn.functional.cross_entropy(model(data.images[batch]), data.labels[batch])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        _apply(held)
        total += loss.item() * len(batch)
    return total / len(data)


def _held(
    parameters: Mapping[str, nn.Parameter], masks: Mapping[str, np.ndarray], dropped: Dropped
) -> list[tuple[nn.Parameter, Tensor, Tensor | None]]:
    """Each masked parameter with its mask and what stands where it is not kept (None for zero)."""
    held = []
    for name, mask in masks.items():
        if name not in parameters or parameters[name].shape != mask.shape:
            raise ValueError(f"mask {name!r} of shape {mask.shape} fits no parameter of the network.")
        keep = torch.tensor(mask, dtype=parameters[name].dtype)
        rest = None if dropped == "zero" else parameters[name].detach() * (1 - keep)
        held.append((parameters[name], keep, rest))
    return held


@torch.no_grad()
def _apply(held: list[tuple[nn.Parameter, Tensor, Tensor | None]]) -> None:
    for parameter, keep, rest in held:
        parameter.mul_(keep)
        if rest is not None:
            parameter.add_(rest)


def _copy(model: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def _save(path: Path, about: dict[str, Any], model: nn.Module, optimiser: torch.optim.SGD, done: Trained) -> None:
    tensors = {f"model.{name}": t for name, t in _copy(model).items()}
    for name, parameter in model.named_parameters():
        buffer = optimiser.state[parameter].get("momentum_buffer")
        if buffer is not None:
            tensors[f"momentum.{name}"] = buffer
    for epoch, state in done.states.items():
        tensors |= {f"epoch.{epoch}.{name}": t for name, t in state.items()}
    info = json.dumps({"about": about, "curve": done.curve})
    write_whole(path, safetensors.torch.save(tensors, {"info": info}))


def _restore(path: Path, about: dict[str, Any], model: nn.Module, optimiser: torch.optim.SGD, done: Trained) -> None:
    tensors, metadata = read_safetensors(path)
    try:
        info = json.loads(metadata["info"])
        if info["about"] != about:
            raise UsageError(f"checkpoint {path} is of another training; remove it or name another file.")
        model.load_state_dict({k.removeprefix("model."): t for k, t in tensors.items() if k.startswith("model.")})
        done.curve = info["curve"]
    except (KeyError, TypeError, ValueError, RuntimeError, RecursionError) as error:
        raise UsageError(f"checkpoint {path} does not fit this network: {error}; remove it.") from None
    for name, parameter in model.named_parameters():
        if f"momentum.{name}" in tensors:
            optimiser.state[parameter]["momentum_buffer"] = tensors[f"momentum.{name}"].clone()
    for key, tensor in tensors.items():
        if key.startswith("epoch."):
            epoch, _, name = key.removeprefix("epoch.").partition(".")
            done.states.setdefault(int(epoch), {})[name] = tensor
