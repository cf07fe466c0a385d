"""Training of a workload's network, or of what a search makes of it, by the workload's recipe and loss."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from problems.networks.training.descent import Step, batches, check_finite_loss, descend
from problems.networks.training.randomness import epoch_stream, global_generators_kept, seed_global_generators
from problems.networks.training.training import one_thread
from problems.workloads.recipe import Recipe
from problems.workloads.workload import Workload


def needed_recipe(workload: Workload, option: str) -> Recipe:
    """The workload's recipe, for an option that trains.

    Raises:
        UsageError: It has none.
    """
    if workload.recipe is None:
        raise UsageError(f"{option} trains networks, and the workload has no recipe; give it one: Workload(recipe=...)")
    return workload.recipe


def training_loss(workload: Workload) -> Callable[[Any, Tensor], Tensor]:
    """The workload's loss of what a network returns, as a mean that can be differentiated; raises as `mean_loss`."""
    loss = mean_loss(workload)
    return lambda outputs, targets: loss(workload.picked(outputs), targets)


def mean_loss(workload: Workload) -> Callable[[Tensor, Tensor], Tensor]:
    """The workload's loss of answers that are picked already, as a mean that can be differentiated.

    The function raises UsageError where the loss is no tensor, or does not depend on the answers. A function of the
    user's, which may hold tensors of its own, is called on the processor.
    """
    is_own = callable(workload.loss)

    def loss(answers: Tensor, targets: Tensor) -> Tensor:
        try:
            if is_own:
                answers, targets = answers.cpu(), targets.cpu()
            value = workload.loss_function(answers, targets)
        except UsageError:
            raise
        except Exception as error:  # a user's loss may raise anything
            reason = " ".join(str(error).split())
            raise UsageError(f"loss {workload.loss_name!r} failed: {type(error).__name__}: {reason}") from None
        if not isinstance(value, Tensor) or not value.requires_grad:
            raise UsageError(
                f"loss {workload.loss_name!r} cannot be trained on: it must return a tensor that depends on the outputs"
            )
        return value.mean()

    return loss


def train_by_recipe(
    workload: Workload,
    network: nn.Module,
    *,
    recipe: Recipe,
    seed: int,
    epochs: int | None = None,
    after_step: Callable[[], None] | None = None,
    clip: float | None = None,
) -> list[float]:
    """Train a network in place on the workload's train split, and leave it in evaluation mode.

    Args:
        workload: Its loss and train split.
        network: What is trained: all its parameters of floating point.
        recipe: How.
        seed: Of orders and of everything that the network draws.
        epochs: Passes; None takes the recipe's.
        after_step: Called after each step, as to hold masked weights at zero; after a user's function has trained.
        clip: Largest Euclidean norm of a step's gradient; None for any. A user's function has its own.

    Returns:
        The mean loss of each epoch; none for a user's function, which does not tell.

    Raises:
        UsageError: The loss fails or is not finite, or a user's function fails.
    """
    n_epochs = recipe.epochs if epochs is None else epochs
    was_trained = {name: p.requires_grad for name, p in network.named_parameters()}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    try:
        with one_thread(), global_generators_kept(), torch.enable_grad():
            if recipe.train is not None:
                return _by_own_function(workload, network, recipe.train, n_epochs, seed, after_step)
            return _by_descent(workload, network, recipe, n_epochs, seed, after_step, clip)
    finally:
        network.eval()
        network.zero_grad()
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(was_trained[name])


def _by_descent(
    workload: Workload,
    network: nn.Module,
    recipe: Recipe,
    epochs: int,
    seed: int,
    after_step: Callable[[], None] | None,
    clip: float | None,
) -> list[float]:
    optimiser = _optimiser(recipe, network)
    n = len(workload.train)

    def steps() -> Any:
        for epoch in range(1, epochs + 1):
            seed_global_generators(epoch_stream(seed, epoch))
            order = torch.randperm(n, generator=torch.Generator().manual_seed(epoch_stream(seed, epoch)))
            yield [Step(ids) for ids in batches(order, recipe.batch_size, model=network)]

    losses = []
    loss = training_loss(workload)
    for result in descend(network, workload.train, optimiser, steps(), loss=loss, after_step=after_step, clip=clip):
        check_finite_loss(result.loss)
        losses.append(result.loss)
    return losses


def _optimiser(recipe: Recipe, network: nn.Module) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(network.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    return torch.optim.SGD(
        network.parameters(), lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay
    )


def _by_own_function(
    workload: Workload,
    network: nn.Module,
    function: Callable[..., None],
    epochs: int,
    seed: int,
    after_step: Callable[[], None] | None,
) -> list[float]:
    seed_global_generators(epoch_stream(seed, 0))
    network.train()
    try:
        function(network, workload.train, epochs, seed)
    except UsageError:
        raise
    except Exception as error:  # a user's function may raise anything
        reason = " ".join(str(error).split())
        raise UsageError(f"the recipe's train function fails: {type(error).__name__}: {reason}") from None
    if after_step is not None:
        after_step()
    return []
