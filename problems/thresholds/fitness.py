"""The published threshold search's fitness: one number of accuracy and of weights kept."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def published_fitness(accuracy: ArrayLike, base_accuracy: float, kept: ArrayLike) -> np.ndarray:
    """The published search's fitness, maximised: (accuracy / base)^2 + (1 - kept) / 2.

    Args:
        accuracy: (...) of the pruned networks.
        base_accuracy: Of the unpruned one.
        kept: (...) weights kept, as a fraction of the layer's.
    """
    return (np.asarray(accuracy) / base_accuracy) ** 2 + (1 - np.asarray(kept)) / 2
