"""Networks by name, trained once for a data set and kept: LeNet-5, ResNet-20, a small VGG."""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from torch import nn

from opt.console.errors import check_choice
from problems.data.data import Dataset
from problems.data.preparation import channel_statistics
from problems.networks.architectures.padded_lenet5 import PaddedLeNet5
from problems.networks.architectures.resnet import ResNet
from problems.networks.architectures.vgg import SmallVGG
from problems.networks.storage.checkpoints import save_network
from problems.networks.training.descent import Precision
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.workloads.parents import kept_network

NetworkName = Literal["lenet5", "resnet20", "vgg"]

NETWORKS: dict[str, Callable[..., nn.Module]] = {"lenet5": PaddedLeNet5, "resnet20": ResNet, "vgg": SmallVGG}
"""Classes by the name on the command line."""

SCHEDULES: dict[str, Schedule] = {
    "lenet5": Schedule(epochs=8, lr=0.05, batch_size=64, weight_decay=5e-4, warm_up=0.5, decay="linear"),
    "resnet20": Schedule(epochs=5, lr=0.2, batch_size=128, weight_decay=5e-4, warm_up=1.0, decay="linear"),
    "vgg": Schedule(epochs=4, lr=0.1, batch_size=128, weight_decay=5e-4, warm_up=1.0, decay="linear"),
}
"""Trainings short enough for one core, on sets of 50,000 images: 1, 4 and 8 minutes."""

# Part of the key of every cached network: raise it when training changes what it makes.
_VERSION = 1


def build_network(name: str, dataset: Dataset, *, seed: int = 0) -> nn.Module:
    """An untrained network for a data set.

    Args:
        name: One of `NETWORKS`.
        dataset: Gives the shape of the images, their statistics and the number of classes.
        seed: Of the initial weights.

    Raises:
        UsageError: Unknown name.
    """
    build = NETWORKS[check_choice("network", name, NETWORKS)]
    mean, std = channel_statistics(dataset)
    return build(dataset.input_shape, dataset.n_classes, mean=mean, std=std, seed=seed)


def default_schedule(name: str, n_images: int) -> Schedule:
    """The schedule of `SCHEDULES`, with smaller batches and more epochs where there are few training images."""
    schedule = SCHEDULES[name]
    if n_images >= 10_000:
        return schedule
    return dataclasses.replace(schedule, batch_size=32, epochs=2 * schedule.epochs)


def trained_network(
    dataset: Dataset,
    name: str,
    *,
    seed: int = 0,
    schedule: Schedule | None = None,
    precision: Precision = "float32",
    augment: bool = False,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
    keep_epochs: str | os.PathLike[str] | None = None,
) -> tuple[nn.Module, dict[str, object]]:
    """A network trained on the train split, from the cache if the same one was trained before.

    Args:
        dataset: Its train split is trained on.
        name: One of `NETWORKS`.
        seed: Of the initial weights and of the training.
        schedule: As in `train_sgd`; None takes `default_schedule`.
        precision: As in `train_sgd`.
        augment: As in `train_sgd`.
        cache_dir: As in `trained_parent`.
        progress: As in `train_sgd`.
        keep_epochs: Folder for the weights after each epoch, `epoch-N.safetensors`, to rewind to; only written when
            the network is trained, not when it comes from the cache.

    Returns:
        The network in evaluation mode and its info, as `trained_parent`.

    Raises:
        UsageError: Unknown name.
    """
    used = schedule or default_schedule(name, len(dataset.train))
    asked: dict[str, object] = {
        "version": _VERSION,
        "network": name,
        "fingerprint": dataset.fingerprint,
        "seed": seed,
        "schedule": {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(used).items()},
        "precision": precision,
        "augment": augment,
    }

    def fit(model: nn.Module) -> dict[str, object]:
        save = None if keep_epochs is None else functools.partial(_save_epoch, model, Path(keep_epochs))
        history = train_sgd(
            model,
            dataset.train,
            used,
            seed=seed,
            precision=precision,
            augment=augment,
            progress=progress,
            after_epoch=save,
        )
        return {"n_epochs": len(history), "train_loss": history[-1].train_loss}

    build = functools.partial(build_network, name, dataset, seed=seed)
    return kept_network(dataset, asked, build, cache_dir=cache_dir, progress=progress, fit=fit)


def _save_epoch(model: nn.Module, folder: Path, number: int) -> None:
    save_network(model, folder / f"epoch-{number}.safetensors", metadata={"epoch": number})
