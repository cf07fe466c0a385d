"""Gaussian affinities between points, as t-SNE builds them: from squared distances to joint probabilities."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

MACHINE_EPSILON = 2.220446049250313e-16  # float64's, in every dtype: scikit-learn's floor for a probability

# A network whose points differ by less than float32 can tell holds one single point.
_CONSTANT = 1e-12
# Squared distances, relative to the mean squared norm, that are only rounding of a float32 Gram matrix.
NOISE = {torch.float32: 3e-7, torch.float64: 1e-15}
# Stands for the distance of a point to itself: exp(-beta * it) is 0, and it times that 0 is 0 (infinity's is NaN).
SELF = 1e30
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
        scaled = torch.nn.functional.threshold(scaled, NOISE[gram.dtype], 0.0)
        return scaled * (1 - torch.eye(gram.shape[1], dtype=gram.dtype)), scale
    scaled = gram.mul_(-2 * inverse[:, :, None]).add_(scaled_norms[:, :, None]).add_(scaled_norms[:, None, :])
    torch.threshold_(scaled, NOISE[gram.dtype], 0.0)
    scaled.diagonal(dim1=1, dim2=2).zero_()
    return scaled, scale


def joint_probabilities(distances: Tensor, perplexity: float) -> Tensor:
    r"""Symmetric t-SNE probabilities P of each matrix of squared distances.

    p_{j|i} is proportional to exp(-beta_i D_ij), j != i, with beta_i such that the entropy of row i is
    ln(perplexity); P = (C + C^T) / sum, floored at machine epsilon (the diagonal is that floor).
    The root is scikit-learn's, found by a bracketed third-order iteration on ln(beta) for all rows at once
    instead of up to 100 bisections row by row. Where no beta reaches the entropy, P takes the limit:
    uniform if perplexity >= n - 1, uniform over the nearest if more than `perplexity` of them tie.
    Differs: where all neighbours of a point are so far that exp underflows, scikit-learn gives it no neighbours.

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
        shifted, _ = shift_rows(scaled)
        conditional = conditional_probabilities(shifted, bandwidths(shifted, perplexity))
    n = batch.shape[1]
    joint = ((conditional + conditional.transpose(1, 2)) / (2 * n)).clamp(min=MACHINE_EPSILON)
    return joint if distances.dim() == 3 else joint[0]


def check_perplexity(perplexity: float) -> None:
    """Raise ValueError unless 1 < perplexity < infinity."""
    if not 1 < perplexity < math.inf:
        raise ValueError(f"perplexity must be a finite number above 1, got {perplexity}.")


