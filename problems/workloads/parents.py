"""Trained parent networks, trained once and kept."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from torch import nn

from opt.console.errors import UsageError
from problems.data.data import Dataset, Split
from problems.networks.architectures.fully_connected import FullyConnected
from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.architectures.snowfall import Snowfall
from problems.networks.architectures.valid_lenet5 import ValidLeNet5
from problems.networks.layers.quantised import train_quantised
from problems.networks.storage.checkpoints import encode_network, load_metadata, load_weights
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.training import History, evaluate, train

Network = TypeVar("Network", bound=nn.Module)

# Part of the key of every cached parent: raise it when training changes what it makes.
_VERSION = 2


def trained_parent(
    dataset: Dataset,
    *,
    widths: Sequence[int] = (256, 256),
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    patience: int = 3,
    validation: float = 0.1,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[FullyConnected, dict[str, object]]:
    """A fully connected network trained on the train split, from the cache if the same one was trained before.

    Args:
        dataset: Its train split is trained on.
        widths: Neurons of each hidden layer.
        seed: Of the initial weights and of the training.
        epochs: As in `train`.
        batch_size: As in `train`.
        lr: As in `train`.
        patience: As in `train`.
        validation: As in `train`.
        cache_dir: Folder of trained parents; None takes `parents` in the cache folder
            (`$OPT_CACHE_DIR`, else ~/.cache/opt-compress).
        progress: As in `train`.

    Returns:
        The network, and its info: `key`, `path`, `from_cache`, `accuracy` and `loss` on the search split,
        `n_epochs`, `best_epoch`, and `asked` with everything that made it. A cache that can't be written
        costs a training the next time and is told in `info["path"]` as None; a damaged cached file is trained anew.

    Raises:
        ValueError: an option out of range.
    """
    asked: dict[str, object] = {
        "version": _VERSION,
        "fingerprint": dataset.fingerprint,
        "widths": [dataset.n_inputs, *(int(w) for w in widths), dataset.n_classes],
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": patience,
        "validation": validation,
    }
    widths = (dataset.n_inputs, *widths, dataset.n_classes)
    build = functools.partial(FullyConnected, widths, seed=seed)
    return kept_network(dataset, asked, build, cache_dir=cache_dir, progress=progress)


def trained_snowfall(
    dataset: Dataset,
    *,
    seed: int = 0,
    epochs: int = 5,
    batch_size: int = 128,
    lr: float = 0.005,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[Snowfall, dict[str, object]]:
    """The published convolutional network trained on the train split, kept like `trained_parent`'s.

    All epochs are trained and the last one counts, as published: there is no validation part.

    Args:
        dataset: Its train split is trained on.
        seed: Of the initial weights and of the training.
        epochs: As in `train`.
        batch_size: As in `train`.
        lr: As in `train`.
        cache_dir: As in `trained_parent`.
        progress: As in `train`.

    Returns:
        The network and its info, as `trained_parent`.

    Raises:
        ValueError: an option out of range, or images too small.
    """
    asked: dict[str, object] = {
        "version": _VERSION,
        "network": "snowfall",
        "fingerprint": dataset.fingerprint,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": epochs,
        "validation": 0.0,
    }
    shape, n_classes = dataset.input_shape, dataset.n_classes
    make = functools.partial(Snowfall, shape, n_classes, seed=seed)
    return kept_network(dataset, asked, make, cache_dir=cache_dir, progress=progress)


def trained_valid_lenet5(
    dataset: Dataset,
    *,
    seed: int = 0,
    epochs: int = 10,
    batch_size: int = 100,
    lr: float = 1e-3,
    validation: float = 0.1,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[ValidLeNet5, dict[str, object]]:
    """LeNet-5 trained quantisation-aware on the train split, kept like `trained_parent`'s.

    Args:
        dataset: Its train split is trained on.
        seed: Of the initial weights and of the training.
        epochs: As in `train_quantised`.
        batch_size: As in `train_quantised`.
        lr: As in `train_quantised`.
        validation: As in `train_quantised`.
        cache_dir: As in `trained_parent`.
        progress: As in `train_quantised`.

    Returns:
        The network, its weights on the int8 grid, and its info, as `trained_parent`.

    Raises:
        ValueError: an option out of range.
    """
    asked = _asked("lenet5-int8", dataset, seed, epochs, batch_size, lr, validation)
    shape, n_classes = dataset.input_shape, dataset.n_classes
    build = functools.partial(ValidLeNet5, shape, n_classes, seed=seed)
    fit = functools.partial(_fit, train_quantised, dataset.train, asked, progress)
    return kept_network(dataset, asked, build, cache_dir=cache_dir, progress=progress, fit=fit)


def trained_mobilenet(
    dataset: Dataset,
    *,
    width: float = 0.25,
    seed: int = 0,
    epochs: int = 2,
    batch_size: int = 100,
    lr: float = 2e-3,
    validation: float = 0.02,
    n_images: int | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    progress: bool = True,
) -> tuple[MobileNetV2, dict[str, object]]:
    """MobileNetV2 trained quantisation-aware on the train split, kept like `trained_parent`'s.

    Args:
        dataset: Its train split is trained on.
        width: Multiplier of the channels.
        seed: Of the initial weights and of the training.
        epochs: As in `train_quantised`.
        batch_size: As in `train_quantised`.
        lr: As in `train_quantised`.
        validation: As in `train_quantised`.
        n_images: Training images used, the first ones of the split; None for all.
        cache_dir: As in `trained_parent`.
        progress: As in `train_quantised`.

    Returns:
        The network, its weights on the int8 grid, and its info, as `trained_parent`.

    Raises:
        ValueError: an option out of range.
    """
    asked = _asked("mobilenetv2-int8", dataset, seed, epochs, batch_size, lr, validation)
    asked |= {"width": width, "n_images": n_images}
    shape, n_classes = dataset.input_shape, dataset.n_classes
    build = functools.partial(MobileNetV2, shape, n_classes, width=width, seed=seed)
    images = dataset.train if n_images is None else dataset.train.subset(slice(0, n_images))
    fit = functools.partial(_fit, train_quantised, images, asked, progress)
    return kept_network(dataset, asked, build, cache_dir=cache_dir, progress=progress, fit=fit)


def _asked(
    network: str, dataset: Dataset, seed: int, epochs: int, batch_size: int, lr: float, validation: float
) -> dict[str, object]:
    """What makes a network that is trained to the end or to its epoch of lowest validation loss."""
    return {
        "version": _VERSION,
        "network": network,
        "fingerprint": dataset.fingerprint,
        "seed": seed,
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "patience": epochs,
        "validation": validation,
    }


def kept_network(
    dataset: Dataset,
    asked: dict[str, object],
    build: Callable[[], Network],
    *,
    cache_dir: str | os.PathLike[str] | None,
    progress: bool,
    fit: Callable[[Network], dict[str, object]] | None = None,
) -> tuple[Network, dict[str, object]]:
    """The network that `asked` describes, read from the cache or built and trained.

    Args:
        dataset: Its train split is trained on.
        asked: Everything that makes the network, plain values; the cache's key.
        build: Makes the network before training.
        cache_dir: As in `trained_parent`.
        progress: As in `train`.
        fit: Trains the network in place and tells about it; None takes `train` with the options in `asked`.

    Returns:
        The network and its info, as `trained_parent`.
    """
    key = cache_key(asked)
    file = cache_file("parents", key, name=dataset.name, folder=cache_dir)
    model = build()

    def make() -> dict[str, object]:
        told = _fit(train, dataset.train, asked, progress, model) if fit is None else fit(model)
        loss, accuracy = evaluate(model, dataset.search.images, dataset.search.labels)
        return {"key": key, "asked": asked, "accuracy": accuracy, "loss": loss, **told}

    def read(path: Path) -> dict[str, object]:
        info = load_metadata(path)
        if info.get("asked") != asked:
            raise UsageError(f"{path} does not hold the network that its name says")
        load_weights(model, path)
        model.eval()
        return info

    info = kept(file, make, read=read, encode=lambda info: encode_network(model, metadata=info))
    path = None if info.path is None else str(info.path)
    return model, {**info.value, "path": path, "from_cache": info.is_read}


def _fit(
    fit: Callable[..., History], images: Split, asked: dict[str, object], progress: bool, model: nn.Module
) -> dict[str, object]:
    """Train with the options in `asked`; what is told about it."""
    options: dict[str, Any] = {k: asked[k] for k in ("seed", "epochs", "batch_size", "lr", "patience", "validation")}
    history = fit(model, images, progress=progress, **options)
    return {"n_epochs": len(history.epochs), "best_epoch": history.best}
