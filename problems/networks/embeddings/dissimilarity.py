"""Dissimilarity of two networks' embeddings of the same examples: any layers, any widths, by the loss's name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from opt.console.errors import UsageError, check_choice
from problems.networks.embeddings.similarities import SIMILARITIES, Similarity

SimilarityName = Literal["gaussian", "student", "distance", "pair-distance"]


def dissimilarity(
    original_embeddings: Any, compressed_embeddings: Any, *, loss: SimilarityName = "gaussian", perplexity: float = 30.0
) -> float:
    r"""How far a network's embeddings of n examples are from those of another: 0 for the same geometry at any scale.

    student alone compares two kernels, so that equal embeddings are not at 0, and has a scale.
    With d_ij the Euclidean distance of examples i and j in the original and d'_ij in the compressed network:

    - gaussian: KL(P || Q) = \sum_{i != j} p_ij ln(p_ij / q_ij), in nats, with p_ij = (p_{j|i} + p_{i|j}) / 2n,
      p_{j|i} proportional to exp(-d_ij^2 / 2 s_i^2), s_i such that the entropy of p_{.|i} is ln(perplexity); q_ij the
      same of d'.
    - student: KL(P || Q), q_ij proportional to (1 + d'_ij^2 / v)^(-(v + 1) / 2), v the compressed network's width.
    - distance: 1 / n^2 \sum_{i < j} (d_ij / max d - d'_ij / max d')^2.
    - pair-distance: 2 / (n (n - 1)) \sum_{i < j} (a_ij - a'_ij)^2, a_ij = (d_ij - min d) / (max d - min d).

    Args:
        original_embeddings: (n, h) array or tensor, n >= 3; or a sequence of such, one a layer.
        compressed_embeddings: (n, h') of the same examples in the same order, any width; or a sequence of as many.
        loss: Name of the loss.
        perplexity: Effective number of neighbours, > 1, for gaussian and student.

    Returns:
        The loss, summed over the layers; NaN where the compressed network's embeddings are not finite.

    Raises:
        UsageError: No loss has that name, or the embeddings do not fit each other.

    Example:
        >>> points = np.random.default_rng(0).normal(size=(20, 4))
        >>> dissimilarity(points, 3 * points, loss="distance") < 1e-6
        True

    Source: van der Maaten and Hinton 2008, JMLR 9:2579, eqs. 1-2 (P); van der Maaten 2009, "Learning a parametric
        embedding by preserving local structure", eq. 6 (student); EComp's DistanceLoss (distance).
    """
    originals, compressed = _layers(original_embeddings), _layers(compressed_embeddings)
    if len(originals) != len(compressed):
        raise UsageError(f"expected embeddings of as many layers, got {len(originals)} and {len(compressed)}")
    total = 0.0
    for original, other in zip(originals, compressed, strict=True):
        if len(original) != len(other):
            raise UsageError(
                f"embeddings must be of the same examples, got {len(original)} of the original and {len(other)}"
            )
        total += float(similarity_to(original, loss=loss, perplexity=perplexity)(other))
    return total


def similarity_to(original: Tensor, *, loss: SimilarityName, perplexity: float) -> Similarity:
    """The loss of that name against one layer's embeddings, (n, h), for many networks one behind the other.

    Raises:
        UsageError: No loss has that name, or the original's embeddings are fewer than 3, or not finite.
    """
    kind: Any = SIMILARITIES[check_choice("similarity", loss, SIMILARITIES)]
    if original.ndim != 2 or len(original) < 3 or not bool(original.isfinite().all()):
        raise UsageError(
            f"a dissimilarity needs finite embeddings (n, h) of at least 3 examples, got {tuple(original.shape)}"
        )
    return kind(original, perplexity=perplexity) if kind.has_perplexity else kind(original)


def _layers(embeddings: Any) -> list[Tensor]:
    several = isinstance(embeddings, Sequence) and not isinstance(embeddings, (str, bytes))
    return [_as_points(layer) for layer in (embeddings if several else [embeddings])]


def _as_points(layer: Any) -> Tensor:
    points = layer.detach().cpu() if isinstance(layer, Tensor) else torch.from_numpy(np.array(layer))
    if points.ndim != 2:
        raise UsageError(f"embeddings must have shape (n, h), got {tuple(points.shape)}")
    return points if points.dtype in (torch.float32, torch.float64) else points.float()
