"""How the networks of a mask search are trained, by a schedule or a workload's recipe; weights on the way are kept."""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.data.data import Dataset
from problems.data.examples import call, mapped
from problems.masking.mask_training import briefly_trained
from problems.masking.masked_sgd import holding_masks, train_masked
from problems.networks.storage.checkpoints import read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.descent import Loss, class_loss
from problems.networks.training.schedule import Schedule
from problems.workloads.further_training import train_by_recipe
from problems.workloads.identity import code_of, update_with_network
from problems.workloads.plain_network import tensors_of, with_tensors
from problems.workloads.workload import Recipe, Workload

# Part of the key of every kept trajectory: raise it when training changes what it makes.
_VERSION = 2

State = dict[str, Tensor]


class TrainingPlan(Protocol):
    """How networks are trained."""

    def about(self) -> dict[str, object]:
        """What names the data and the plan in keys of kept things, as plain values."""

    def states(self, network: nn.Module, epochs: Sequence[int]) -> dict[int, State]:
        """States of a network, left as it is, after some epochs of training, 0 = none; kept on disk."""

    def train(self, network: nn.Module, masks: Mapping[str, np.ndarray], epochs: int) -> None:
        """Train a network in place, its parameters at zero where bool masks say so."""

    def briefly_trained(
        self, network: nn.Module, state: State, masks: Mapping[str, np.ndarray], steps: int
    ) -> nn.Module:
        """A masked network in evaluation mode after a few steps, always the same ones; `network` is left as it is."""


@dataclass(frozen=True)
class ScheduledTraining:
    """SGD on an image data set.

    Args:
        dataset: Its train split is trained on.
        schedule: Of the whole training; rounds of fewer epochs take its step size and batches.
        seed: Of orders and of what networks draw.
        pick: Takes the logits from what a network returns.
    """

    dataset: Dataset
    schedule: Schedule
    seed: int
    pick: Callable[[Any], Tensor] = field(default=lambda outputs: outputs)

    def _loss(self, outputs: Any, labels: Tensor) -> Tensor:
        return class_loss(self.pick(outputs), labels)

    def about(self) -> dict[str, object]:
        """The data, step size, size of a batch and seed."""
        return {"data": self.dataset.fingerprint, "sgd": [self.schedule.lr, self.schedule.batch_size, self.seed]}

    def states(self, network: nn.Module, epochs: Sequence[int]) -> dict[int, State]:
        """States on the way of one training."""
        with _told_in_a_line():
            return trained_states(
                network, self.dataset, epochs=epochs, schedule=self.schedule, seed=self.seed, loss=self._loss
            )

    def train(self, network: nn.Module, masks: Mapping[str, np.ndarray], epochs: int) -> None:
        """Train in thirds."""
        schedule = Schedule.in_thirds(epochs, lr=self.schedule.lr, batch_size=self.schedule.batch_size)
        with _told_in_a_line():
            train_masked(network, self.dataset.train, schedule=schedule, seed=self.seed, masks=masks, loss=self._loss)

    def briefly_trained(
        self, network: nn.Module, state: State, masks: Mapping[str, np.ndarray], steps: int
    ) -> nn.Module:
        """Train at the first step size."""
        train, schedule, seed = self.dataset.train, self.schedule, self.seed
        with _told_in_a_line():
            return briefly_trained(
                network, state, masks, train, steps=steps, schedule=schedule, seed=seed, loss=self._loss
            )


