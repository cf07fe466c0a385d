"""The similarity losses on many points: rows of the (n, n) matrices in blocks, so that memory grows with n only."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from problems.networks.embeddings.affinities import MACHINE_EPSILON, NOISE, SELF, bandwidths_of_rows

# Numbers in one block of rows: 16 MiB of float32.
_BLOCK = 4_194_304


class Points:
    """One network's embeddings, giving their scaled squared distances a block of rows at a time.

    Args:
        embeddings: (n, h) float32 or float64.
    """

    def __init__(self, embeddings: Tensor) -> None:
        mean = embeddings.mean(dim=0)
        self._centred = embeddings - mean
        self._norms = self._centred.square().sum(dim=1)
        self.unit = float(self._norms.mean())
        self._is_constant = self.unit <= 1e-12 * float(mean.square().sum())
        self.n = len(embeddings)

    def blocks(self) -> Iterator[tuple[slice, Tensor, Tensor]]:
        """Row ranges, the rows (r, n) of distances in units of `unit`, and a mask (r, n) of the diagonal.

        The distance of a point to itself is set to a stand-in for infinity.
        """
        step = max(1, _BLOCK // self.n)
        for begin in range(0, self.n, step):
            rows = slice(begin, min(begin + step, self.n))
            block = torch.addmm(self._norms[None, :], self._centred[rows], self._centred.T, alpha=-2)
            block.add_(self._norms[rows, None])
            block.mul_(0.0 if self._is_constant else 1 / self.unit)
            torch.threshold_(block, NOISE[block.dtype], 0.0)
            diagonal = torch.zeros(block.shape, dtype=torch.bool)
            diagonal[torch.arange(len(block)), torch.arange(rows.start, rows.stop)] = True
            yield rows, block.masked_fill_(diagonal, SELF), diagonal


class GaussianAffinities:
    """t-SNE's joint probabilities of some points, computed a block of rows at a time.

    Kept are three numbers a point: its precision, its nearest distance, and the logarithm of its row's sum.

    Args:
        points: The points.
        perplexity: Effective number of neighbours.
    """

    def __init__(self, points: Points, perplexity: float) -> None:
        self.points = points
        like = points._norms
        self._beta, self._nearest, self._log_sum = (torch.empty_like(like) for _ in range(3))
        for rows, block, _ in points.blocks():
            nearest = block.amin(dim=1)
            shifted = (block - nearest[:, None]).masked_fill_(block >= SELF, SELF)
            beta = bandwidths_of_rows(shifted, perplexity)
            self._beta[rows], self._nearest[rows] = beta, nearest
            self._log_sum[rows] = torch.logsumexp(shifted.mul_(-beta[:, None]), dim=1)

    def joint(self, rows: slice, block: Tensor) -> Tensor:
        """Rows of P, floored, for a block of the points' distances; the diagonal comes out as the floor."""
        own = torch.exp((block - self._nearest[rows, None]) * -self._beta[rows, None] - self._log_sum[rows, None])
        theirs = torch.exp((block - self._nearest) * -self._beta - self._log_sum)
        return own.add_(theirs).div_(2 * self.points.n).clamp_(min=MACHINE_EPSILON)


def gaussian_loss(parent: GaussianAffinities, embeddings: Tensor, perplexity: float) -> Tensor:
    """KL(P || Q) as in `GaussianSimilarity`, of one network (n, h)."""
    child = GaussianAffinities(Points(embeddings), perplexity)
    total = torch.zeros((), dtype=torch.float64)
    for (rows, p_block, diagonal), (_, q_block, _) in zip(parent.points.blocks(), child.points.blocks(), strict=True):
        p, q = parent.joint(rows, p_block), child.joint(rows, q_block)
        total += _terms(p, q, diagonal)
    return total.to(embeddings.dtype)


def student_loss(parent: GaussianAffinities, embeddings: Tensor) -> Tensor:
    """KL(P || Q) as in `StudentSimilarity`, of one network (n, width)."""
    points, nu = Points(embeddings), embeddings.shape[1]
    log_total = torch.tensor(-math.inf, dtype=torch.float64)
    for _, block, diagonal in points.blocks():
        logits = _student_logits(block, points.unit, nu, diagonal)
        log_total = torch.logaddexp(log_total, torch.logsumexp(logits.flatten(), dim=0).double())
    total = torch.zeros((), dtype=torch.float64)
    for (rows, p_block, diagonal), (_, block, _) in zip(parent.points.blocks(), points.blocks(), strict=True):
        q = (_student_logits(block, points.unit, nu, diagonal) - log_total.to(block.dtype)).exp_()
        total += _terms(parent.joint(rows, p_block), q.clamp_(min=MACHINE_EPSILON), diagonal)
    return total.to(embeddings.dtype)


def distance_difference(parent: Points, embeddings: Tensor, *, from_least_pair: bool) -> Tensor:
    """Sum over the pairs i < j of the squared difference of two networks' normalised distances, in float64.

    Args:
        parent: The points in the parent.
        embeddings: (n, h) the same points in one network.
        from_least_pair: Whether each network's least distance of two points becomes 0, as its greatest becomes 1;
            else distances are divided by the greatest.
    """
    child = Points(embeddings)
    ranges = [_range(points) for points in (parent, child)]
    if not from_least_pair:
        ranges = [(0.0, high) for _, high in ranges]
    total = torch.zeros((), dtype=torch.float64)
    for (_, a, diagonal), (_, b, _) in zip(parent.blocks(), child.blocks(), strict=True):
        x, y = (
            (d.sqrt() - low) / (high - low if high > low else 1.0)
            for d, (low, high) in zip((a, b), ranges, strict=True)
        )
        total += (x - y).masked_fill_(diagonal, 0.0).square_().sum(dtype=torch.float64)
    return total / 2  # the blocks hold both triangles


def _terms(p: Tensor, q: Tensor, diagonal: Tensor) -> Tensor:
    """Sum of P (r - 1 - ln r), r = Q / P, off the diagonal: terms of second order, never negative."""
    ratio = (q / p).masked_fill_(diagonal, 1.0)
    log_ratio = ratio.log()
    return ratio.sub_(1).sub_(log_ratio).mul_(p).sum(dtype=torch.float64)


def _student_logits(block: Tensor, unit: float, nu: int, diagonal: Tensor) -> Tensor:
    return block.mul_(unit / nu).log1p_().mul_(-(nu + 1) / 2).masked_fill_(diagonal, -math.inf)


def _range(points: Points) -> tuple[float, float]:
    """Least and greatest distance of two different points, in units of the square root of `unit`."""
    low, high = math.inf, 0.0
    for _, block, diagonal in points.blocks():
        low = min(low, float(block.amin()))
        high = max(high, float(block.masked_fill_(diagonal, 0.0).amax()))
    return math.sqrt(low), math.sqrt(high)
