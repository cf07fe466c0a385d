"""Gradient steps for solutions of a front: the linear layers alone, on what the first of them gets."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import nn

from problems.data.examples import Examples, ImageExamples
from problems.networks.architectures.fully_connected import FullyConnected
from problems.networks.layers.linear_chain import LinearChain, layers_of
from problems.networks.training.training import train
from problems.similarity.parent_chain import TrainableChain
from problems.workloads.further_training import training_loss
from problems.workloads.workload import BATCH, Workload

_BATCH = 100

Arrays = tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]
"""Weights and biases of all layers."""


def finetuned(workload: Workload, chain: LinearChain, network: nn.Module, *, n_steps: int) -> Arrays:
    """Weights and biases of a network's linear layers after steps of Adam on the workload's loss.

    Args:
        workload: Its train split and loss.
        chain: The parent; what stands before its first layer is not trained.
        network: A smaller form of the parent; left as it is.
        n_steps: Steps on 100 training examples each.
    """
    n = n_steps * _BATCH
    epochs = -(-n // len(workload.train))
    examples = workload.train.subset(slice(0, -(-n // epochs)))
    options = {"seed": 0, "epochs": epochs, "batch_size": _BATCH, "validation": 0.0, "progress": False}
    if type(network) is FullyConnected and isinstance(examples, ImageExamples):
        whole = copy.deepcopy(network).requires_grad_()
        train(whole, examples.split, **options)  # type: ignore[arg-type]
        layers = whole.linear_layers
    else:
        parts = [chain.features(part.inputs, run=workload.answers) for part in examples.batches(BATCH)]
        layers = copy.deepcopy(layers_of(network, chain.names))
        for layer in layers:
            layer.requires_grad_()
        loss = training_loss(workload)
        train(TrainableChain(chain, layers), Examples(torch.cat(parts), examples.targets), loss=loss, **options)  # type: ignore[arg-type]
    weights = tuple(layer.weight.detach().float().numpy().copy() for layer in layers)
    biases = tuple(
        np.zeros(len(w), np.float32) if layer.bias is None else layer.bias.detach().float().numpy().copy()
        for layer, w in zip(layers, weights, strict=True)
    )
    return weights, biases