@dataclass(frozen=True)
class RecipeTraining:
    """A workload's own recipe, loss and training examples.

    Args:
        workload: Gives loss and examples.
        recipe: How; None refuses to train.
        seed: Of orders and of what networks draw.
    """

    workload: Workload
    recipe: Recipe | None
    seed: int

    def about(self) -> dict[str, object]:
        """The workload, the recipe and the seed."""
        if self.recipe is None:
            return {"workload": self.workload.fingerprint, "seed": self.seed}
        # by names: `asdict` would copy what a user's function holds
        recipe = {name: value for name, value in vars(self.recipe).items() if name != "train"}
        recipe["train"] = code_of(self.recipe.train)
        return {"workload": self.workload.fingerprint, "recipe": recipe, "seed": self.seed}

    def states(self, network: nn.Module, epochs: Sequence[int]) -> dict[int, State]:
        """States after trainings of so many epochs each."""
        initial = {name: tensor.clone() for name, tensor in tensors_of(network).items()}

        def made(n_epochs: int) -> State:
            trained = copy.deepcopy(network)
            self.train(trained, {}, n_epochs)
            return {name: tensor.clone() for name, tensor in tensors_of(trained).items()}

        def state_after(n_epochs: int) -> State:
            key = {"version": _VERSION, "network": digest_of(network), "epochs": n_epochs, **self.about()}
            file = cache_file("trajectories", cache_key(key), name=self.workload.name)
            read = functools.partial(_read, like=initial)
            return kept(file, lambda: made(n_epochs), read=read, encode=_encode).value

        return {n_epochs: state_after(n_epochs) if n_epochs else initial for n_epochs in sorted(set(epochs))}

    def train(self, network: nn.Module, masks: Mapping[str, np.ndarray], epochs: int) -> None:
        """Train by the recipe."""
        self._train(self.workload, network, masks, epochs)

    def briefly_trained(
        self, network: nn.Module, state: State, masks: Mapping[str, np.ndarray], steps: int
    ) -> nn.Module:
        """Train on as many batches from the beginning of the training examples as there are steps.

        Raises:
            UsageError: The recipe is a function of the user's, which has no steps.
        """
        assert self.recipe is not None
        examples = self.workload.train
        n = steps * self.recipe.batch_size
        epochs = -(-n // len(examples))
        short = copy.copy(self.workload)
        short.train = examples.subset(slice(0, -(-n // epochs)))
        trained = with_tensors(network, state)
        self._train(short, trained, masks, epochs)
        return trained

    def _train(self, workload: Workload, network: nn.Module, masks: Mapping[str, np.ndarray], epochs: int) -> None:
        assert self.recipe is not None, "options that train ask for a recipe first"
        hold: Callable[[], None] = holding_masks(dict(network.named_parameters()), masks)
        hold()
        with _told_in_a_line():
            train_by_recipe(workload, network, recipe=self.recipe, seed=self.seed, epochs=epochs, after_step=hold)


@contextmanager
def _told_in_a_line() -> Iterator[None]:
    """Training of a user's network may fail in any way, as where `forward` changes what its gradient needs."""
    try:
        yield
    except UsageError:
        raise
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"the network cannot be trained: {reason}; give options without training") from None


def digest_of(model: nn.Module) -> str:
    """Hex digest of a network's code, options, names, shapes and values."""
    digest = hashlib.sha256()
    update_with_network(digest, model)
    return digest.hexdigest()


def trained_states(
    model: nn.Module,
    dataset: Dataset,
    *,
    epochs: Sequence[int],
    schedule: Schedule,
    seed: int,
    loss: Loss = class_loss,
) -> dict[int, State]:
    """State dicts of a network after some epochs of one training, from the cache where they are.

    Args:
        model: At its initial weights; left as it is.
        dataset: Its train split is trained on.
        epochs: Epochs wanted, 0 = initial; none beyond the schedule's.
        schedule: The whole training; epochs before its end are states on the way.
        seed: Of the training.
        loss: As for `train_masked`.
    """
    wanted = tuple(sorted({int(e) for e in epochs}))
    if wanted and (wanted[0] < 0 or wanted[-1] > schedule.epochs):
        raise ValueError(f"epochs must lie from 0 to the schedule's {schedule.epochs}, got {list(wanted)}.")
    initial = {name: tensor.clone() for name, tensor in tensors_of(model).items()}
    if wanted in ((), (0,)):
        return dict.fromkeys(wanted, initial)
    made_by = {
        "version": _VERSION,
        "data": dataset.fingerprint,
        "initial": digest_of(model),
        "answers": _answers_digest(model, dataset),
        "schedule": asdict(schedule),
        "seed": seed,
    }
    key = cache_key(made_by)

    @functools.cache  # one training gives the states of all epochs that are not kept
    def trajectory() -> dict[int, State]:
        network = copy.deepcopy(model)
        return train_masked(network, dataset.train, schedule=schedule, seed=seed, keep_epochs=wanted, loss=loss).states

    def state_after(epoch: int) -> State:
        file = cache_file("trajectories", f"{key}-{epoch}", name=dataset.name)
        make = lambda: trajectory()[epoch]  # noqa: E731 - as short as its use
        return kept(file, make, read=lambda path: _read(path, initial), encode=_encode).value

    return {epoch: state_after(epoch) if epoch else initial for epoch in wanted}


def _answers_digest(model: nn.Module, dataset: Dataset) -> str:
    """Digest of a network's answers: code beyond its classes changes them too."""
    few = dataset.train.subset(slice(0, 8))
    digest = hashlib.sha256()
    with torch.no_grad():
        answers = call(copy.deepcopy(model).eval(), mapped(few.images, Tensor.clone))
    if isinstance(answers, Tensor):  # rounding differs between machines
        digest.update(repr([f"{value:.3g}" for value in answers.double().flatten().tolist()]).encode())
    return digest.hexdigest()


def _encode(state: State) -> bytes:
    return safetensors.torch.save({name: tensor.contiguous().clone() for name, tensor in state.items()})


def _read(file: Path, like: State) -> State:
    state, _ = read_safetensors(file)
    if {k: t.shape for k, t in state.items()} != {k: t.shape for k, t in like.items()}:
        raise UsageError(f"{file} holds another network's weights")
    return state
