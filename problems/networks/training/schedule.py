"""How long a network is trained by SGD, and with which step size at each point of the training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from opt.console.ranges import Range


@dataclass(frozen=True)
class Schedule:
    """Epochs of SGD with momentum, and the step size at each point of them.

    Args:
        epochs: Passes over the data.
        lr: Step size after the warm-up.
        batch_size: Images a step.
        momentum: Of SGD.
        weight_decay: Of SGD, on every parameter.
        warm_up: Epochs over which the step size rises from 0.
        milestones: Epochs after which the step size is multiplied by `factor`.
        factor: What a milestone does to the step size.
        decay: "steps" keeps the step size between milestones; "linear" lets it fall to 0 at the end.
    """

    epochs: int
    lr: float = 0.1
    batch_size: int = 128
    momentum: float = 0.9
    weight_decay: float = 1e-4
    warm_up: float = 0.0
    milestones: tuple[float, ...] = ()
    factor: float = 0.1
    decay: Literal["steps", "linear"] = "steps"

    def __post_init__(self) -> None:
        for name in ("epochs", "lr", "factor", "batch_size"):
            Range(0, is_above=True).check(name, getattr(self, name))

    @classmethod
    def in_thirds(cls, epochs: int, **options: Any) -> Schedule:
        """The step size falls after a third and after two thirds: with 90 epochs the thesis's, of pruning masks."""
        return cls(epochs=epochs, milestones=(round(epochs / 3), round(2 * epochs / 3)), **options)

    def lr_at(self, epoch: float) -> float:
        """Step size at a point of the training, in epochs from its start."""
        factor = min(1.0, epoch / self.warm_up) if self.warm_up else 1.0
        if self.decay == "linear":
            factor = min(factor, (self.epochs - epoch) / (self.epochs - self.warm_up))
        return self.lr * factor * self.factor ** sum(epoch >= milestone for milestone in self.milestones)


PUBLISHED_CIFAR = Schedule(epochs=182, warm_up=5.0, milestones=(91.0, 136.0))
"""ResNets on CIFAR-10 in Liebenwein et al. 2021, arXiv:2107.11442."""
