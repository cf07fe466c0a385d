"""The int8 network whose weights are computed: LeNet-5, MobileNetV2, any other of a name, or a user's own."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated

import numpy as np
from torch import nn

from opt.console.errors import UsageError
from opt.console.parameters import checked
from opt.console.ranges import Epochs, Range
from problems.data.sets.example_set import ExampleSet
from problems.networks.layers.prunable import prunable_layers
from problems.networks.layers.quantised import Int8Weight, int8_weights, put_back, train_quantised
from problems.networks.storage.checkpoints import load_weights
from problems.workloads.named_networks import build_network
from problems.workloads.parents import trained_mobilenet, trained_valid_lenet5
from problems.workloads.trained_networks import check_fits

Width = Annotated[float, Range(0.0, 4.0, is_above=True)]

DEFAULT_EPOCHS = {"lenet-5-valid": 20}
"""Epochs of quantisation-aware training; other networks have `OTHER_EPOCHS`."""
OTHER_EPOCHS = 5


@checked
def int8_network(
    data: ExampleSet,
    *,
    network: str = "lenet-5-valid",
    width: Width | None = None,
    checkpoint: str | None = None,
    seed: int = 0,
    epochs: Epochs | None = None,
) -> nn.Module:
    """A trained network whose convolutions and linear layers have int8 weights; in evaluation mode, without gradients.

    Args:
        data: What it is trained on: images with classes.
        network: As in `build_network`.
        width: Of MobileNetV2.
        checkpoint: File with the weights, rounded to int8 as they are; None trains quantisation-aware.
        seed: Of initial weights and training.
        epochs: Of training; None takes `DEFAULT_EPOCHS`, thrice as many where there are fewer than 5,000 images.

    Raises:
        UsageError: The network or the checkpoint cannot be had, or does not fit the data.
    """
    images = data.as_images()
    # A small set needs small batches, or its epochs are too few steps.
    batch_size = min(100, max(10, len(images.train) // 100))
    n_epochs = epochs or DEFAULT_EPOCHS.get(network, OTHER_EPOCHS) * (1 if len(images.train) >= 5000 else 3)
    built = build_network(network, data, seed=seed, width=width)
    if checkpoint is not None:
        load_weights(built, checkpoint)
    if not prunable_layers(built):
        raise UsageError("the network has no convolution and no linear layer; give another --problem.network")
    check_fits(built, data, network)
    if checkpoint is None:
        if network == "lenet-5-valid":
            built = trained_valid_lenet5(images, seed=seed, epochs=n_epochs, batch_size=batch_size)[0]
        elif network == "mobilenet-v2":
            wide = 0.25 if width is None else width
            built = trained_mobilenet(images, width=wide, seed=seed, epochs=n_epochs, batch_size=batch_size)[0]
        else:
            train_quantised(built, images.train, seed=seed, epochs=n_epochs, batch_size=batch_size)
    # weights are on the grid already where we trained; rounding them again changes nothing
    put_back(built, int8_weights(built), {})
    return built.requires_grad_(False).eval()


def with_codes(model: nn.Module, weights: Mapping[str, Int8Weight], codes: Mapping[str, np.ndarray]) -> nn.Module:
    """A copy of a network with computed weights in their places, in evaluation mode.

    Args:
        model: The int8 network.
        weights: Its int8 weights by layer, whose scales stay.
        codes: int8 codes of the layers that are computed, by layer; the others stay as trained.
    """
    compressed = copy.deepcopy(model)
    put_back(compressed, weights, codes)
    return compressed.eval()


def state_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """A network's state as arrays, by name."""
    return {name: tensor.numpy() for name, tensor in model.state_dict().items()}
