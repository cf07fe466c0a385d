"""Right answers of many networks at once, from logits with the images along the last axis."""

from __future__ import annotations

import numpy as np


class LabelBlocks:
    """Images put in the order of their labels, so that one class's logits are one slice.

    An answer is right when no class before the label has a logit as high and none behind it a higher
    one: what `argmax`, which takes the first of equals, calls right. A NaN is wrong.

    Args:
        labels: (n,) int64 labels from 0.

    Attributes:
        order: (n,) int64, the images' indices in the order of their labels.
    """

    def __init__(self, labels: np.ndarray) -> None:
        self.order = np.argsort(labels, kind="stable")
        classes, starts = np.unique(labels[self.order], return_index=True)
        ends = [*starts[1:], len(labels)]
        self._blocks = [(int(c), slice(int(a), int(b))) for c, a, b in zip(classes, starts, ends, strict=True)]

    def n_right(self, logits: np.ndarray) -> np.ndarray:
        """Number of right answers.

        Args:
            logits: (..., n_classes, n), images in the order of `order`.

        Returns:
            (...) int64.
        """
        total = np.zeros(logits.shape[:-2], dtype=np.int64)
        for label, block in self._blocks:
            own = logits[..., label, block]
            right = own == own
            if label:
                right &= logits[..., :label, block].max(axis=-2) < own
            if label + 1 < logits.shape[-2]:
                right &= logits[..., label + 1 :, block].max(axis=-2) <= own
            total += np.count_nonzero(right, axis=-1)
        return total
