"""Gaussian affinities between points, as t-SNE builds them: from squared distances to joint probabilities."""

from __future__ import annotations

import math

import torch
from torch import Tensor

MACHINE_EPSILON = 2.220446049250313e-16  # float64's, in every dtype: scikit-learn's floor for a probability

# A network whose points differ by less than float32 can tell holds one single point.
_CONSTANT = 1e-12
# Squared distances, relative to the mean squared norm, that are only rounding of a float32 Gram matrix.
_NOISE = {torch.float32: 3e-7, torch.float64: 1e-15}
# Stands for the distance of a point to itself: exp(-beta * it) is 0, and it times that 0 is 0 (infinity's is NaN).
_SELF = 1e30
_MAX_STEPS = 100
_MAX_LOG_BETA = 60.0


def squared_distances(embeddings: Tensor) -> Tensor:
    """Squared Euclidean distances between the points of one network, or of each network of a batch.

    Args:
        embeddings: (n, h) or (b, n, h) float32 or float64; columns of zeros (padding) change nothing.

    Returns:
        (n, n) or (b, n, n), the same dtype, with an exactly zero diagonal; differentiable.
    """
    scaled, scale = scaled_squared_distances(embeddings if embeddings.dim() == 3 else embeddings[None])
    distances = scaled * scale[:, None, None]
    return distances if embeddings.dim() == 3 else distances[0]


