"""The network that a user names on the command line: a function of their own, a checkpoint, or neither."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.problem.loading import load_object
from problems.data.data import Dataset
from problems.networks.architectures.snowfall import Snowfall
from problems.networks.storage.checkpoints import load_weights
from problems.networks.training.training import train
from problems.workloads.parents import trained_snowfall


def build_own_model(target: str, *, seed: int) -> nn.Module:
    """Call the function that `target` names; what it draws for initial weights follows the seed.

    Args:
        target: `package.module:function`; the function takes no arguments and returns an `nn.Module`.
        seed: Of torch's global generator during the call, which is put back behind it.

    Raises:
        UsageError: no such module or function, or it fails or returns something else.
    """
    build = load_object(target, "model")
    try:
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            model = build()
    except (Exception, SystemExit) as error:  # a user's function may fail in any way: the reason is passed on
        raise UsageError(f"model {target} fails: {type(error).__name__}: {error}") from None
    if not isinstance(model, nn.Module):
        raise UsageError(f"model {target} must return a torch.nn.Module, got {type(model).__name__}")
    return model


def network_of_choice(
    dataset: Dataset, *, model: str | None, checkpoint: str | None, seed: int, epochs: int
) -> nn.Module:
    """A user's network or snowfall, its weights read or trained on the train split; in evaluation mode.

    Args:
        dataset: What it is trained on.
        model: `package.module:function` as in `build_own_model`; None for snowfall.
        checkpoint: Safetensors file with the weights; None trains them.
        seed: Of initial weights and training.
        epochs: Of training.

    Raises:
        UsageError: The model or the checkpoint cannot be had, or the data does not fit.
    """
    # A small set needs small batches, or its epochs are too few steps.
    batch_size = min(128, max(10, len(dataset.train) // 100))
    try:
        if model is None and checkpoint is None:
            return trained_snowfall(dataset, seed=seed, epochs=epochs, batch_size=batch_size)[0]
        network = (
            Snowfall(dataset.input_shape, dataset.n_classes, seed=seed)
            if model is None
            else build_own_model(model, seed=seed)
        )
    except UsageError:
        raise
    except ValueError as error:
        raise UsageError(f"data does not fit the network: {error}") from None
    if checkpoint is not None:
        load_weights(network, checkpoint)
    else:
        train(network, dataset.train, seed=seed, epochs=epochs, batch_size=batch_size, lr=0.001, validation=0.0)
    return network.eval()


def check_answers(model: Callable[[Tensor], Any], images: Tensor, n_classes: int) -> None:
    """Refuse a network that does not give finite logits, (n, n_classes or more), for images."""
    with torch.no_grad():
        logits = model(images)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] < n_classes:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise UsageError(f"the network must give logits of shape (n, {n_classes} or more), got {shape}; change --model")
    if not math.isfinite(float(logits.sum())):
        raise UsageError("the network gives logits that are not finite; give another checkpoint")
