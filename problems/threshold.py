"""Threshold search: which weights a network can do without, one threshold for each layer or channel."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn

from operators.thresholds import (
    BlendCrossover,
    GaussianMutation,
    LogMutation,
    LogSpacedSampling,
    MeanCrossover,
    SeededSampling,
    SimulatedBinaryCrossover,
    StratifiedSampling,
    UniformSampling,
)
from opt.console.ranges import EPOCHS, SEED, Range, check_ranges
from opt.fronts.archive import hypervolume, nondominated
from opt.problem import (
    CompressionProblem,
    CrossoverFunction,
    MutationFunction,
    Objective,
    Operators,
    Reference,
    SamplingFunction,
    minimise,
)
from opt.problem.plain_spaces import grid, product
from opt.runs.front_files import EXACT_FRONT
from problems.data.data import Dataset, Split, load_dataset
from problems.networks.evaluation.staged import StagedNetwork
from problems.networks.layers.prunable import prunable_layers, select_layers
from problems.networks.layers.sparse import SUFFIX, sparse_bytes
from problems.thresholds.masking import Scope, ThresholdMasks
from problems.thresholds.pruned_accuracy import LARGEST_CHAIN, PrunedAccuracy
from problems.thresholds.scores import ScoreName, input_statistics, weight_scores
from problems.workloads.own_network import check_answers, network_of_choice

Size = Literal["weights", "macs", "both"]
Scale = Literal["share", "threshold"]

LEAST_THRESHOLD = 1e-6
"""The published lower bound of a threshold: nothing is removed."""

UNPRUNED = "unpruned network"

# Largest group whose masks are all evaluated by products, where cumulative updates do not fit.
_LARGEST_ENUMERATED = 2_000
_GRID = 100
_CHAIN_STEPS = 48


def published_fitness(accuracy: ArrayLike, base_accuracy: float, kept: ArrayLike) -> np.ndarray:
    """The published search's fitness, maximised: (accuracy / base)^2 + (1 - kept) / 2.

    Args:
        accuracy: (...) of the pruned networks.
        base_accuracy: Of the unpruned one.
        kept: (...) weights kept, as a fraction of the layer's.
    """
    return (np.asarray(accuracy) / base_accuracy) ** 2 + (1 - np.asarray(kept)) / 2


class Threshold(CompressionProblem):
    """Which weights a network can do without: one threshold for each layer or channel.

    Every weight has a score, and those at or below their layer's threshold become zero. Two
    objectives: the error on the search split, and the weights that are kept. For one layer and one
    score all masks can be enumerated, and the exact front stands beside every search. The
    network is by default the published one, "snowfall", and its last layer is pruned.
    `configs/threshold-published.yaml` is the published search.

    Args:
        data: Data set: digits, fashion-mnist, mnist, qmnist, kmnist, cifar10, or a folder of IDX files.
        data_dir: Folder with the data set's files; by default the usual places, then a download.
        model: Network to prune, as package.module:function without arguments; by default snowfall.
        checkpoint: Its weights, a safetensors file; by default it is trained (snowfall once for each seed, then kept).
        model_seed: Seed of the network's weights and training; same-as-run makes each run prune another network.
        epochs: Epochs of training, where the network is trained; by default 5, as published, and 30 on digits.
        split_seed: Seed of the split of the training images into those for training and those for search.
        n_search: Images in the search split; by default 10,000 or a fifth of the training images.
        layers: Layers to prune, shell patterns of names separated by commas; by default the one that runs last.
        scope: One threshold for each layer, or for each output channel (each class, in the last layer).
        score: What is compared with a threshold: |w| (magnitude), |w| rms(input) (rms), or |w| std(input) while
            the bias takes over the mean of what is removed (std).
        n_calibration: Training images that the inputs' rms, mean and std are taken from.
        size: Second objective: weights kept, multiply-adds kept, or both as two objectives.
        scale: Variables are shares of removed weights from 0 to 1, or the thresholds themselves, from 1e-6.
        initial: First population: evenly spread with one in each stratum (stratified), the same behind the front of
            the last layer alone, whose masks are evaluated beforehand (nested), log-spaced in base 16 as published
            (log), or uniform.
        crossover: Uniform in the parents' widened box (blend), their mean (published), or simulated binary (sbx).
        mutation: Gaussian steps of many sizes, or factors (log).
    """

    objectives: Sequence[Objective] = (
        Objective("error", minimise, unit="fraction", weight=1.0, worst=1.0),
        Objective("kept", minimise, unit="fraction of weights", weight=0.5, worst=1.0),
    )

    def __init__(
        self,
        *,
        data: str = "digits",
        data_dir: str | None = None,
        model: str | None = None,
        checkpoint: str | None = None,
        model_seed: int = 0,
        epochs: int | None = None,
        split_seed: int = 0,
        n_search: int | None = None,
        layers: str | None = None,
        scope: Scope = "layer",
        score: ScoreName = "magnitude",
        n_calibration: int = 10_000,
        size: Size = "weights",
        scale: Scale = "share",
        initial: Literal["stratified", "nested", "log", "uniform"] = "stratified",
        crossover: Literal["blend", "mean", "sbx"] = "blend",
        mutation: Literal["gaussian", "log"] = "gaussian",
    ) -> None:
        check_ranges(
            epochs=(epochs, EPOCHS), n_calibration=(n_calibration, Range(1, 10**9)), model_seed=(model_seed, SEED)
        )
        self.dataset: Dataset = load_dataset(data, data_dir=data_dir, split_seed=split_seed, n_search=n_search)
        n_epochs = epochs or (30 if data == "digits" else 5)
        network = network_of_choice(self.dataset, model=model, checkpoint=checkpoint, seed=model_seed, epochs=n_epochs)
        self.model = network.requires_grad_(False)
        calibration = self.dataset.train.subset(slice(0, n_calibration)).images
        self.names = select_layers(self.model, layers, example=calibration[:2])
        check_answers(self.model, calibration[:2], self.dataset.n_classes)
        self.score: ScoreName = score
        self.scale: Scale = scale
        self.initial, self.crossover, self.mutation = initial, crossover, mutation
        self._layers = [prunable_layers(self.model)[name] for name in self.names]
        self._inputs = input_statistics(self.model, self.names, calibration)
        self._weights = [layer.weight.detach().numpy() for layer in self._layers]
        if score == "std":
            self._give_biases()
        scores = [weight_scores(score, w, x) for w, x in zip(self._weights, self._inputs, strict=True)]
        self.masks = ThresholdMasks(scores, scope)
        self._n_weights = np.array([w.size for w in self._weights])
        self._macs = self._n_weights * np.array([x.positions for x in self._inputs])
        self.size: Size = size
        error, kept = Threshold.objectives
        macs = Objective("macs", minimise, unit="fraction of multiply-adds", weight=0.5, worst=1.0)
        self.objectives = {"weights": (error, kept), "macs": (error, macs), "both": (error, kept, macs)}[size]
        n_var = self.masks.n_groups
        largest = np.maximum(self.masks.largest, np.finfo(np.float64).tiny)
        is_share = scale == "share"
        super().__init__(
            n_var=n_var,
            representation="real",
            xl=np.zeros(n_var) if is_share else np.minimum(LEAST_THRESHOLD, largest),
            xu=np.ones(n_var) if is_share else largest,
        )
        self._search = self._accuracy_on(self.dataset.search)
        self._test: PrunedAccuracy | None = None
        self._nested: np.ndarray | None = None
        self.base_accuracy = float(self._search(np.zeros((1, n_var), dtype=np.int64))[0])
        self.n_distinct = product(len(values) for values in self._values())

    def _accuracy_on(self, split: Split) -> PrunedAccuracy:
        network = StagedNetwork(self.model, self.names, split.images, split.labels, self.pruned)
        mean = self._inputs[0].mean[0] if self.score == "std" else None
        return PrunedAccuracy(network, self.masks, n_images=len(split), layer=self._layers[0], mean=mean)

    def _give_biases(self) -> None:
        """A zero bias where a layer has none: it takes over the mean of removed weights."""
        for layer in self._layers:
            if layer.bias is None:
                layer.bias = nn.Parameter(torch.zeros(layer.weight.shape[0]), requires_grad=False)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover and mutation of shares or thresholds."""
        xl, xu = self.xl, self.xu
        sampling: SamplingFunction
        crossover: CrossoverFunction
        mutation: MutationFunction
        if self.initial in ("stratified", "nested"):
            # half of the groups whole: a network that loses weights everywhere at once is seldom any good
            sampling = StratifiedSampling(xl, xu, active=0.5)
            if self.initial == "nested":
                sampling = SeededSampling(self._front_of_last_layer(), sampling)
        else:
            sampling = LogSpacedSampling(xl, xu) if self.initial == "log" else UniformSampling(xl, xu)
        if self.crossover == "mean":
            crossover = MeanCrossover()
        else:
            crossover = BlendCrossover(xl, xu) if self.crossover == "blend" else SimulatedBinaryCrossover(xl, xu)
        if self.mutation == "gaussian":
            # the smallest steps are of about one weight
            mutation = GaussianMutation(xl, xu, smallest=1 / (self.masks.sizes + 1))
        else:
            mutation = LogMutation(xl, xu)
        return Operators(sampling=sampling, crossover=crossover, mutation=mutation)

    def _front_of_last_layer(self) -> np.ndarray:
        """(m, n_var) candidates: what is nondominated when one share of the last layer's groups is removed."""
        if self._nested is None:
            counts = self._last_layer_alone()
            F = self._objectives(counts)
            front = nondominated(F)
            self._nested = self.candidates(counts[front][np.argsort(F[front, 0])])
        return self._nested

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Error and size of (n, n_var) candidates on the search split: (n, n_obj) float64."""
        return self._objectives(self.counts(X))

    def counts(self, X: np.ndarray) -> np.ndarray:
        """(n, n_var) candidates to (n, n_var) int64 removed weights in each group."""
        return self.masks.counts_of_shares(X) if self.scale == "share" else self.masks.counts_at(X)

    def candidates(self, counts: np.ndarray) -> np.ndarray:
        """(n, n_var) removed weights to candidates that stand for them."""
        X = self.masks.shares(counts) if self.scale == "share" else self.masks.thresholds(counts)
        return np.clip(X, self.xl, self.xu)

    def _values(self) -> Iterator[np.ndarray]:
        """Of each group one value for each of its masks that a candidate can have, from nothing removed to all."""
        for group in range(self.masks.n_groups):
            counts = np.zeros((len(chain := self.masks.chain(group)), self.masks.n_groups), dtype=np.int64)
            counts[:, group] = chain
            X = self.candidates(counts)
            _, first = np.unique(self.counts(X)[:, group], return_index=True)
            yield X[first, group]

    def all_candidates(self) -> Iterator[np.ndarray]:
        """Every combination of the groups' masks, as arrays of shape (k, n_var)."""
        return grid(list(self._values()), np.float64)

    def _objectives(self, counts: np.ndarray) -> np.ndarray:
        removed = self.masks.removed(counts)
        columns = {
            "error": 1.0 - self._search(counts),
            "kept": 1.0 - removed.sum(axis=1) / self._n_weights.sum(),
            "macs": 1.0 - (removed * (self._macs / self._n_weights)).sum(axis=1) / self._macs.sum(),
        }
        return np.column_stack([columns[o.name] for o in self.objectives])

    def scalarise(self, F: np.ndarray) -> np.ndarray:
        """The published fitness, negated: -((accuracy / base)^2 + (1 - size) / 2), (n,) for F (n, n_obj)."""
        return -published_fitness(1 - F[:, 0], max(self.base_accuracy, 1e-12), F[:, 1])

    def pruned(self, layer: int, counts: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """Weight and bias of a layer without its `counts`, (groups of the layer,), weights of least score."""
        mask = self.masks.mask(layer, counts)
        weight, own_bias = self._weights[layer], self._layers[layer].bias
        bias = None if own_bias is None else own_bias.detach()
        if self.score == "std":
            assert bias is not None
            lost = np.where(mask, 0.0, weight * self._inputs[layer].mean)
            bias = bias + torch.from_numpy(lost.reshape(len(lost), -1).sum(axis=1)).float()
        return torch.from_numpy(np.where(mask, weight, np.float32(0))), bias

    # -- solutions ----------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """The masks' identity: removed weights in each group. Thresholds between two scores are one mask."""
        return self.counts(np.asarray(x, dtype=np.float64)[None])[0].tobytes()

    def data_fingerprint(self) -> str:
        """Digest of the data set's images and labels."""
        return self.dataset.fingerprint

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Thresholds, weights left by layer, zeros, and bytes of the network with its pruned layers sparse."""
        return self._description(self.counts(np.asarray(x, dtype=np.float64)[None])[0])

    def _description(self, counts: np.ndarray) -> dict[str, Any]:
        row: dict[str, Any] = {}
        if self.masks.scope == "layer":
            thresholds = self.masks.thresholds(counts[None])[0]
            names = ["threshold"] if len(self.names) == 1 else [f"threshold_{name}" for name in self.names]
            row |= {name: float(t) for name, t in zip(names, thresholds, strict=True)}
        removed = self.masks.removed(counts[None])[0]
        if len(self.names) > 1:
            fractions = 1 - removed / self._n_weights
            row |= {f"kept_{name}": float(k) for name, k in zip(self.names, fractions, strict=True)}
        whole = sum(t.numel() * t.element_size() for t in self.model.state_dict().values())
        saved = sum(
            4 * n - sparse_bytes(n, n - gone)
            for n, gone in zip(self._n_weights.tolist(), removed.tolist(), strict=True)
        )
        return row | {
            "zeros": int(removed.sum()),
            "weights_left": int((self._n_weights - removed).sum()),
            "size_bytes": int(whole - saved),
            "dense_bytes": int(whole),
        }

    def decode(self, x: np.ndarray) -> nn.Module:
        """The pruned network: the same module with zeros in place of the removed weights."""
        counts = self.counts(np.asarray(x, dtype=np.float64)[None])[0]
        model = copy.deepcopy(self.model)
        layers = prunable_layers(model)
        for k, name in enumerate(self.names):
            weight, bias = self.pruned(k, counts[self.masks.columns[k]])
            layers[name].weight.data = weight
            if bias is not None:
                assert layers[name].bias is not None
                layers[name].bias.data = bias  # type: ignore[union-attr]
        return model.eval()

    def masks_of(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Bool masks of the pruned tensors by their names in the state dict, True where a weight stays."""
        counts = self.counts(np.asarray(x, dtype=np.float64)[None])[0]
        return {
            f"{name}.weight": self.masks.mask(k, counts[self.masks.columns[k]]) for k, name in enumerate(self.names)
        }

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, and beside each pruned weight its bool mask, `NAME_mask`."""
        state = {name: tensor.numpy() for name, tensor in self.decode(x).state_dict().items()}
        return state | {name + SUFFIX: mask for name, mask in self.masks_of(x).items()}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy on the test set."""
        return self.test_batch(np.asarray(x, dtype=np.float64)[None])[0]

    def test_batch(self, X: np.ndarray) -> list[dict[str, float]]:
        """`test` of every row of X, (n, n_var)."""
        return self._tested(self.counts(np.asarray(X, dtype=np.float64)))

    def _tested(self, counts: np.ndarray) -> list[dict[str, float]]:
        if self._test is None:
            self._test = self._accuracy_on(self.dataset.test)
        return [{"accuracy": float(a)} for a in self._test(counts)]

    # -- what is known ------------------------------------------------------------------------

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """The exact front on the search split, (m, n_obj), where all masks can be enumerated; else None."""
        counts = self.exact_counts()
        return None if counts is None else self._objectives(counts)

    def exact_counts(self) -> np.ndarray | None:
        """(m, 1) removed weights of every mask on the exact front, or None where there are too many masks."""
        limit = LARGEST_CHAIN if self._search.is_chain else _LARGEST_ENUMERATED
        if self.masks.n_groups > 1 or self.masks.sizes[0] > limit:
            return None
        counts = self.masks.chain(0)[:, None]
        return counts[nondominated(self._objectives(counts))]

    def references(self) -> list[Reference]:
        """The unpruned network; the exact front, or for several thresholds the best chain with only one; a grid."""
        known = [self._reference(UNPRUNED, np.zeros((1, self.masks.n_groups), dtype=np.int64))]
        if self.masks.n_groups == 1:
            exact = self.exact_counts()
            if exact is not None:
                known.append(self._reference(EXACT_FRONT, exact))
            grid = np.linspace(0.0, self.masks.largest, _GRID)
            return [*known, self._reference(f"{_GRID} thresholds, evenly spaced", self._counts_of_grid(grid))]
        chains = {name: counts[nondominated(self._objectives(counts))] for name, counts in self._chains().items()}
        worst = np.ones(self.n_obj)
        volume = {name: hypervolume(self._objectives(counts), worst) for name, counts in chains.items()}
        best = max(volume, key=lambda name: volume[name])
        return [*known, self._reference(f"best chain: {best}", chains[best])]

    def _counts_of_grid(self, thresholds: np.ndarray) -> np.ndarray:
        return np.unique(self.masks.counts_at(thresholds), axis=0)

    def _chains(self) -> dict[str, np.ndarray]:
        """Curves with one parameter through the space of several thresholds.

        None of them is exact for the whole problem: the front that only a search can find lies on or
        below each, so that the best is an upper bound of its errors.
        """
        masks = self.masks
        pooled = masks.largest.max() * np.geomspace(1e-3, 1.0, _CHAIN_STEPS)
        shares = np.linspace(0.0, 1.0, _CHAIN_STEPS)
        return {
            "one threshold everywhere": self._counts_of_grid(np.repeat(pooled[:, None], masks.n_groups, axis=1)),
            "one share everywhere": np.unique(
                masks.counts_of_shares(np.repeat(shares[:, None], masks.n_groups, axis=1)), axis=0
            ),
            f"{self.names[-1]} alone": self._last_layer_alone(),
        }

    def _last_layer_alone(self) -> np.ndarray:
        """(m, n_groups) counts that prune only the last layer, each of its groups by the same share."""
        shares = np.zeros((_LARGEST_ENUMERATED, self.masks.n_groups))
        columns = self.masks.columns[-1]
        steps = min(_LARGEST_ENUMERATED, int(self.masks.sizes[columns].max()) + 1)
        shares[:steps, columns] = ((np.arange(steps) + 0.5) / steps)[:, None]
        return np.unique(self.masks.counts_of_shares(shares[:steps]), axis=0)

    def _reference(self, name: str, counts: np.ndarray) -> Reference:
        return Reference(
            name,
            F=self._objectives(counts),
            test=self._tested(counts),
            parameters=[self._description(row) for row in counts],
        )
