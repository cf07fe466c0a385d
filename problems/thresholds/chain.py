"""All masks of a network's last linear layer along one order of removal, by cumulative updates of the logits."""

from __future__ import annotations

import numpy as np

from problems.networks.evaluation.accuracy import LabelBlocks


class RemovalChain:
    """A last layer whose weights go one by one: each removal changes one class's logits.

    Removing w_oj takes w_oj x_j from the logit of class o, so that the right answers of all masks of a
    chain cost one pass over its weights instead of one product of matrices a mask. Logits are float64,
    and the sums run in one order whatever counts are asked for: a mask has one value, bit by bit.

    Args:
        features: (n, n_in) inputs of the layer.
        labels: (n,) int64.
        weight: (n_out, n_in) weights.
        bias: (n_out,) bias, or None.
        order: (n_out * n_in,) flat indices of the weights in the order of removal.
        mean: (n_in,) mean inputs that the bias takes over when a weight goes; None leaves the bias as it is.
        chunk: Images at once; so few that their logits and features stay in the processor's cache.
    """

    def __init__(
        self,
        features: np.ndarray,
        labels: np.ndarray,
        weight: np.ndarray,
        bias: np.ndarray | None,
        order: np.ndarray,
        *,
        mean: np.ndarray | None = None,
        chunk: int = 5000,
    ) -> None:
        self.n_images = len(labels)
        weight = weight.astype(np.float64)
        self._outputs, self._inputs = np.divmod(order, weight.shape[1])
        self._weights = weight[self._outputs, self._inputs]
        self._parts: list[tuple[LabelBlocks, np.ndarray, np.ndarray]] = []
        for start in range(0, self.n_images, chunk):
            part = slice(start, start + chunk)
            blocks = LabelBlocks(labels[part])
            x = np.ascontiguousarray(features[part][blocks.order].T, dtype=np.float64)
            logits = weight @ x
            if bias is not None:
                logits += bias.astype(np.float64)[:, None]
            if mean is not None:
                x -= mean[:, None]
            self._parts.append((blocks, x, logits))

    def n_right(self, counts: np.ndarray) -> np.ndarray:
        """Right answers after the first `counts` removals.

        Args:
            counts: (k,) int64 from 0 to the number of weights, in any order.

        Returns:
            (k,) int64.
        """
        wanted, place = np.unique(counts, return_inverse=True)
        total = np.zeros(len(wanted), dtype=np.int64)
        outputs, inputs, weights = self._outputs.tolist(), self._inputs.tolist(), self._weights.tolist()
        for blocks, x, start in self._parts:
            logits, change = start.copy(), np.empty(x.shape[1])
            done = 0
            for k, count in enumerate(wanted.tolist()):
                for step in range(done, count):
                    np.multiply(x[inputs[step]], weights[step], out=change)
                    logits[outputs[step]] -= change
                done = count
                total[k] += blocks.n_right(logits)
        return total[place.reshape(np.shape(counts))]
