"""How far a network's embeddings are from its parent's: losses on the same points, whatever the widths."""

from __future__ import annotations

import abc
import functools
from typing import ClassVar

import torch
from torch import Tensor

from problems.networks.embeddings import blockwise
from problems.networks.embeddings.affinities import (
    MACHINE_EPSILON,
    bandwidths,
    check_perplexity,
    conditional_probabilities,
    joint_probabilities,
    log,
    scaled_squared_distances,
    shift_rows,
    squared_distances,
)

# Numbers held at once in one (networks, n, n) block: 4 MiB of float32.
_BLOCK = 1_048_576
# Above so many points the (n, n) matrices are never held whole.
_DENSE_POINTS = 2048


class Similarity(abc.ABC):
    """Base of the losses: built from the parent's embeddings, called with a network's, or a batch of networks'.

    Zero is "the same geometry". The points must be the same as the parent's, in the same order.

    Args:
        parent_embeddings: (n, h) the parent's, n >= 3 points.
    """

    has_perplexity: ClassVar[bool] = False
    """Whether it is built with a number of neighbours as `perplexity`."""

    def __init__(self, parent_embeddings: Tensor) -> None:
        if parent_embeddings.dim() != 2 or len(parent_embeddings) < 3:
            raise ValueError(
                f"parent_embeddings must have shape (n, h) with n >= 3 points, got {tuple(parent_embeddings.shape)}."
            )
        self.n_points = len(parent_embeddings)
        self._parent_embeddings = parent_embeddings.detach().clone()

    def __call__(self, embeddings: Tensor, *, widths: Tensor | None = None) -> Tensor:
        """Loss of one network, or of each network of a batch.

        Args:
            embeddings: (n, h') of one network; or (b, n, h') of a batch, where a network narrower than h' has
                zeros in the columns beyond its width. float32 or float64. Differentiable, in memory that grows
                with n^2; without a gradient, memory grows with n only once n exceeds 2048.
            widths: (b,) true widths of a batch; None takes h' for all. They spare work on padding,
                and Student-t needs them: its degrees of freedom are the width.

        Returns:
            A scalar tensor, or (b,); NaN for a network whose embeddings are not finite.

        Raises:
            ValueError: the points are not the parent's, or the shape is not one of the two.
        """
        batch, widths = self._checked(embeddings, widths)
        if batch.requires_grad:
            loss = torch.stack([self._differentiable(e, int(w)) for e, w in zip(batch, widths, strict=True)])
        elif self.n_points > _DENSE_POINTS:
            parts = [self._blockwise(e[:, :w]) for e, w in zip(batch, widths.tolist(), strict=True)]
            loss = torch.stack(parts) if parts else batch.new_zeros(0)
        else:
            step = max(1, _BLOCK // self.n_points**2)
            parts = [self._batch(batch[i : i + step], widths[i : i + step]) for i in range(0, len(batch), step)]
            loss = torch.cat(parts) if parts else batch.new_zeros(0)
        return loss if embeddings.dim() == 3 else loss[0]

    def _checked(self, embeddings: Tensor, widths: Tensor | None) -> tuple[Tensor, Tensor]:
        """Embeddings as a batch (b, n, h), and its true widths (b,)."""
        if embeddings.dim() not in (2, 3) or embeddings.shape[-2] != self.n_points:
            raise ValueError(
                f"embeddings must have shape (n, h) or (b, n, h) with the parent's n = {self.n_points} points, "
                f"got {tuple(embeddings.shape)}."
            )
        batch = embeddings if embeddings.dim() == 3 else embeddings[None]
        b, _, h = batch.shape
        widths = torch.full((b,), h) if widths is None else torch.as_tensor(widths)
        if widths.shape != (b,) or (b and not 1 <= int(widths.min()) <= int(widths.max()) <= h):
            raise ValueError(f"widths must be {b} numbers from 1 to {h}, got shape {tuple(widths.shape)}: {widths}.")
        return batch, widths

    @abc.abstractmethod
    def _batch(self, embeddings: Tensor, widths: Tensor) -> Tensor: ...

    @abc.abstractmethod
    def _differentiable(self, embeddings: Tensor, width: int) -> Tensor: ...

    @abc.abstractmethod
    def _blockwise(self, embeddings: Tensor) -> Tensor: ...


class _KullbackLeibler(Similarity):
    """KL(P_parent || Q): P from the parent's embeddings by the Gaussian construction."""

    has_perplexity = True

    def __init__(self, parent_embeddings: Tensor, *, perplexity: float = 30.0) -> None:
        super().__init__(parent_embeddings)
        check_perplexity(perplexity)
        self.perplexity = perplexity

    @functools.cached_property
    def _parent_precisions(self) -> tuple[Tensor, Tensor, Tensor]:
        """The parent's shifted distances (1, n, n), and by row its precision and the mean it is relative to."""
        shifted, mean = shift_rows(scaled_squared_distances(self._parent_embeddings.double()[None])[0])
        return shifted, bandwidths(shifted, self.perplexity), mean

    @functools.cached_property
    def _p(self) -> Tensor:
        shifted, beta, _ = self._parent_precisions
        conditional = conditional_probabilities(shifted, beta)[0]
        return ((conditional + conditional.T) / (2 * self.n_points)).clamp(min=MACHINE_EPSILON)

    @functools.cached_property
    def _in_float32(self) -> tuple[Tensor, Tensor]:
        return self._p.float(), (1 / self._p).float()

    @functools.cached_property
    def _affinities(self) -> blockwise.GaussianAffinities:
        return blockwise.GaussianAffinities(blockwise.Points(self._parent_embeddings), self.perplexity)

    def _divergence(self, q: Tensor) -> Tensor:
        """KL of each (n, n) matrix of `q` (b, n, n), which is overwritten; q is floored as P is."""
        p, inverse = self._in_float32 if q.dtype == torch.float32 else (self._p, 1 / self._p)
        ratio = q.clamp_(min=MACHINE_EPSILON).mul_(inverse)
        ratio.diagonal(dim1=1, dim2=2).fill_(1)
        # sum P (r - 1 - ln r) = KL because P and Q both sum to 1; its terms are of second order and never negative,
        # so float32 keeps small losses that would drown in the rounding of sum P ln(1/r).
        log_ratio = log(ratio)
        terms = ratio.sub_(1).sub_(log_ratio)
        return terms.reshape(len(q), -1) @ p.reshape(-1)

    def _scalar_divergence(self, q: Tensor) -> Tensor:
        is_pair = ~torch.eye(self.n_points, dtype=torch.bool)
        p = self._p[is_pair].to(q.dtype)
        return (p * (p / q[is_pair].clamp(min=MACHINE_EPSILON)).log()).sum()


class GaussianSimilarity(_KullbackLeibler):
    """KL(P || Q) in nats, both by t-SNE's Gaussian construction at one perplexity: the default loss.

    Args:
        parent_embeddings: (n, h) the parent's.
        perplexity: Effective number of neighbours; with perplexity >= n - 1 all affinities are equal and the loss 0.

    Example:
        >>> points = torch.linspace(0, 1, 40).reshape(20, 2)
        >>> float(GaussianSimilarity(points, perplexity=5)(2 * points)) < 1e-6
        True

    Source: van der Maaten and Hinton 2008, JMLR 9:2579, eqs. 1-2, with P for both.
    """

    @functools.cached_property
    def _relative_beta(self) -> Tensor:
        """In units of a row's own mean, a child's precisions are close to the parent's: a good first guess."""
        _, beta, mean = self._parent_precisions
        return beta * mean

    def _batch(self, embeddings: Tensor, widths: Tensor) -> Tensor:
        shifted, mean = shift_rows(scaled_squared_distances(embeddings, widths)[0])
        start = self._relative_beta.to(shifted.dtype) / mean
        beta = bandwidths(shifted, self.perplexity, start)
        conditional = conditional_probabilities(shifted, beta)
        q = torch.add(conditional, conditional.transpose(1, 2), out=shifted)
        return self._divergence(q.mul_(0.5 / self.n_points))

    def _differentiable(self, embeddings: Tensor, width: int) -> Tensor:
        scaled = scaled_squared_distances(embeddings[None])[0][0]
        return self._scalar_divergence(joint_probabilities(scaled, self.perplexity))

    def _blockwise(self, embeddings: Tensor) -> Tensor:
        return blockwise.gaussian_loss(self._affinities, embeddings, self.perplexity)


class StudentSimilarity(_KullbackLeibler):
    """KL(P || Q) in nats, Q by a Student-t kernel with as many degrees of freedom as the network is wide.

    Q is proportional to (1 + d^2 / nu)^(-(nu + 1) / 2) over all pairs, nu the true width.

    Args:
        parent_embeddings: (n, h) the parent's.
        perplexity: For P.

    Source: van der Maaten 2009, "Learning a parametric embedding by preserving local structure", eq. 6.
    """

    def _batch(self, embeddings: Tensor, widths: Tensor) -> Tensor:
        scaled, unit = scaled_squared_distances(embeddings, widths)
        nu = widths.to(scaled.dtype)
        log_q = scaled.mul_((unit / nu)[:, None, None]).log1p_().mul_(-(nu + 1)[:, None, None] / 2)
        log_q.diagonal(dim1=1, dim2=2).fill_(-torch.inf)
        return self._divergence(torch.softmax(log_q.reshape(len(nu), -1), dim=1).reshape(log_q.shape))

    def _differentiable(self, embeddings: Tensor, width: int) -> Tensor:
        log_q = torch.log1p(squared_distances(embeddings) / width) * (-(width + 1) / 2)
        log_q = log_q.masked_fill(torch.eye(self.n_points, dtype=torch.bool), -torch.inf)
        return self._scalar_divergence(torch.softmax(log_q.reshape(-1), dim=0).reshape(log_q.shape))

    def _blockwise(self, embeddings: Tensor) -> Tensor:
        return blockwise.student_loss(self._affinities, embeddings)


class _DistanceDifference(Similarity):
    """Sum over the pairs i < j of (a_ij - b_ij)^2 over some count; a, b the two networks' distances, normalised."""

    _from_least_pair: ClassVar[bool]
    """Whether the least distance of two points becomes 0 and not the matrix's diagonal, which is 0 already."""

    @property
    @abc.abstractmethod
    def _n_terms(self) -> int:
        """What the sum is divided by."""

    @functools.cached_property
    def _pairs(self) -> Tensor:
        return torch.triu_indices(self.n_points, self.n_points, offset=1)

    @functools.cached_property
    def _parent(self) -> Tensor:
        return self._normalised(squared_distances(self._parent_embeddings.double())[None])

    def _normalised(self, squared: Tensor) -> Tensor:
        squared = squared[:, self._pairs[0], self._pairs[1]]
        # the root has no slope at 0: equal points take the value 0 and the slope 0
        distances = torch.where(squared > 0, squared.clamp(min=1e-30).sqrt(), squared)
        high = distances.amax(dim=1, keepdim=True)
        low = distances.amin(dim=1, keepdim=True) if self._from_least_pair else torch.zeros_like(high)
        # All pairs equally far from each other, or all points equal: nothing to tell apart, so 0 and not 0/0.
        return (distances - low) / torch.where(high > low, high - low, 1.0)

    def _batch(self, embeddings: Tensor, widths: Tensor) -> Tensor:
        normalised = self._normalised(scaled_squared_distances(embeddings, widths)[0])
        return (normalised - self._parent.to(normalised.dtype)).square_().sum(dim=1) / self._n_terms

    def _differentiable(self, embeddings: Tensor, width: int) -> Tensor:
        normalised = self._normalised(scaled_squared_distances(embeddings[None])[0])
        return (normalised - self._parent.to(normalised.dtype)).square().sum() / self._n_terms

    def _blockwise(self, embeddings: Tensor) -> Tensor:
        parent = blockwise.Points(self._parent_embeddings)
        total = blockwise.distance_difference(parent, embeddings, from_least_pair=self._from_least_pair)
        return (total / self._n_terms).to(embeddings.dtype)


class DistanceSimilarity(_DistanceDifference):
    """EComp's published distance loss: mean squared difference of two (n, n) matrices of distances.

    Of each network's matrix of Euclidean distances the upper triangle is kept, and the diagonal and the lower
    triangle are 0. The whole matrix is min-max normalised; its least entry is the diagonal's 0, so that every
    distance is divided by the greatest. The squared differences are averaged over all n^2 entries:
    loss = 1 / n^2 * sum over i < j of (d_ij / max d - d'_ij / max d')^2.
    `PairDistanceSimilarity` is the same over the pairs alone.

    Args:
        parent_embeddings: (n, h) the parent's.

    Source: EComp, DistanceLoss. Differs: a network whose points are all equal has distances 0 and not 0 / 0.
    """

    _from_least_pair = False

    @property
    def _n_terms(self) -> int:
        return self.n_points**2


class PairDistanceSimilarity(_DistanceDifference):
    """Mean squared difference of the two networks' Euclidean distances, each min-max normalised over its pairs.

    With d_ij the distances of the n (n - 1) / 2 pairs i < j and a_ij = (d_ij - min d) / (max d - min d):
    loss = 2 / (n (n - 1)) * sum over i < j of (a_ij - a'_ij)^2.
    Unlike in `DistanceSimilarity` the nearest pair becomes 0, and the mean is over pairs and does not shrink with
    the zeros of half a matrix.

    Args:
        parent_embeddings: (n, h) the parent's.
    """

    _from_least_pair = True

    @property
    def _n_terms(self) -> int:
        return self.n_points * (self.n_points - 1) // 2


SIMILARITIES: dict[str, type[Similarity]] = {
    "gaussian": GaussianSimilarity,
    "student": StudentSimilarity,
    "distance": DistanceSimilarity,
    "pair-distance": PairDistanceSimilarity,
}
"""The losses by the name that a user gives."""