def scaled_squared_distances(embeddings: Tensor, widths: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Squared distances in units of the mean squared norm of the centred points.

    Affinities at a fixed perplexity don't depend on the unit; this one keeps float32 in range, and lets what is
    only rounding be told from a distance.

    Args:
        embeddings: (b, n, h), each network's columns beyond its width filled with zeros.
        widths: (b,) true widths; given, the padding is left out of the products.

    Returns:
        (b, n, n) scaled distances with a zero diagonal, and (b,) the unit; distances = scaled * unit.
    """
    mean = embeddings.mean(dim=1, keepdim=True)
    centred = embeddings - mean  # without this, |a|^2 + |b|^2 - 2ab loses digits to the common offset
    gram = _gram(centred, widths)
    norms = gram.diagonal(dim1=1, dim2=2)
    scale = norms.mean(dim=1)
    is_constant = scale <= _CONSTANT * mean.square().sum(dim=(1, 2))
    inverse = torch.where(is_constant, 0.0, 1 / scale)[:, None]
    scaled_norms = norms * inverse
    if gram.requires_grad:
        scaled = gram * (-2 * inverse[:, :, None]) + scaled_norms[:, :, None] + scaled_norms[:, None, :]
        scaled = torch.nn.functional.threshold(scaled, _NOISE[gram.dtype], 0.0)
        return scaled * (1 - torch.eye(gram.shape[1], dtype=gram.dtype)), scale
    scaled = gram.mul_(-2 * inverse[:, :, None]).add_(scaled_norms[:, :, None]).add_(scaled_norms[:, None, :])
    torch.nn.functional.threshold_(scaled, _NOISE[gram.dtype], 0.0)
    scaled.diagonal(dim1=1, dim2=2).zero_()
    return scaled, scale


def joint_probabilities(distances: Tensor, perplexity: float) -> Tensor:
    r"""Symmetric t-SNE probabilities P of each matrix of squared distances.

    p_{j|i} is proportional to exp(-beta_i D_ij), j != i, with beta_i such that the entropy of row i is
    ln(perplexity); P = (C + C^T) / sum, floored at machine epsilon (the diagonal is that floor).
    The result is scikit-learn's: same root, found by a bracketed Halley iteration on ln(beta) for all rows
    at once instead of 100 steps of bisection row by row. Where no beta reaches the entropy, the limit is taken, as
    bisection does: uniform if perplexity >= n - 1, uniform over the nearest if too many points are duplicates.

    Args:
        distances: (n, n) or (b, n, n) float32 or float64 squared distances, zero diagonal. If it requires a
            gradient the result carries one, beta's own dependence on the distances included.
        perplexity: Effective number of neighbours, > 1.

    Returns:
        P of the same shape and dtype; each matrix sums to 1.

    Raises:
        ValueError: wrong shape, fewer than 2 points, or perplexity not above 1.

    Source: van der Maaten and Hinton 2008, JMLR 9:2579, sec. 2-3; scikit-learn `_joint_probabilities`.
    """
    if distances.dim() not in (2, 3) or distances.shape[-1] != distances.shape[-2] or distances.shape[-1] < 2:
        raise ValueError(f"distances must have shape (n, n) or (b, n, n) with n >= 2, got {tuple(distances.shape)}.")
    check_perplexity(perplexity)
    batch = distances if distances.dim() == 3 else distances[None]
    unit = batch.detach().mean(dim=(1, 2), keepdim=True)
    scaled = batch / torch.where(unit > 0, unit, 1.0)
    if scaled.requires_grad:
        conditional = _differentiable_conditional(scaled, perplexity)
    else:
        shifted = shift_rows(scaled)
        conditional = conditional_probabilities(shifted, bandwidths(shifted, perplexity))
    n = batch.shape[1]
    joint = ((conditional + conditional.transpose(1, 2)) / (2 * n)).clamp(min=MACHINE_EPSILON)
    return joint if distances.dim() == 3 else joint[0]


def check_perplexity(perplexity: float) -> None:
    """Raise ValueError unless 1 < perplexity < infinity."""
    if not 1 < perplexity < math.inf:
        raise ValueError(f"perplexity must be a finite number above 1, got {perplexity}.")


def shift_rows(distances: Tensor) -> Tensor:
    """Subtract each row's nearest distance, in place, and set the diagonal to a stand-in for infinity.

    The shift cancels in p_{j|i} and keeps exp(-beta * D) from underflowing where all points are far.
    """
    diagonal = distances.diagonal(dim1=1, dim2=2)
    diagonal.fill_(_SELF)
    distances.sub_(distances.amin(dim=2, keepdim=True))
    diagonal.fill_(_SELF)
    return distances


def conditional_probabilities(shifted: Tensor, beta: Tensor) -> Tensor:
    """Rows p_{j|i} for `shifted` (b, n, n) of `shift_rows` and precisions `beta` (b, n)."""
    return torch.softmax(shifted * -beta[:, :, None], dim=2)


def row_spread(shifted: Tensor) -> Tensor:
    """Standard deviation (b, n) of each row of shifted distances, the diagonal left out."""
    m = shifted.shape[2] - 1
    off_diagonal = shifted.clone()
    off_diagonal.diagonal(dim1=1, dim2=2).zero_()
    mean = off_diagonal.sum(dim=2) / m
    variance = off_diagonal.square_().sum(dim=2) / m - mean.square()
    return variance.clamp(min=0).sqrt()


def bandwidths(shifted: Tensor, perplexity: float, start: Tensor | None = None) -> Tensor:
    """Precisions beta (b, n) at which the rows of `shifted` (b, n, n) have entropy ln(perplexity).

    Halley's method on f(s) = H(exp(s)) - ln(perplexity), s = ln(beta). With the cumulants k2, k3 of a row's
    distances under p_{j|i}:  f' = -beta^2 k2,  f'' = -2 beta^2 k2 + beta^3 k3. One exp of the matrix gives f, k2
    and k3, and the error is cubed each step, so two or three steps suffice; a bracket keeps every row safe,
    and rows that are done are left out of the next step.

    Args:
        shifted: Distances from `shift_rows`.
        perplexity: Target, > 1.
        start: (b, n) first guess of beta; None takes one from the spread of the distances.

    Returns:
        (b, n) beta, 0 where uniform is the limit; NaN rows give NaN probabilities, not an error.
    """
    b, n, _ = shifted.shape
    if perplexity >= n - 1:
        return shifted.new_zeros(b, n)
    if start is None:
        # Entropy of n-1 points with roughly normal distances: ln(n-1) - (beta * sd)^2 / 2.
        start = math.sqrt(2 * math.log((n - 1) / perplexity)) / row_spread(shifted)
    log_beta = start.reshape(-1).log().nan_to_num(0.0, posinf=0.0, neginf=0.0)
    rows = shifted.reshape(b * n, n)
    low, high = torch.full_like(log_beta, -math.inf), torch.full_like(log_beta, math.inf)
    active: Tensor | None = None
    x, s = rows, log_beta
    for step in range(_MAX_STEPS):
        f, move = _halley(x, s.exp(), math.log(perplexity))
        low = torch.where(f > 0, s, low)
        high = torch.where(f < 0, s, high)
        # The step's own error is about |f|^3: far below the entropy tolerance 1e-5 of the bisection.
        is_done = (f.abs() < 5e-3) & (move.abs() < 0.05) | f.isnan() | (s.abs() >= _MAX_LOG_BETA)
        proposal = s + move
        bisected = torch.where(high - low < math.inf, (low + high) / 2, s + f.sign() * 2.0 ** (step + 1))
        is_safe = (proposal > low) & (proposal < high) & (move.abs() < 3)
        s = torch.where(is_safe | is_done, proposal.nan_to_num(_MAX_LOG_BETA), bisected)
        s = s.clamp(-_MAX_LOG_BETA, _MAX_LOG_BETA)
        if active is None:
            log_beta = s
        else:
            log_beta[active] = s
        keep = (~is_done).nonzero()[:, 0]
        if not len(keep):
            break
        active = keep if active is None else active[keep]
        x, s, low, high = rows[active], s[keep], low[keep], high[keep]
    return log_beta.exp().reshape(b, n)


def _halley(x: Tensor, beta: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """Entropy minus target of each row of `x` (r, n) at `beta` (r,), and Halley's step in ln(beta)."""
    weights = (x * -beta[:, None]).exp_()
    s0 = weights.sum(dim=1)
    m1 = weights.mul_(x).sum(dim=1) / s0
    m2 = weights.mul_(x).sum(dim=1) / s0
    m3 = weights.mul_(x).sum(dim=1) / s0
    f = s0.log() + beta * m1 - target
    k2 = m2 - m1.square()
    k3 = m3 - 3 * m1 * m2 + 2 * m1 * m1.square()
    a, b = beta.square() * k2, beta.square() * beta * k3
    return f, 2 * f * a / (2 * a.square() + f * (2 * a - b))


def _gram(centred: Tensor, widths: Tensor | None) -> Tensor:
    """(b, n, n) inner products; with true widths, without multiplying the padding."""
    if widths is None or centred.requires_grad:
        return centred @ centred.transpose(1, 2)
    b, n, _ = centred.shape
    gram = centred.new_empty(b, n, n)
    for i, width in enumerate(widths.tolist()):
        used = centred[i, :, :width]
        torch.mm(used, used.T, out=gram[i])
    return gram


def _differentiable_conditional(scaled: Tensor, perplexity: float) -> Tensor:
    """p_{j|i} as a function of the distances under autograd, beta_i an implicit function of them."""
    with torch.no_grad():
        shifted = shift_rows(scaled.detach().clone())
        beta = bandwidths(shifted, perplexity)
        probabilities = conditional_probabilities(shifted, beta)
        off_diagonal = shifted.clone()
        off_diagonal.diagonal(dim1=1, dim2=2).zero_()
        m1 = (probabilities * off_diagonal).sum(dim=2)
        k2 = (probabilities * off_diagonal.square()).sum(dim=2) - m1.square()
        slope = beta * k2
    diagonal = torch.eye(scaled.shape[1], dtype=torch.bool, device=scaled.device)
    logits = (scaled * -beta[:, :, None]).masked_fill(diagonal, -math.inf)
    entropy = torch.logsumexp(logits, dim=2) + beta * (torch.softmax(logits, dim=2) * scaled).sum(dim=2)
    # dH/dbeta = -beta k2, and H stays ln(perplexity): d(beta) = dH / (beta k2).
    change = torch.where(slope > 0, (entropy - entropy.detach()) / torch.where(slope > 0, slope, 1.0), 0.0)
    logits = (scaled * -(beta + change)[:, :, None]).masked_fill(diagonal, -math.inf)
    return torch.softmax(logits, dim=2)
