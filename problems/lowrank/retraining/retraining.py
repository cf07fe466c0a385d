"""Compressed networks trained further: to the end of the original's schedule, or by a workload's recipe."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor, nn

from problems.data.data import Split
from problems.lowrank.composed import to_composed, to_pairs
from problems.lowrank.decomposed_network import Decomposition
from problems.networks.training.descent import Precision
from problems.networks.training.schedule import Schedule
from problems.networks.training.sgd import train_sgd
from problems.workloads.further_training import train_by_recipe
from problems.workloads.workload import Recipe, Workload

OWN_SCHEDULE = Schedule(epochs=20, lr=0.05, batch_size=64, weight_decay=5e-4, decay="linear")
"""What a network of a user's own is taken to have been trained with, when the end of a schedule is asked for."""

# gradients of networks compressed to a tenth may be a hundred times those that the step sizes are for
_CLIP = 5.0


class Retrained:
    """A decomposed network after retraining, in two forms.

    Args:
        dense: Its factors multiplied before they are applied; quick to evaluate.
        original: The network that was decomposed.
    """

    def __init__(self, dense: nn.Module, original: nn.Module) -> None:
        self.dense, self.original = dense, original

    def materialise(self) -> nn.Module:
        """The network of ordinary layers, two in place of each decomposed one, in evaluation mode."""
        return to_pairs(self.dense, self.original)


@dataclasses.dataclass(frozen=True)
class FurtherTraining:
    """Training of what is made from a network.

    Args:
        original: The network.
    """

    original: nn.Module

    def decomposed(self, decomposition: Decomposition) -> Retrained:
        """A decomposition with its factors trained; the one given stays as it is."""
        model = to_composed(decomposition.materialise(), self.original)
        self._train(model, {})
        model.eval()
        return Retrained(model.requires_grad_(False), self.original)

    def pruned(self, model: nn.Module) -> nn.Module:
        """A copy of a pruned network with the rest of its weights trained; what pruning made zero stays zero."""
        model = copy.deepcopy(model).requires_grad_(True)
        before = dict(self.original.named_parameters())
        gone = {
            name: (parameter.detach() == 0) & (before[name].detach() != 0)
            for name, parameter in model.named_parameters()
        }
        self._train(model, {name: mask for name, mask in gone.items() if bool(mask.any())})
        model.eval()
        return model.requires_grad_(False)

    def _train(self, model: nn.Module, gone: dict[str, Tensor]) -> None:
        """Train in place; weights that are gone, by the masks of their tensors, stay zero."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Retraining(FurtherTraining):
    """The end of the schedule that the original was trained with.

    Args:
        original: The network that they are made from.
        data: Images and labels to train on.
        schedule: The training schedule.
        start_epoch: Point of it that retraining begins at; its end trains nothing.
        seed: Of the order of the images.
        precision: As in `train_sgd`.
        augment: As in `train_sgd`.

    Source: Renda et al. 2020, arXiv:2003.02389 ("learning-rate rewinding").
    """

    data: Split
    schedule: Schedule
    start_epoch: float
    seed: int
    precision: Precision = "float32"
    augment: bool = False

    def _train(self, model: nn.Module, gone: dict[str, Tensor]) -> None:
        if self.start_epoch >= self.schedule.epochs:
            return
        train_sgd(
            model,
            self.data,
            self.schedule,
            seed=self.seed,
            start_epoch=self.start_epoch,
            precision=self.precision,
            augment=self.augment,
            after_step=_holding(model, gone),
            clip=_CLIP,
        )


@dataclasses.dataclass(frozen=True)
class RetrainingByRecipe(FurtherTraining):
    """Some epochs by a workload's own recipe and loss.

    Args:
        original: The network that they are made from.
        workload: Its loss and training examples.
        recipe: How.
        epochs: Passes.
        seed: Of orders and of what networks draw.
        n_examples: Training examples, the first of them; None for all.
    """

    workload: Workload
    recipe: Recipe
    epochs: int
    seed: int
    n_examples: int | None = None

    def _train(self, model: nn.Module, gone: dict[str, Tensor]) -> None:
        work = copy.copy(self.workload)
        work.train = work.train.subset(slice(0, self.n_examples))
        train_by_recipe(
            work,
            model,
            recipe=self.recipe,
            seed=self.seed,
            epochs=self.epochs,
            after_step=_holding(model, gone),
            clip=_CLIP,
        )


def _holding(model: nn.Module, gone: dict[str, Tensor]) -> Callable[[], None] | None:
    """What keeps pruned weights at zero after a step; None where nothing is pruned."""
    parameters = dict(model.named_parameters())

    def hold() -> None:
        with torch.no_grad():
            for name, mask in gone.items():
                parameters[name][mask] = 0.0

    return hold if gone else None
