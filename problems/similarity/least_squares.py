"""Refit of networks by least squares: the layers behind the first, for a whole population from one Gram matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy.special

from operators.networks import NetworkGenome
from opt.console.errors import UsageError, check_choice
from problems.similarity.refit import Moments, solve
from problems.similarity.table import ExampleTable, Phenotype, affine, inherited

RefitTarget = Literal["mixture", "logits", "labels"]

# Weight of the parent's mistakes in the mixture target; measured best of 2, 5, 10, 20 on held-out images.
_CORRECTION = 5.0


@dataclass(frozen=True)
class _Truth:
    """What targets say that outputs should be.

    Args:
        labels: (m, n) outputs that give the right answers.
        truth: (m, n) values that answers are compared with.
        expected: From outputs to values of that kind.
        correction: Weight of the difference in a mixture.
    """

    labels: np.ndarray
    truth: np.ndarray
    expected: Callable[[np.ndarray], np.ndarray]
    correction: float


REFIT_TARGETS: dict[str, Callable[[np.ndarray, _Truth], np.ndarray]] = {
    "mixture": lambda logits, t: logits + t.correction * (t.truth - t.expected(logits)),
    "logits": lambda logits, t: logits,
    "labels": lambda logits, t: t.labels,
}
"""`(parent's outputs, what targets say) -> outputs to fit`, (m, n) each, by name."""


def wanted_outputs(name: RefitTarget, logits: np.ndarray, table: ExampleTable) -> np.ndarray:
    """What the output layer is fitted to.

    | targets | labels | mixture |
    | --- | --- | --- |
    | classes | one-hot | logits + 5 (one-hot - softmax(logits)) |
    | several labels y of 0 and 1 | 2 y - 1 | logits + 5 (y - sigmoid(logits)) |
    | numbers y | y | the mean of y and what the parent answers |
    | others | refused | logits |

    Args:
        name: "logits" are the parent's own outputs.
        logits: (m, n) the parent's outputs.
        table: The examples.

    Raises:
        UsageError: Labels are asked for, and the targets do not say what outputs should be.
    """
    make = REFIT_TARGETS[check_choice("target", name, REFIT_TARGETS)]
    if name == "logits":
        return logits
    said = _truth(logits, table)
    if said is None and name == "labels":
        raise UsageError(
            "refit_target labels needs classes, labels or numbers that the last linear layer itself answers with; "
            "give logits"
        )
    return logits if said is None else make(logits, said)


def _truth(logits: np.ndarray, table: ExampleTable) -> _Truth | None:
    targets, m = table.labels, len(logits)
    numbers = None if table.judge is None else table.judge.workload.loss_name
    is_whole = targets.dtype.kind in "iu"
    if is_whole and targets.ndim == 1 and m > 1 and numbers not in ("mse", "mae", "binary-cross-entropy"):
        if targets.min() < 0 or targets.max() >= m:
            return None
        onehot = np.eye(m, dtype=np.float32)[targets].T
        return _Truth(onehot, onehot, lambda z: scipy.special.softmax(z, axis=0), _CORRECTION)
    # what stands behind the last layer may only reshape
    wanted = targets.reshape(len(targets), -1).T.astype(np.float32)
    if wanted.shape != logits.shape or (table.judge is not None and not _is_plain(table, logits)):
        return None
    if numbers == "binary-cross-entropy":
        return _Truth(2 * wanted - 1, wanted, scipy.special.expit, _CORRECTION)
    return None if is_whole and numbers not in ("mse", "mae") else _Truth(wanted, wanted, lambda z: z, 0.5)


def _is_plain(table: ExampleTable, logits: np.ndarray) -> bool:
    """Whether what is judged are the last layer's outputs themselves, in any shape."""
    assert table.judge is not None
    outputs = table.judge.outputs(logits).numpy()
    return outputs.size == logits.size and np.array_equal(outputs.reshape(logits.T.shape), logits.T)


