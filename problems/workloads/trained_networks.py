"""A network by its name, trained by its own recipe on any data, and kept; or a user's, trained or read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.data import Split
from problems.data.examples import Examples, call, mapped
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.named_networks import (
    FEW_EXAMPLES,
    MLP,
    Adam,
    build_network,
    is_named,
    named_network,
)
from problems.networks.storage.checkpoints import encode_network, load_metadata, load_weights
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.descent import Precision
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.networks.training.training import train
from problems.workloads.losses import LOSSES, usual_pick
from problems.workloads.parents import trained_parent, trained_snowfall
from problems.workloads.reference_networks import default_schedule, trained_network

# Part of the key of every kept network: raise it when training changes what it makes.
_VERSION = 1
USUAL_LOSSES = {"classes": "cross-entropy", "labels": "binary-cross-entropy", "numbers": "mse"}
"""Losses by what targets are."""
_OWN = Adam()
_REFERENCES = {"lenet-5-padded": "lenet5", "resnet-20": "resnet20", "vgg-small": "vgg"}
"""Networks that are kept under their former names, so that those of today are found."""


def trained(
    network: str,
    data: ExampleSet,
    *,
    seed: int,
    epochs: int | None = None,
    checkpoint: str | None = None,
    precision: Precision = "float32",
    options: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> nn.Module:
    """A network in evaluation mode, its weights read from a checkpoint, or trained on the data and then kept.

    Args:
        network: As in `build_network`.
        data: Its train split is trained on, by the usual loss of its targets.
        seed: Of initial weights and training.
        epochs: Of training, where there is no checkpoint; None takes the network's own.
        checkpoint: File with the weights, of safetensors or of `torch.save`.
        precision: Of products in trainings by SGD.
        options: Of named networks, as in `build_network`.
        progress: Whether the training is told on stderr.

    Raises:
        UsageError: The network or the checkpoint cannot be had, or the data does not fit.
    """
    given = {name: value for name, value in (options or {}).items() if value is not None}
    model = build_network(network, data, seed=seed, **given)
    if checkpoint is not None:
        load_weights(model, checkpoint)
    check_fits(model, data, network)
    if checkpoint is not None:
        return model
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise UsageError(f"network {network} has no parameter to train; unfreeze some, or give --problem.checkpoint")
    if not is_named(network):
        _train(model, data, _OWN, epochs, seed, precision, progress)
        return model.eval()
    known = _of_today(network, data, seed, epochs, precision, progress)
    return _kept(model, network, data, seed, epochs, precision, given, progress) if known is None else known


@torch.no_grad()
def check_fits(model: nn.Module, data: ExampleSet, name: str) -> None:
    """Refuse a network that does not answer the data's examples; it is put into evaluation mode.

    Raises:
        UsageError: With what it was given, and what it should have answered.
    """
    few = data.train.subset(slice(0, 2))
    shapes = ", ".join(f"{part} {tuple(tensor.shape)}" for part, tensor in few.parts())
    model.eval()
    try:
        with torch.random.fork_rng(devices=[]):
            answers = usual_pick(call(model, mapped(few.inputs, torch.clone)))
    except Exception as error:  # a user's forward may raise anything
        reason = " ".join(str(error).split())
        raise UsageError(
            f"network {name} does not take the examples of {data.name} ({shapes}): {type(error).__name__}: {reason}"
        ) from None
    targets = few.targets
    shape = tuple(answers.shape) if isinstance(answers, Tensor) else type(answers).__name__
    if data.kind == "classes":
        wanted = f"logits of shape (n, {data.n_classes} or more)"
        fits = isinstance(answers, Tensor) and answers.ndim > 1 and answers.shape[1] >= data.n_classes
    else:
        wanted = f"{data.n_outputs} {'logits' if data.kind == 'labels' else 'numbers'} an example"
        fits = isinstance(answers, Tensor) and answers.numel() == targets.numel()
    if not fits:
        raise UsageError(f"network {name} must give {wanted}, got {shape} for {len(few)} examples")
    assert isinstance(answers, Tensor)
    if not bool(answers.isfinite().all()):
        raise UsageError(f"network {name} gives answers that are not finite; give other weights, or scale the inputs")


def epochs_of(training: Adam | Schedule, data: ExampleSet) -> int:
    """Passes over the data by which a network is trained where nothing else is asked for."""
    is_few = len(data.train) < FEW_EXAMPLES
    if isinstance(training, Adam):
        return training.few_epochs if is_few else training.epochs
    return 2 * training.epochs if len(data.train) < 2 * FEW_EXAMPLES else training.epochs


def schedule_of(network: str, n_examples: int) -> Schedule | None:
    """The schedule by which a named network is trained on so many examples; None where it has none."""
    if network in _REFERENCES:
        return default_schedule(_REFERENCES[network], n_examples)
    training = named_network(network).training if is_named(network) else None
    if not isinstance(training, Schedule) or n_examples >= 2 * FEW_EXAMPLES:
        return training if isinstance(training, Schedule) else None
    return dataclasses.replace(training, batch_size=32, epochs=2 * training.epochs)


def _of_today(
    network: str, data: ExampleSet, seed: int, epochs: int | None, precision: Precision, progress: bool
) -> nn.Module | None:
    """A network that tasks have trained and kept on sets of images since before other data; None where it is none."""
    if data.images is None:
        return None
    n = epochs or epochs_of(named_network(network).training, data)
    batch_size = max(10, len(data.train) // 100)
    if (widths := MLP.fullmatch(network)) is not None:
        sizes = tuple(int(width) for width in widths[1].split("-")[1:])
        return trained_parent(
            data.images, widths=sizes, seed=seed, epochs=n, batch_size=min(100, batch_size), progress=progress
        )[0]
    if network == "snowfall":
        return trained_snowfall(data.images, seed=seed, epochs=n, batch_size=min(128, batch_size), progress=progress)[0]
    if network in _REFERENCES:
        schedule = default_schedule(_REFERENCES[network], len(data.images.train))
        if epochs is not None:
            schedule = _of_epochs(schedule, epochs)
        return trained_network(
            data.images, _REFERENCES[network], seed=seed, schedule=schedule, precision=precision, progress=progress
        )[0]
    return None


def _kept(
    model: nn.Module,
    network: str,
    data: ExampleSet,
    seed: int,
    epochs: int | None,
    precision: Precision,
    options: Mapping[str, Any],
    progress: bool,
) -> nn.Module:
    training = named_network(network).training
    asked: dict[str, object] = {
        "version": _VERSION,
        "network": network,
        "options": dict(options),
        "fingerprint": data.fingerprint,
        "targets": data.kind,
        "seed": seed,
        "epochs": epochs or epochs_of(training, data),
        "training": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(training).items()},
        "precision": precision,
    }

    def read(path: Path) -> None:
        if load_metadata(path).get("asked") != asked:
            raise UsageError(f"{path} does not hold the network that its name says")
        load_weights(model, path)

    kept(
        cache_file("networks", cache_key(asked), name=network),
        lambda: _train(model, data, training, epochs, seed, precision, progress),
        read=read,
        encode=lambda _: encode_network(model, metadata={"asked": asked}),
    )
    return model.eval()


def _train(
    model: nn.Module,
    data: ExampleSet,
    training: Adam | Schedule,
    epochs: int | None,
    seed: int,
    precision: Precision,
    progress: bool,
) -> None:
    n = epochs or epochs_of(training, data)
    examples: Examples | Split = data.train if data.images is None else data.images.train
    loss = _mean_of(USUAL_LOSSES[data.kind])
    if isinstance(training, Schedule):
        is_few = len(data.train) < 2 * FEW_EXAMPLES
        schedule = _of_epochs(dataclasses.replace(training, batch_size=32 if is_few else training.batch_size), n)
        train_sgd(model, examples, schedule, seed=seed, loss=loss, precision=precision, progress=progress)
        # as it is when it is read again: another layout gives other last digits
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
        return
    train(
        model,
        examples,
        seed=seed,
        loss=loss,
        epochs=n,
        batch_size=min(training.batch_size, max(10, len(data.train) // 100)),
        lr=training.lr,
        patience=training.patience or n,
        validation=training.validation,
        progress=progress,
    )


def _of_epochs(schedule: Schedule, epochs: int) -> Schedule:
    """The schedule over other epochs; the step size rises over no more than half of them."""
    return dataclasses.replace(schedule, epochs=epochs, warm_up=min(schedule.warm_up, epochs / 2))


def _mean_of(name: str) -> Callable[[Any, Tensor], Tensor]:
    def loss(outputs: Any, targets: Tensor) -> Tensor:
        return LOSSES[name](usual_pick(outputs).float(), targets).mean()

    return loss
