"""The int8 network whose weights are computed: of a name, a user's own, or that of a user's workload."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import nn

from opt.console.errors import UsageError
from opt.console.parameters import checked
from opt.console.ranges import Epochs, Range
from problems.data.examples import ImageExamples
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.named_networks import build_network
from problems.networks.evaluation.classification import classification
from problems.networks.layers.compressible import Compressible, compressible_layers
from problems.networks.layers.prunable import prunable_layers
from problems.networks.layers.quantised import Int8Weight, int8_weights, put_back, train_quantised
from problems.networks.storage.checkpoints import as_numpy, load_weights
from problems.workloads.parents import trained_mobilenet, trained_valid_lenet5
from problems.workloads.plain_network import tensors_of
from problems.workloads.trained_networks import check_fits
from problems.workloads.workload import Workload

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


@dataclass(frozen=True)
class Int8Layers:
    """A workload whose network has int8 weights in every layer that can have them.

    Args:
        workload: With the rounded network.
        weights: The layers' int8 weights by name, in the order of the modules.
        compressible: Which layers these are, and why others are not.
        notes: What a user should know of the rounding.
    """

    workload: Workload
    weights: dict[str, Int8Weight]
    compressible: Compressible
    notes: list[str]


def int8_layers(workload: Workload) -> Int8Layers:
    """Round a workload's network to int8, layer by layer and channel by channel; the workload is left as it is.

    Raises:
        UsageError: It has no layer that can be rounded: with what is left out, and why.
    """
    network = copy.deepcopy(workload.network)
    with workload.undisturbed(network):
        found = compressible_layers(network, workload.example)
    layers, left_out = dict(found.layers), dict(found.left_out)
    for name, layer in found.layers.items():
        if layer.weight.dtype not in (torch.float32, torch.float64):
            left_out[name] = f"its weight is of {str(layer.weight.dtype).removeprefix('torch.')}"
        elif not bool(layer.weight.isfinite().all()):
            left_out[name] = "its weight is not finite"
    layers = {name: layer for name, layer in layers.items() if name not in left_out}
    n = sum(p.numel() for p in network.parameters())
    share = sum(layer.weight.numel() for layer in layers.values()) / n if n else 0.0
    compressible = Compressible(layers, left_out, share)
    compressible.check()
    weights = {name: Int8Weight.of(layer.weight) for name, layer in layers.items()}
    put_back(network, weights, {})
    rounded = copy.copy(workload)
    rounded.network = network.requires_grad_(False)
    return Int8Layers(rounded, weights, compressible, _rounding(workload, rounded))


def _rounding(workload: Workload, rounded: Workload) -> list[str]:
    """What the rounding does to the first measure; nothing to say where it does nothing."""
    before, after = (work.judge(work.network, work.search) for work in (workload, rounded))
    if before == after:
        return []
    name = "loss" if workload.metric is None else workload.metric.name
    return [f"weights were rounded to int8: {name} {after[name]:.4g} on the search split, {before[name]:.4g} before"]


def measured(workload: Workload, network: nn.Module) -> dict[str, float]:
    """Loss and metrics of a network on the test split; of an image data set the accuracy, top-5 accuracy and loss."""
    if isinstance(workload.test, ImageExamples):
        return classification(network, workload.test.inputs, workload.test.targets)._asdict()
    return workload.judge(network, workload.test)


def with_codes(model: nn.Module, weights: Mapping[str, Int8Weight], codes: Mapping[str, np.ndarray]) -> nn.Module:
    """A copy of a network with computed weights in their places, in evaluation mode.

    Args:
        model: The int8 network.
        weights: Its int8 weights by layer, whose scales stay.
        codes: int8 codes of the layers that are computed, by layer; the others stay as trained.
    """
    compressed = copy.deepcopy(model)
    put_back(compressed, weights, codes)
    compressed.eval()  # a user's `eval` may return nothing
    return compressed


def state_arrays(model: nn.Module) -> dict[str, np.ndarray]:
    """A network's state as arrays, by name."""
    return {name: as_numpy(tensor) for name, tensor in tensors_of(model).items()}