class LeastSquaresRefit:
    r"""Rewrites the layers behind a network's first hidden layer by least squares, without gradient steps.

    A hidden layer's neurons are fitted to what the same neurons of the parent compute before their
    activation, from the activations that are left:  min_W ||W [A; 1] - Z||^2 + ridge ||W||^2. As layer 2
    of every network sees a subset of the parent's first-layer activations, its normal equations are
    a submatrix of one Gram matrix, computed once; it costs only a solve. The output layer is fitted
    to `target`.

    Args:
        table: Examples that the refit may use: training examples.
        target: "logits", the parent's; "labels", what the targets say; "mixture", of both; see `wanted_outputs`.
        has_bias: Whether each linear layer has a bias; None where all have.
    """

    def __init__(
        self, table: ExampleTable, *, target: RefitTarget = "mixture", has_bias: Sequence[bool] | None = None
    ) -> None:
        self.table = table
        self.network = table.network
        self.has_bias = [True] * len(self.network.weights) if has_bias is None else list(has_bias)
        parent = inherited(self.network.genome(), self.network)
        hidden, logits = table.forward(parent)
        # What layer k > 0 is fitted to: the parent's pre-activations, and the target at the end.
        self.targets = [
            affine(weight, below, bias)
            for weight, bias, below in zip(parent.weights[1:-1], parent.biases[1:-1], hidden[:-1], strict=True)
        ]
        self.targets.append(wanted_outputs(target, logits, table))
        self._first_moments = _moments(hidden[0], self.targets[0])

    def __call__(self, genome: NetworkGenome) -> Phenotype:
        """The genome's network with every layer but the first refitted."""
        phenotype = inherited(genome, self.network)
        is_parents = phenotype.first_ids is not None and phenotype.weights[0] is phenotype.biases[0] is None
        weights, biases = [phenotype.weights[0]], [phenotype.biases[0]]
        activations = self.table.first_layer(phenotype)
        last = len(self.targets)
        for k, target in enumerate(self.targets, start=1):
            neurons = None if k == last else genome.ids[k].astype(np.int64)
            if k == 1 and is_parents:
                moments, ids = self._first_moments, genome.ids[0]
            else:
                goal = target if neurons is None else target[neurons]
                moments, ids, neurons = _moments(activations, goal), np.arange(len(activations)), None
            weight, bias = solve(moments, ids, outputs=neurons, has_bias=self.has_bias[k])
            weights.append(weight.astype(np.float32))
            biases.append(bias.astype(np.float32))
            if k < last:
                activations = self.table.activations[k](affine(weights[-1], activations, biases[-1]))
        return Phenotype(phenotype.first_ids, tuple(weights), tuple(biases), genome.widths)


def greedy_rankings(table: ExampleTable, *, target: RefitTarget = "mixture") -> list[np.ndarray]:
    """Neurons of each hidden layer of the parent in the order of greedy least squares.

    Each step takes the neuron whose addition lowers most the squared error of predicting, linearly,
    what the next layer computes (before its activation; the refit's target after the last hidden layer).

    Args:
        table: Training examples.
        target: The refit's target.

    Returns:
        One permutation of the neurons per hidden layer, most useful first.

    Source: orthogonal least squares, Chen, Billings and Luo 1989, doi:10.1080/00207178908953472.
    """
    refit = LeastSquaresRefit(table, target=target)
    hidden, _ = table.forward(inherited(table.network.genome(), table.network))
    return [_forward_selection(layer, goal) for layer, goal in zip(hidden, refit.targets, strict=True)]


def _forward_selection(activations: np.ndarray, target: np.ndarray) -> np.ndarray:
    a = (activations - activations.mean(axis=1, keepdims=True)).astype(np.float64)
    t = (target - target.mean(axis=1, keepdims=True)).astype(np.float64)
    gram, cross = a @ a.T, a @ t.T
    floor = 1e-6 * gram.trace() / len(gram) + np.finfo(float).tiny
    order: list[int] = []
    for _ in range(len(gram)):
        residual = gram.diagonal()
        # Error that the neuron would take away; nearly dependent neurons come last, in their order.
        gain = np.where(residual > floor, (cross**2).sum(axis=1) / (residual + floor), -1.0)
        gain[order] = -2.0
        k = int(np.argmax(gain))
        order.append(k)
        column, row, pivot = gram[:, k].copy(), cross[k].copy(), gram[k, k] + floor
        gram = gram - np.outer(column, column / pivot)
        cross = cross - np.outer(column, row / pivot)
    return np.array(order)


def _moments(activations: np.ndarray, target: np.ndarray) -> Moments:
    """Normal equations of fitting targets (t, n) from activations (h, n) and a constant.

    Sums in float32, twice as fast as float64; the ridge is far above its rounding.
    """
    h, n = activations.shape
    augmented = np.ones((h + 1, n), dtype=np.float32)
    augmented[:-1] = activations
    gram, cross = (augmented @ augmented.T).astype(np.float64), (augmented @ target.T).astype(np.float64)
    # A neuron that is zero on every example would make the system singular.
    np.einsum("ii->i", gram)[:-1] += 1e-7 * n
    return Moments(gram, cross, n)
