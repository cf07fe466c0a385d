"""The int8 network whose weights are computed: LeNet-5, MobileNetV2, a user's own, or that of a user's workload."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import torch
from torch import nn

from opt.console.errors import UsageError
from opt.console.parameters import checked
from opt.console.ranges import Epochs, Range
from problems.data.data import Dataset
from problems.data.examples import ImageExamples
from problems.networks.architectures.mobilenet import MobileNetV2
from problems.networks.architectures.valid_lenet5 import ValidLeNet5
from problems.networks.evaluation.classification import classification
from problems.networks.layers.compressible import Compressible, compressible_layers
from problems.networks.layers.prunable import prunable_layers
from problems.networks.layers.quantised import Int8Weight, int8_weights, put_back, train_quantised
from problems.networks.storage.checkpoints import as_numpy, load_weights
from problems.workloads.own_network import build_own_model, check_answers
from problems.workloads.parents import trained_mobilenet, trained_valid_lenet5
from problems.workloads.plain_network import tensors_of
from problems.workloads.workload import Workload

NetworkName = Literal["lenet5", "mobilenetv2"]
Width = Annotated[float, Range(0.0, 4.0, is_above=True)]

DEFAULT_EPOCHS = {"lenet5": 20, "mobilenetv2": 5, "own": 5}


@checked
def int8_network(
    dataset: Dataset,
    *,
    network: NetworkName = "lenet5",
    width: Width = 0.25,
    model: str | None = None,
    checkpoint: str | None = None,
    seed: int = 0,
    epochs: Epochs | None = None,
) -> nn.Module:
    """A trained network whose convolutions and linear layers have int8 weights; in evaluation mode, without gradients.

    Args:
        dataset: What it is trained on.
        network: Which of ours, where no model is given.
        width: Of MobileNetV2.
        model: `package.module:function` of a user's own network.
        checkpoint: Safetensors file with the weights, rounded to int8 as they are; None trains quantisation-aware.
        seed: Of initial weights and training.
        epochs: Of training; None takes `DEFAULT_EPOCHS`, thrice as many where there are fewer than 5,000 images.

    Raises:
        UsageError: The network or the checkpoint cannot be had, or does not fit the data.
    """
    # A small set needs small batches, or its epochs are too few steps.
    batch_size = min(100, max(10, len(dataset.train) // 100))
    n_epochs = epochs or DEFAULT_EPOCHS["own" if model else network] * (1 if len(dataset.train) >= 5000 else 3)
    built: nn.Module
    if model is not None:
        built = build_own_model(model, seed=seed)
        if checkpoint is None:
            check_answers(built.eval(), dataset.train.subset(slice(0, 2)).images, dataset.n_classes)
            train_quantised(built, dataset.train, seed=seed, epochs=n_epochs, batch_size=batch_size)
    elif checkpoint is not None:
        built = (
            ValidLeNet5(dataset.input_shape, dataset.n_classes, seed=seed)
            if network == "lenet5"
            else MobileNetV2(dataset.input_shape, dataset.n_classes, width=width, seed=seed)
        )
    elif network == "lenet5":
        built = trained_valid_lenet5(dataset, seed=seed, epochs=n_epochs, batch_size=batch_size)[0]
    else:
        built = trained_mobilenet(dataset, width=width, seed=seed, epochs=n_epochs, batch_size=batch_size)[0]
    if checkpoint is not None:
        load_weights(built, checkpoint)
    if not prunable_layers(built):
        raise UsageError("the network has no convolution and no linear layer; give another model")
    check_answers(built.eval(), dataset.train.subset(slice(0, 2)).images, dataset.n_classes)
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