def shift_rows(distances: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract each row's nearest distance, in place, and set the diagonal to a stand-in for infinity.

    The shift cancels in p_{j|i} and keeps exp(-beta * D) from underflowing where all points are far.

    Args:
        distances: (b, n, n), overwritten.

    Returns:
        The same tensor, and (b, n) the mean of each of its rows without the diagonal.
    """
    diagonal = distances.diagonal(dim1=1, dim2=2)
    diagonal.zero_()
    mean = distances.sum(dim=2) / (distances.shape[2] - 1)
    diagonal.fill_(SELF)
    nearest = distances.amin(dim=2)
    distances.sub_(nearest[:, :, None])
    diagonal.fill_(SELF)
    return distances, mean - nearest


def conditional_probabilities(shifted: Tensor, beta: Tensor) -> Tensor:
    """Rows p_{j|i} for `shifted` (b, n, n) of `shift_rows` and precisions `beta` (b, n)."""
    weights = exp_(shifted * -beta[:, :, None])
    return weights.div_(weights.sum(dim=2, keepdim=True))


def exp_(values: Tensor) -> Tensor:
    """Exponential in place, without gradient; by numpy, whose vector code is twice as fast as torch's in float32."""
    array = values.numpy()
    np.exp(array, out=array)
    return values


def log(values: Tensor) -> Tensor:
    """Natural logarithm, without gradient, by numpy as in `exp_`."""
    return torch.from_numpy(np.log(values.numpy()))


def bandwidths(shifted: Tensor, perplexity: float, start: Tensor | None = None) -> Tensor:
    """Precisions beta (b, n) at which the rows of `shifted` (b, n, n) have entropy ln(perplexity).

    Householder's method of third order on f(s) = H(exp(s)) - ln(perplexity), s = ln(beta): one exp of the matrix
    gives f and three derivatives, and each step raises the error to its fourth power, so one or two steps suffice.
    A bracket keeps every row safe, and rows that are done are left out of the next step.

    Args:
        shifted: Distances from `shift_rows`.
        perplexity: Target, > 1.
        start: (b, n) first guess of beta; None takes one from the spread of the distances.

    Returns:
        (b, n) beta, next to 0 where uniform is the limit; NaN rows give NaN probabilities, not an error.
    """
    b, n, _ = shifted.shape
    rows = shifted.reshape(b * n, n)
    return bandwidths_of_rows(rows, perplexity, None if start is None else start.reshape(-1)).reshape(b, n)


def bandwidths_of_rows(rows: Tensor, perplexity: float, start: Tensor | None = None) -> Tensor:
    """`bandwidths` of any rows (r, n) of shifted distances, each with its own diagonal entry set; (r,)."""
    r, n = rows.shape
    if perplexity >= n - 1:
        # Not 0: times the diagonal it must still be infinite.
        return rows.new_full((r,), math.exp(-_MAX_LOG_BETA))
    if start is None:
        # Entropy of n-1 points with roughly normal distances: ln(n-1) - (beta * sd)^2 / 2.
        start = math.sqrt(2 * math.log((n - 1) / perplexity)) / _row_spread(rows)
    log_beta = start.to(rows.dtype).log().nan_to_num(0.0, posinf=0.0, neginf=0.0)
    x, s, active = rows, log_beta, torch.arange(r)
    low, high = torch.full_like(s, -math.inf), torch.full_like(s, math.inf)
    last = torch.full_like(s, math.inf)
    for step in range(_MAX_STEPS):
        f, move = _householder(x, s.exp(), math.log(perplexity))
        size = f.abs()
        low, high = torch.where(f > 0, s, low), torch.where(f < 0, s, high)
        # The error left after a step is about move^4, below 2.6e-6: a quarter of the bisection's tolerance at most.
        is_near = (size < 0.04) & (move.abs() < 0.04)
        # On a plateau of the entropy (ties, duplicates) every beta is right; NaN rows stay NaN.
        is_flat = (size < 2e-6) | f.isnan() | (s.abs() >= _MAX_LOG_BETA) | (high - low < 1e-6)
        proposal = s + move
        is_safe = (proposal > low) & (proposal < high) & (move.abs() < 3) & (size < 0.7 * last)
        fallback = torch.where(high - low < math.inf, (low + high) / 2, s + f.sign() * min(2.0**step, 16.0))
        s = torch.where(is_near, proposal, torch.where(is_flat, s, torch.where(is_safe, proposal, fallback)))
        s = s.clamp(-_MAX_LOG_BETA, _MAX_LOG_BETA)
        log_beta = s if step == 0 else log_beta.index_copy_(0, active, s)
        keep = (~(is_near | is_flat)).nonzero()[:, 0]
        if not len(keep):
            break
        active, s, low, high, last = (values[keep] for values in (active, s, low, high, size))
        x = rows[active]
    return log_beta.exp()


def _householder(x: Tensor, beta: Tensor, target: float) -> tuple[Tensor, Tensor]:
    """Entropy minus target of each row of `x` (r, n) at `beta` (r,), and Householder's step in ln(beta).

    With the cumulants k2, k3, k4 of a row's distances under p_{j|i}, and a = beta^2 k2, b = beta^3 k3, c = beta^4 k4:
    the derivatives are -a, -2a + b and -4a + 5b - c.
    """
    weights = exp_(x * -beta[:, None])
    s0 = weights.sum(dim=1)
    # Moments of beta * distance.
    m1, m2, m3, m4 = (weights.mul_(x).sum(dim=1) / s0 * beta**k for k in (1, 2, 3, 4))
    f = s0.log() + m1 - target
    square = m1.square()
    a = m2 - square
    b = m3 - 3 * m1 * m2 + 2 * m1 * square
    c = m4 - 4 * m1 * m3 - 3 * m2.square() + 12 * square * m2 - 6 * square.square()
    f1, f2, f3 = -a, b - 2 * a, 5 * b - 4 * a - c
    numerator = 3 * f * (f * f2 - 2 * f1.square())
    return f, numerator / (6 * f1 * (f1.square() - f * f2) + f.square() * f3)


def _row_spread(rows: Tensor) -> Tensor:
    """Standard deviation (r,) of each row of shifted distances, the diagonal left out."""
    m = rows.shape[1] - 1
    finite = rows.masked_fill(rows >= SELF, 0.0)
    mean = finite.sum(dim=1) / m
    variance = finite.square_().sum(dim=1) / m - mean.square()
    return variance.clamp(min=0).sqrt()


def _gram(centred: Tensor, widths: Tensor | None) -> Tensor:
    """(b, n, n) inner products; with true widths, without multiplying the padding."""
    if widths is None or centred.requires_grad:
        return centred @ centred.transpose(1, 2)
    b, n, _ = centred.shape
    gram = centred.new_empty(b, n, n)
    # numpy sees that A A^T is symmetric and computes half of it; torch does not.
    arrays, outs = centred.numpy(), gram.numpy()
    for array, out, width in zip(arrays, outs, widths.tolist(), strict=True):
        used = array[:, :width]
        np.matmul(used, used.T, out=out)
    return gram


def _differentiable_conditional(scaled: Tensor, perplexity: float) -> Tensor:
    """p_{j|i} as a function of the distances under autograd, beta_i an implicit function of them."""
    with torch.no_grad():
        shifted, _ = shift_rows(scaled.detach().clone())
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
