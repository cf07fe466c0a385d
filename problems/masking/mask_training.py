"""Training of a masked network: the weights that it begins with, the channels that are cut out, its curve."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import check_choice
from problems.data.data import Dataset, Split
from problems.masking.channels import ChannelSpace
from problems.masking.masked_sgd import Dropped, Trained, train_masked
from problems.masking.space import MaskSpace, with_masks, with_signed_constants
from problems.networks.architectures.initial_weights import draw_weights
from problems.networks.layers.prunable import prunable_layers
from problems.networks.training.descent import Loss, class_loss
from problems.networks.training.schedule import Schedule

Kept = Literal["rewind", "signed", "reshuffle", "reinit"]
"""What kept weights begin with; `BEGINNINGS` makes it."""

State = Mapping[str, Tensor]


def beginning(
    model: nn.Module, state: State, space: MaskSpace, mask: np.ndarray, kept: Kept, *, seed: int
) -> dict[str, Tensor]:
    """The state that a mask's training begins with, dropped weights still in place.

    Args:
        model: Gives the architecture.
        state: Initial weights.
        space: What the mask's places stand for.
        mask: (n,) bool.
        kept: What kept weights begin with: their initial values (rewind), sign times the layer's standard deviation
            (signed), the initial values dealt out anew among the kept places of each layer (reshuffle), or new ones
            (reinit).
        seed: Of `reshuffle` and `reinit`.

    Source: Zhou et al. 2019, arXiv:1905.01067, sec. 4.1.
    """
    return BEGINNINGS[check_choice("kept", kept, BEGINNINGS)](model, state, space, mask, seed)


def _rewound(model: nn.Module, state: State, space: MaskSpace, mask: np.ndarray, seed: int) -> dict[str, Tensor]:
    return dict(state)


def _signed(model: nn.Module, state: State, space: MaskSpace, mask: np.ndarray, seed: int) -> dict[str, Tensor]:
    return with_signed_constants(state, space.names)


def _reinitialised(model: nn.Module, state: State, space: MaskSpace, mask: np.ndarray, seed: int) -> dict[str, Tensor]:
    fresh = copy.deepcopy(model)
    draw_weights(fresh, seed=seed, init="uniform")
    return {n: t.detach() for n, t in fresh.state_dict().items()}


def _reshuffled(model: nn.Module, state: State, space: MaskSpace, mask: np.ndarray, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    weights = {f"{name}.weight" for name in prunable_layers(model)}
    dealt = dict(state)
    for name, places in space.tensors(mask).items():
        if name in weights:
            weight, is_kept = state[name].clone(), torch.tensor(places)
            values = weight[is_kept]
            weight[is_kept] = values[torch.randperm(len(values), generator=generator)]
            dealt[name] = weight
    return dealt


BEGINNINGS: dict[str, Callable[[nn.Module, State, MaskSpace, np.ndarray, int], dict[str, Tensor]]] = {
    "rewind": _rewound,
    "signed": _signed,
    "reshuffle": _reshuffled,
    "reinit": _reinitialised,
}
"""`(model, initial state, space, mask, seed) -> state`, by the name of what kept weights begin with."""


def train_mask(
    model: nn.Module,
    state: State,
    space: MaskSpace,
    mask: np.ndarray,
    dataset: Dataset,
    *,
    schedule: Schedule,
    seed: int,
    kept: Kept = "rewind",
    dropped: Dropped = "zero",
    checkpoint: str | os.PathLike[str] | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> tuple[nn.Module, Trained]:
    """Train what a mask leaves; filters and neurons are cut out first.

    Args:
        model: Gives the architecture; left as it is.
        state: Initial weights.
        space: What the mask's places stand for.
        mask: (n,) bool.
        dataset: Trained on its train split; its test split is watched each epoch.
        schedule: The training.
        seed: Of the training, and of `reshuffle` and `reinit`.
        kept: What kept weights begin with.
        dropped: Zero, or frozen where they are (single weights only).
        checkpoint: File to go on from, as for `train_masked`.
        on_epoch: Called with each row of the curve.

    Returns:
        The trained network and its curve.
    """
    network = copy.deepcopy(model)
    start = beginning(model, state, space, mask, kept, seed=seed)
    watched = {"test": dataset.test}
    masks: dict[str, np.ndarray] | None = None
    if isinstance(space, ChannelSpace):
        network.load_state_dict(with_masks(start, space.tensors(mask)))
        network = space.prune(network, mask)
    else:
        masks = space.tensors(mask)
        network.load_state_dict(start if dropped == "frozen" else with_masks(start, masks))
    trained = train_masked(
        network,
        dataset.train,
        schedule=schedule,
        seed=seed,
        masks=masks,
        dropped=dropped,
        watched=watched,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
    )
    return network, trained


def briefly_trained(
    model: nn.Module,
    state: State,
    masks: Mapping[str, np.ndarray],
    data: Split,
    *,
    steps: int,
    schedule: Schedule,
    seed: int,
    loss: Loss = class_loss,
) -> nn.Module:
    """A masked network after a few steps of training, always the same ones; in evaluation mode.

    Args:
        model: Gives the architecture; left as it is.
        state: Weights that the training begins with.
        masks: Bool masks of parameters by name.
        data: The images of as many batches as there are steps are taken from its beginning.
        steps: Steps.
        schedule: Gives the first step size and the size of a batch.
        seed: Of the order of images.
        loss: As for `train_masked`.
    """
    network = copy.deepcopy(model)
    network.load_state_dict(state)
    n_images = steps * schedule.batch_size
    epochs = -(-n_images // len(data))
    used = data.subset(slice(0, -(-n_images // epochs)))
    short = Schedule(epochs=epochs, lr=schedule.lr, milestones=(), batch_size=schedule.batch_size)
    with torch.enable_grad():
        train_masked(network, used, schedule=short, seed=seed, masks=masks, loss=loss)
    return network
