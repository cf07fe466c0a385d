"""Recipe: how a workload's network is trained further."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from opt.console.errors import check_choice
from opt.console.ranges import Range
from problems.data.examples import Examples


@dataclass(frozen=True)
class Recipe:
    """How a network is trained further.

    Args:
        epochs: Passes over the training examples.
        lr: Learning rate at the beginning.
        batch_size: Examples a step; a last batch of one joins the one before.
        optimiser: "adam" or "sgd".
        momentum: Of sgd.
        weight_decay: L2 decay of weights.
        train: A function of the user's, `(network, examples, epochs, seed) -> None`, in place of all this.
    """

    epochs: int = 5
    lr: float = 0.001
    batch_size: int = 100
    optimiser: str = "adam"
    momentum: float = 0.9
    weight_decay: float = 0.0
    train: Callable[[nn.Module, Examples, int, int], None] | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            Range(1, 10**9).check(f"recipe's {name}", getattr(self, name))
        Range(0, is_above=True).check("recipe's lr", self.lr)
        check_choice("recipe's optimiser", self.optimiser, ("adam", "sgd"))
        for name in ("momentum", "weight_decay"):
            Range(0).check(f"recipe's {name}", getattr(self, name))
