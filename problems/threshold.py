"""Threshold search: which weights a network can do without, one threshold for each layer or channel."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.fronts.archive import hypervolume, nondominated
from opt.problem import Objective, Operators, Reference, minimise
from opt.problem.plain_spaces import grid, product
from opt.runs.front_files import EXACT_FRONT
from problems.data.examples import Examples
from problems.data.sets.data_options import DataOptions
from problems.networks.layers.compressible import compressible_layers
from problems.networks.layers.plain_attention import packed_with_masks
from problems.networks.layers.prunable import prunable_layers, select_layers
from problems.networks.layers.sparse import sparse_bytes
from problems.networks.storage.checkpoints import as_numpy
from problems.thresholds.curves import GRID, MOST_STEPS, chains, evenly_spaced, last_layer_alone
from problems.thresholds.fitness import published_fitness
from problems.thresholds.masking import ThresholdMasks
from problems.thresholds.pruned_quality import LARGEST_CHAIN, PrunedQuality
from problems.thresholds.scores import InputStatistics, input_statistics, weight_scores
from problems.thresholds.threshold_options import PrunedNetworkOptions, PruningOptions, VariationOptions
from problems.thresholds.variation import Space, operators_of
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import tensors_of, with_tensors

LEAST_THRESHOLD = 1e-6
"""The published lower bound of a threshold: nothing is removed."""

UNPRUNED = "unpruned network"
_SEEN = 32
"""Examples that show which layers run."""


class Threshold(NetworkProblem):
    """Which weights a network can do without: one threshold for each layer or channel.

    Every weight has a score, and those at or below their layer's threshold become zero. Two
    objectives: the error on the search split, and the weights that are kept. For one layer and one
    score all masks can be enumerated, and the exact front stands beside every search. The
    network is by default the published one, "snowfall", and its last layer is pruned.
    `configs/threshold-published.yaml` is the published search.

    Args:
        data: The data set, `DataOptions`.
        network: The network to prune, or a workload of the user's, `PrunedNetworkOptions`.
        pruning: Which weights go at a threshold, `PruningOptions`.
        variation: What candidates are, how they begin and change, `VariationOptions`.
    """

    objectives: Sequence[Objective] = (
        Objective("error", minimise, unit="fraction", weight=1.0, worst=1.0),
        Objective("kept", minimise, unit="fraction of weights", weight=0.5, worst=1.0),
    )

    @flat_options
    def __init__(
        self,
        *,
        data: DataOptions,
        network: PrunedNetworkOptions,
        pruning: PruningOptions,
        variation: VariationOptions,
    ) -> None:
        self.workload = network.workload_on(data)
        self.pruning, self.variation = pruning, variation
        self._choose_layers()
        self.model = self.workload.network
        self._layers = [prunable_layers(self.model)[name] for name in self.names]
        self._inputs = self._statistics()
        self._weights = [as_numpy(layer.weight) for layer in self._layers]
        scores = [weight_scores(pruning.score, w, x) for w, x in zip(self._weights, self._inputs, strict=True)]
        self.masks = ThresholdMasks(scores, pruning.scope)
        self._n_weights = np.array([w.size for w in self._weights])
        self._macs = self._n_weights * np.array([1.0 if x.unknown else x.positions for x in self._inputs])
        kept = Threshold.objectives[1]
        error = self.workload.error_objective
        macs = Objective("macs", minimise, unit="fraction of multiply-adds", weight=0.5, worst=1.0)
        by_size = {"weights": (error, kept), "macs": (error, macs), "both": (error, kept, macs)}
        self.objectives = by_size[pruning.size]
        n_var = self.masks.n_groups
        largest = np.maximum(self.masks.largest, np.finfo(np.float64).tiny)
        is_share = variation.scale == "share"
        super().__init__(
            n_var=n_var,
            representation="real",
            xl=np.zeros(n_var) if is_share else np.minimum(LEAST_THRESHOLD, largest),
            xu=np.ones(n_var) if is_share else largest,
        )
        self._search = self._quality_on(self.workload.search)
        self._test: PrunedQuality | None = None
        self._nested: np.ndarray | None = None
        self._whole_network = self.workload.judge(self.model, self.workload.search)
        self.n_distinct = product(len(values) for values in self._values())

    @property
    def base_accuracy(self) -> float:
        """Of the unpruned network on the search split.

        Raises:
            UsageError: The workload is judged by something else.
        """
        if "accuracy" not in self._whole_network:
            name = self.workload.error_objective.name
            raise UsageError(f"the published fitness is of the accuracy, and {name} is judged; give --scalarise sum")
        return self._whole_network["accuracy"]

    def _quality_on(self, split: Examples) -> PrunedQuality:
        mean = self._inputs[0].mean[0] if self.pruning.score == "std" else None
        return PrunedQuality(self.workload, split, self.names, self._layers, self.pruned, self.masks, mean=mean)

    def _choose_layers(self) -> None:
        """The names of the layers that are pruned, in the order in which they run.

        Raises:
            UsageError: There are none.
        """
        network = self.workload.network
        example = self.workload.search.subset(slice(0, _SEEN)).inputs
        with self.workload.undisturbed(network):
            self._compressible = compressible_layers(network, example)
            self._compressible.check()
            layers = self._compressible.layers
            self.names = select_layers(network, self.pruning.layers, example=example, layers=layers)
        if self.pruning.score == "std" and any(layers[name].bias is None for name in self.names):
            self._give_biases()

    def _statistics(self) -> list[InputStatistics]:
        """Of the layers' inputs.

        Raises:
            UsageError: They are asked for, and cannot be seen.
        """
        calibration = self.workload.train.subset(slice(0, self.pruning.n_calibration)).inputs
        with self.workload.undisturbed(self.model):
            statistics = input_statistics(self.model, self.names, calibration)
        for name, x in zip(self.names, statistics, strict=True):
            if x.unknown and (self.pruning.score != "magnitude" or self.pruning.size != "weights"):
                raise UsageError(
                    f"what layer {name!r} gets cannot be seen ({x.unknown}); give --problem.score magnitude and "
                    "--problem.size weights, or leave it out with --problem.layers"
                )
        return statistics

    def _give_biases(self) -> None:
        """A zero bias where a layer has none takes over the mean of removed weights; the user's workload has none."""
        self.workload = copy.copy(self.workload)
        self.workload.network = copy.deepcopy(self.workload.network)
        layers = prunable_layers(self.workload.network)
        for layer in (layers[name] for name in self.names):
            if layer.bias is None:
                zeros = torch.zeros(layer.weight.shape[0], dtype=layer.weight.dtype)
                layer.bias = nn.Parameter(zeros, requires_grad=False)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover and mutation of shares or thresholds."""
        return operators_of(self.variation, Space(self.xl, self.xu, self.masks.sizes, self._front_of_last_layer))

    def _front_of_last_layer(self) -> np.ndarray:
        """(m, n_var) candidates: what is nondominated when one share of the last layer's groups is removed."""
        if self._nested is None:
            counts = last_layer_alone(self.masks)
            F = self._objectives(counts)
            front = nondominated(F)
            self._nested = self.candidates(counts[front][np.argsort(F[front, 0])])
        return self._nested

    def fast(self, X: np.ndarray) -> np.ndarray:
        """Error and size of (n, n_var) candidates on the search split: (n, n_obj) float64."""
        return self._counted(self.counts(X))

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) error of a pruned network by a plain loop, and its size by its masks."""
        masks = [self.masks_of(x)[f"{name}.weight"] for name in self.names]
        kept = np.array([mask.sum() for mask in masks])
        columns = {
            self.objectives[0].name: self.workload.quality(self.workload.judge(network, self.workload.search)),
            "kept": kept.sum() / self._n_weights.sum(),
            "macs": (kept * (self._macs / self._n_weights)).sum() / self._macs.sum(),
        }
        return np.array([columns[o.name] for o in self.objectives])

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """The network with the saved tensors."""
        return with_tensors(self.model, state)

    def run_whole(self) -> None:
        """From now on judge decoded networks."""
        super().run_whole()
        self._nested = None

    def extremes(self) -> np.ndarray:
        """(3, n_var) candidates: nothing removed, half of each group, all of it."""
        sizes = np.asarray(self.masks.sizes)
        return self.candidates(np.array([np.zeros_like(sizes), sizes // 2, sizes]))

    def about(self) -> list[str]:
        """The unpruned network's own measures, and what share of it can be pruned."""
        values = ", ".join(f"{name} {value:.4g}" for name, value in self._whole_network.items())
        notes = [f"unpruned, on the search split: {values}", self._compressible.summary()]
        if len(self.names) < len(self._compressible.layers):
            total = sum(p.numel() for p in self.model.parameters())
            share = f"{self._n_weights.sum() / total:.1%} of the parameters"
            notes.append(f"pruned are {', '.join(self.names)}, {share}; --problem.layers '*' prunes all")
        return notes

    def counts(self, X: np.ndarray) -> np.ndarray:
        """(n, n_var) candidates to (n, n_var) int64 removed weights in each group."""
        return self.masks.counts_of_shares(X) if self.variation.scale == "share" else self.masks.counts_at(X)

    def candidates(self, counts: np.ndarray) -> np.ndarray:
        """(n, n_var) removed weights to candidates that stand for them."""
        X = self.masks.shares(counts) if self.variation.scale == "share" else self.masks.thresholds(counts)
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
        return self.evaluate(self.candidates(counts)) if self.is_whole else self._counted(counts)

    def _counted(self, counts: np.ndarray) -> np.ndarray:
        removed = self.masks.removed(counts)
        columns = {
            self.objectives[0].name: self._search(counts),
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
        weight, own = self._weights[layer], self._layers[layer]
        bias = None if own.bias is None else own.bias.detach()
        if self.pruning.score == "std":
            assert bias is not None
            lost = np.where(mask, 0.0, weight * self._inputs[layer].mean)
            bias = bias + torch.from_numpy(lost.reshape(len(lost), -1).sum(axis=1)).to(bias)
        return torch.from_numpy(np.where(mask, weight, weight.dtype.type(0))).to(own.weight), bias

    # -- solutions ----------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """The masks' identity: removed weights in each group. Thresholds between two scores are one mask."""
        return self.counts(np.asarray(x, dtype=np.float64)[None])[0].tobytes()

    def data_fingerprint(self) -> str:
        """Digest of the examples, and of what else the workload is."""
        return self.workload.data_fingerprint

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
        # a tensor under two names is stored once
        whole = sum({t.data_ptr(): t.numel() * t.element_size() for t in tensors_of(self.model).values()}.values())
        saved = sum(
            layer.weight.nbytes - sparse_bytes(n, n - gone, bit_width=8 * layer.weight.element_size())
            for layer, n, gone in zip(self._layers, self._n_weights.tolist(), removed.tolist(), strict=True)
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
        model.eval()  # a user's `eval` may return nothing
        return model

    def masks_of(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Bool masks of the pruned tensors by their names in the state dict, True where a weight stays."""
        counts = self.counts(np.asarray(x, dtype=np.float64)[None])[0]
        return {
            f"{name}.weight": self.masks.mask(k, counts[self.masks.columns[k]]) for k, name in enumerate(self.names)
        }

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, attention packed again, and beside each pruned weight its bool `NAME_mask`."""
        state = {name: as_numpy(tensor) for name, tensor in tensors_of(self.decode(x)).items()}
        return packed_with_masks(self.model, state, self.masks_of(x))

    def test(self, x: np.ndarray) -> dict[str, float]:
        """The workload's metrics on the test split."""
        return self.test_batch(np.asarray(x, dtype=np.float64)[None])[0]

    def test_batch(self, X: np.ndarray) -> list[dict[str, float]]:
        """`test` of every row of X, (n, n_var)."""
        return self._tested(self.counts(np.asarray(X, dtype=np.float64)))

    def _tested(self, counts: np.ndarray) -> list[dict[str, float]]:
        if self.is_whole:
            networks = (self.decode(x) for x in self.candidates(counts))
            return [self.workload.judge(network, self.workload.test) for network in networks]
        if self._test is None:
            self._test = self._quality_on(self.workload.test)
        return self._test.judged(counts)

    # -- what is known ------------------------------------------------------------------------

    def _calc_pareto_front(self, *args: Any, **kwargs: Any) -> np.ndarray | None:
        """The exact front on the search split, (m, n_obj), where all masks can be enumerated; else None."""
        counts = self.exact_counts()
        return None if counts is None else self._objectives(counts)

    def exact_counts(self) -> np.ndarray | None:
        """(m, 1) removed weights of every mask on the exact front, or None where there are too many masks."""
        limit = LARGEST_CHAIN if self._search.is_chain else MOST_STEPS
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
            return [*known, self._reference(f"{GRID} thresholds, evenly spaced", evenly_spaced(self.masks))]
        curves = chains(self.masks, last_layer=self.names[-1])
        fronts = {name: counts[nondominated(self._objectives(counts))] for name, counts in curves.items()}
        worst = np.ones(self.n_obj)
        volume = {name: hypervolume(self._objectives(counts), worst) for name, counts in fronts.items()}
        best = max(volume, key=lambda name: volume[name])
        return [*known, self._reference(f"best chain: {best}", fronts[best])]

    def _reference(self, name: str, counts: np.ndarray) -> Reference:
        return Reference(
            name,
            F=self._objectives(counts),
            test=self._tested(counts),
            parameters=[self._description(row) for row in counts],
        )
