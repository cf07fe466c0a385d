"""What a mask is judged by: losses of logits with the images along the last axis."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import numpy as np

Loss = Literal["scaled", "cross-entropy", "error"]

SHARPNESS = 4.0
"""Standard deviation that logits are brought to before their cross-entropy is taken."""


def scaled_cross_entropy(logits: np.ndarray, labels: np.ndarray, *, sharpness: float = SHARPNESS) -> float:
    """Mean cross-entropy (nats) of logits brought to one standard deviation.

    Weights that are not trained give logits of any size: the raw cross-entropy then tells sizes apart more than
    answers. Here z becomes sharpness * z / std(z), the deviation taken over all classes and images.

    Args:
        logits: (n_classes, n) float32.
        labels: (n,) int64.
        sharpness: The standard deviation.
    """
    z = logits * np.float32(sharpness / max(float(logits.std()), 1e-30))
    return cross_entropy(z, labels)


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean cross-entropy (nats) of (n_classes, n) float32 logits."""
    z = logits - logits.max(axis=0)
    own = z[labels, np.arange(z.shape[1])]
    np.exp(z, out=z)
    return float((np.log(z.sum(axis=0)) - own).mean(dtype=np.float64))


def scaled_cross_entropy_slope(logits: np.ndarray, labels: np.ndarray, *, sharpness: float = SHARPNESS) -> np.ndarray:
    """Derivative of `scaled_cross_entropy` by the logits, (n_classes, n) float32, the deviation's share included."""
    n = logits.shape[1]
    std = max(float(logits.std()), 1e-30)
    p = logits * np.float32(sharpness / std)
    p -= p.max(axis=0)
    np.exp(p, out=p)
    p /= p.sum(axis=0)
    p[labels, np.arange(n)] -= 1
    p *= np.float32(sharpness / (std * n))
    along = float((p * logits).sum(dtype=np.float64)) / (std**2 * logits.size)
    return p - np.float32(along) * (logits - np.float32(logits.mean(dtype=np.float64)))


def cross_entropy_slope(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Derivative of `cross_entropy` by the logits, (n_classes, n) float32."""
    p = logits - logits.max(axis=0)
    np.exp(p, out=p)
    p /= p.sum(axis=0)
    p[labels, np.arange(logits.shape[1])] -= 1
    return p / np.float32(logits.shape[1])


def error_rate(logits: np.ndarray, labels: np.ndarray) -> float:
    """Fraction of wrong answers of (n_classes, n) logits; a NaN is wrong."""
    right = (logits.argmax(axis=0) == labels) & ~np.isnan(logits).any(axis=0)
    return 1.0 - float(np.count_nonzero(right)) / logits.shape[1]


class LogitLoss(NamedTuple):
    """A loss.

    Attributes:
        value: `(logits, labels) -> value`, minimised.
        slope: `(logits, labels) -> derivative by the logits`, of the value or of what stands for it.
    """

    value: Callable[[np.ndarray, np.ndarray], float]
    slope: Callable[[np.ndarray, np.ndarray], np.ndarray]


LOSSES: dict[str, LogitLoss] = {
    "scaled": LogitLoss(scaled_cross_entropy, scaled_cross_entropy_slope),
    "cross-entropy": LogitLoss(cross_entropy, cross_entropy_slope),
    # the error has no slope: that of the scaled cross-entropy stands for it
    "error": LogitLoss(error_rate, scaled_cross_entropy_slope),
}
"""Losses by name."""
