"""Populations of networks measured together: judged on examples, and compared with their parent."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.special
import torch

from problems.networks.embeddings.dissimilarity import SimilarityName, similarity_to
from problems.similarity.table import ExampleTable, Phenotype, inherited

# Networks whose embeddings are held at once.
_CHUNK = 32


class Measurement:
    """Error and dissimilarity of networks on one table of examples.

    Args:
        table: The examples, of which the first `n_points` are the points of the dissimilarity.
        n_points: Number of points, at least 3.
        similarity: Name of the loss.
        perplexity: Perplexity of the losses that have one.
    """

    def __init__(self, table: ExampleTable, *, n_points: int, similarity: SimilarityName, perplexity: float) -> None:
        self.table = table
        self.n_points = min(n_points, table.n_examples)
        parent = inherited(table.network.genome(), table.network)
        hidden, _ = table.part(0, self.n_points).forward(parent)
        self._losses = [
            similarity_to(torch.from_numpy(np.ascontiguousarray(layer.T)), loss=similarity, perplexity=perplexity)
            for layer in hidden
        ]
        # Embeddings of one chunk, written over by the next: fresh memory costs a page fault every 4 kB.
        self._points = [np.empty(0, dtype=np.float32) for _ in hidden]

    def __call__(self, phenotypes: Sequence[Phenotype]) -> tuple[np.ndarray, np.ndarray]:
        """Measure n networks.

        Args:
            phenotypes: The networks.

        Returns:
            (n,) what is minimised of their answers, as the share of wrong classes, and (n,) dissimilarities to the
            parent, summed over the hidden layers; float64.
        """
        parts = [self._measure(phenotypes[start : start + _CHUNK]) for start in range(0, len(phenotypes), _CHUNK)]
        if not parts:
            return np.empty(0), np.empty(0)
        return np.concatenate([error for error, _ in parts]), np.concatenate([loss for _, loss in parts])

    def _measure(self, phenotypes: Sequence[Phenotype]) -> tuple[np.ndarray, np.ndarray]:
        table, n = self.table, len(phenotypes)
        widths = np.array([phenotype.widths for phenotype in phenotypes])
        points = [self._room(k, n, width) for k, width in enumerate(widths.max(axis=0).tolist())]
        # All examples are points: activations go to their place among the others at once.
        is_direct = self.n_points == table.n_examples
        error = np.empty(n)
        for i, phenotype in enumerate(phenotypes):
            places = [padded[i, :width] for padded, width in zip(points, phenotype.widths, strict=True)]
            for padded, width in zip(points, phenotype.widths, strict=True):
                padded[i, width:] = 0.0
            hidden, outputs = table.forward(phenotype, places if is_direct else None)
            error[i] = table.quality(outputs)
            if not is_direct:
                for place, layer in zip(places, hidden, strict=True):
                    place[...] = layer[:, : self.n_points]
        dissimilarity = np.zeros(n)
        for loss, padded, width in zip(self._losses, points, widths.T, strict=True):
            dissimilarity += loss(torch.from_numpy(padded).transpose(1, 2), widths=torch.from_numpy(width)).numpy()
        return error, dissimilarity

    def _room(self, k: int, n: int, width: int) -> np.ndarray:
        """(n, width, n_points) uninitialised float32 for layer k's embeddings."""
        size = n * width * self.n_points
        if self._points[k].size < size:
            self._points[k] = np.empty(size, dtype=np.float32)
        return self._points[k][:size].reshape(n, width, self.n_points)


def classify(table: ExampleTable, phenotype: Phenotype) -> tuple[float, float]:
    """Accuracy and mean cross-entropy in nats of one network on a table's examples."""
    _, logits = table.forward(phenotype)
    accuracy = np.mean(logits.argmax(axis=0) == table.labels)
    log_probabilities = scipy.special.log_softmax(logits.astype(np.float64), axis=0)
    return float(accuracy), float(-log_probabilities[table.labels, np.arange(table.n_examples)].mean())


def tested(table: ExampleTable, phenotype: Phenotype) -> dict[str, float]:
    """Loss and metrics of one network on a table's examples, by name."""
    if table.judge is not None:
        return table.judge.values(table.forward(phenotype)[1])
    accuracy, loss = classify(table, phenotype)
    return {"accuracy": accuracy, "loss": loss}
