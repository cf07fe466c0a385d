"""How good a classifier's answers are: accuracy, top-5 accuracy, mean cross-entropy."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Classification(NamedTuple):
    """Fractions of right answers, and the mean cross-entropy in nats."""

    accuracy: float
    top5: float
    loss: float


@torch.no_grad()
def classification(model: nn.Module, images: Tensor, labels: Tensor, *, batch_size: int = 2000) -> Classification:
    """Judge a network on images.

    Args:
        model: Maps images to logits (n, n_classes); put into evaluation mode.
        images: (n, c, h, w), at least one.
        labels: (n,) int64.
        batch_size: Images at once.

    Returns:
        The accuracy, the share of images whose label is among the five highest logits (all, where there are at most
        five classes), and the loss.
    """
    model.eval()
    n_right = n_top = 0
    loss = 0.0
    for x, y in zip(images.split(batch_size), labels.split(batch_size), strict=True):
        logits = model(x)
        loss += float(nn.functional.cross_entropy(logits, y, reduction="sum"))
        top = logits.topk(min(5, logits.shape[1]), dim=1).indices
        n_right += int((top[:, 0] == y).sum())
        n_top += int((top == y[:, None]).sum())
    return Classification(n_right / len(labels), n_top / len(labels), loss / len(labels))
