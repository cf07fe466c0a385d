"""EComp: smaller fully connected networks that keep the hidden geometry of a trained parent."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from operators.networks import (
    AlignedCrossover,
    BlockCrossover,
    L1Sampling,
    MixtureSampling,
    NetworkGenome,
    NeuronMutation,
    RandomSubsetSampling,
    RankedSampling,
    WeightNoise,
    as_population,
    l1_pruned,
    l1_ranking,
)
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import Objective, Operators, Reference, SamplingFunction, minimise
from problems.data.examples import Examples
from problems.data.sets.data_options import DataOptions
from problems.networks.storage.checkpoints import as_numpy
from problems.similarity.batch import Measurement, tested
from problems.similarity.cost import count
from problems.similarity.ecomp_options import ComparisonOptions, ParentOptions, RefitOptions, VariationOptions
from problems.similarity.finetuning import finetuned
from problems.similarity.least_squares import LeastSquaresRefit, greedy_rankings
from problems.similarity.parent_chain import example_table, module_of, parent_chain, parent_network, summary
from problems.similarity.plain_judging import counted_size, judged_plainly
from problems.similarity.table import ExampleTable, Phenotype, as_arrays, inherited
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import tensors_of, with_tensors

# Widths of the reference curves, as fractions of the parent's; pruned networks change fastest when small.
_REFERENCE_FRACTIONS = (*np.geomspace(0.04, 0.3, 10), *np.linspace(0.35, 1.0, 14))


class EComp(NetworkProblem):
    """Smaller fully connected networks that keep the hidden geometry of a trained parent.

    A candidate is a network whose hidden neurons descend from the parent's. Three objectives: its
    error on the search split, the dissimilarity of its hidden representations to the parent's, and
    its size. In the default setting the layers behind the remaining neurons are refitted by least
    squares on training images, parents are crossed neuron by neuron, and the two hidden layers have
    widths of their own. `configs/ecomp-published.yaml` is the published method.

    Args:
        data: The data set, `DataOptions`.
        network: The network to compress, or a workload of the user's, `ParentOptions`.
        comparison: What candidates are judged by, `ComparisonOptions`.
        variation: How candidates begin and change, `VariationOptions`.
        refit: What the remaining layers are given back, `RefitOptions`.
    """

    objectives: Sequence[Objective] = (
        Objective("error", minimise, unit="fraction", weight=0.0, worst=1.0),
        Objective("dissimilarity", minimise, unit="nats", weight=2.0, worst=4.0),
        Objective("size", minimise, unit="fraction of parent", weight=1.0, worst=1.0),
    )

    @flat_options
    def __init__(
        self,
        *,
        data: DataOptions,
        network: ParentOptions,
        comparison: ComparisonOptions,
        variation: VariationOptions,
        refit: RefitOptions,
    ) -> None:
        super().__init__(n_var=1, representation="object")
        self.workload = network.workload_on(data)
        self.chain = parent_chain(self.workload)
        self.network = parent_network(self.chain)
        self.comparison, self.variation, self.refit = comparison, variation, refit
        error, *others = EComp.objectives
        self.objectives = (dataclasses.replace(self.workload.error_objective, weight=error.weight), *others)
        self._measure_options: dict[str, Any] = {
            "n_points": comparison.similarity_points,
            "similarity": comparison.similarity,
            "perplexity": comparison.perplexity,
        }
        search = self._table(self.workload.search)
        self._spans = _spans(search.n_examples, comparison.batch_size)
        self._batches = [search] if comparison.batch_size is None else [search.part(*span) for span in self._spans]
        self._batch: int | None = None
        self._batch_order = np.arange(len(self._batches))
        self._measurement: Measurement | None = None
        self._refit_table = self._table(self.workload.train.subset(slice(0, refit.n_refit)))
        self._refit = self._least_squares() if refit.refit else None
        self._n_steps = refit.finetune_steps
        self._test_table: ExampleTable | None = None
        self._finetuned: dict[bytes, Phenotype] = {}

    def _table(self, examples: Examples) -> ExampleTable:
        return example_table(self.workload, self.chain, self.network, examples)

    def _least_squares(self) -> LeastSquaresRefit:
        has_bias = self.chain.has_bias
        return LeastSquaresRefit(self._refit_table, target=self.refit.refit_target, has_bias=has_bias)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover and mutation of network genomes."""
        return self._operators

    @functools.cached_property
    def _operators(self) -> Operators:
        network, asked = self.network, self.variation
        crossover = (
            BlockCrossover(network)
            if asked.crossover == "block"
            else AlignedCrossover(network, smallest=asked.smallest)
        )
        mutation: Any = WeightNoise(network)
        if asked.mutation == "neurons":
            rest = 1.0 - asked.merge
            mutation = NeuronMutation(
                network,
                remove=0.3 * rest,
                insert=0.2 * rest,
                exchange=0.5 * rest,
                merge=asked.merge,
                smallest=asked.smallest,
            )
        return Operators(sampling=self._sampling(), crossover=crossover, mutation=mutation)

    def _sampling(self) -> SamplingFunction:
        asked = self.variation
        if asked.initial == "l1":
            return L1Sampling(self.network)
        kinds = ("widths", "greedy", "random") if asked.initial == "mixed" else (asked.initial,)
        parts: list[SamplingFunction] = []
        for kind in kinds:
            if kind == "random":
                parts.append(RandomSubsetSampling(self.network, smallest=asked.smallest))
            else:
                rankings = (
                    l1_ranking(self.network)
                    if kind == "widths"
                    else greedy_rankings(self._refit_table, target=self.refit.refit_target)
                )
                parts.append(RankedSampling(self.network, rankings, smallest=asked.smallest))
        return MixtureSampling(parts)

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Error, dissimilarity and size of (n, 1) genomes on the current search examples: (n, 3) float64."""
        return self.fast(X)

    def fast(self, X: np.ndarray) -> np.ndarray:
        """The same; networks as they are before gradient steps, which only solutions get."""
        genomes = [row[0] for row in X]
        return self._objectives([self._phenotype(genome) for genome in genomes], genomes)

    def _objectives(self, phenotypes: Sequence[Phenotype], genomes: Sequence[NetworkGenome]) -> np.ndarray:
        if self.is_whole:
            pairs = zip(phenotypes, genomes, strict=True)
            return np.array([self._judged(self._module(phenotype, genome)) for phenotype, genome in pairs])
        if self._batch is None and len(self._batches) > 1:
            measured = [Measurement(table, **self._measure_options)(phenotypes) for table in self._batches]
            error, dissimilarity = np.mean(measured, axis=0)
        else:
            if self._measurement is None:
                table = self._batches[0 if self._batch is None else self._batch]
                self._measurement = Measurement(table, **self._measure_options)
            error, dissimilarity = self._measurement(phenotypes)
        return np.column_stack([error, dissimilarity, [self._size(genome) for genome in genomes]])

    def _phenotype(self, genome: NetworkGenome) -> Phenotype:
        return self._refit(genome) if self._refit else inherited(genome, self.network)

    def _size(self, genome: NetworkGenome) -> float:
        row = self._description(genome)
        kind = {"parameters": "parameter_fraction", "width": "width", "macs": "mac_fraction", "bytes": "byte_fraction"}
        return float(row[kind[self.comparison.size]])

    # -- proof --------------------------------------------------------------------------------

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(3,) error by a plain loop, dissimilarity by hooks on the network, size by counting on the module."""
        return self._judged(network)

    def _judged(self, network: nn.Module) -> np.ndarray:
        spans = self._spans if self._batch is None else [self._spans[self._batch]]
        parts = (self.workload.search.subset(slice(*span)) for span in spans)
        rows = [judged_plainly(self.workload, self.chain, network, part, **self._measure_options) for part in parts]
        return np.append(np.mean(rows, axis=0), counted_size(self.chain, network, self.comparison.size))

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """A network of the saved layers' widths with the saved tensors."""
        weights = [as_numpy(state[f"{name}.weight"]) for name in self.chain.names]
        biases = [np.zeros(len(weight), dtype=np.float32) for weight in weights]
        return with_tensors(module_of(self.chain, weights, biases), state)

    def extremes(self) -> np.ndarray:
        """(3, 1) genomes: the parent, one neuron a layer, and weights and biases of its own."""
        parent = self.network.genome()
        least = self.network.genome([np.array([width // 2]) for width in self.network.widths])
        noisy = WeightNoise(self.network, probability=1.0)(as_population([parent]), np.random.default_rng(0))
        return np.concatenate([as_population([parent, least]), noisy])

    def about(self) -> list[str]:
        """The parent's own measures, and what share of it can be made smaller."""
        values = self.workload.judge(self.workload.network, self.workload.search)
        told = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        return [f"parent, on the search split: {told}", *summary(self.chain)]

    def verify(self, rng: np.random.Generator) -> Sequence[str]:
        """As every task on a workload; networks are compared as the search has them, before gradient steps."""
        self._n_steps = 0
        try:
            return super().verify(rng)
        finally:
            self._n_steps = self.refit.finetune_steps

    # -- batches of examples ------------------------------------------------------------------

    def begin_run(self, rng: np.random.Generator) -> None:
        """Draw the order of the search batches, where there are several."""
        self._batch_order = rng.permutation(len(self._batches))
        self._use_batch(None)

    def begin_generation(self, n_gen: int) -> bool:
        """Move to the next search batch, where there are several; True when there are."""
        if len(self._batches) == 1:
            return False
        self._use_batch(int(self._batch_order[(n_gen - 1) % len(self._batches)]))
        return True

    def end_search(self) -> bool:
        """From here on evaluate on all search batches together; True when there are several."""
        self._use_batch(None)
        return len(self._batches) > 1

    def _use_batch(self, batch: int | None) -> None:
        if len(self._batches) > 1:
            self._batch, self._measurement = batch, None

    # -- solutions ----------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """Bytes that are equal for equal genomes."""
        return x[0].fingerprint()

    def distance(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """Number of the parent's neurons that one of two networks kept and the other did not; weights are not seen."""
        pairs = zip(X[:, 0], Y[:, 0], strict=True)
        return np.array(
            [sum(len(np.setxor1d(a, b)) for a, b in zip(x.ids, y.ids, strict=True)) for x, y in pairs], float
        )

    def data_fingerprint(self) -> str:
        """Digest of the examples, and of what else the workload is."""
        return self.workload.data_fingerprint

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Widths, and size in every unit; `width` is the mean fraction of the parent's widths."""
        row = self._description(x[0])
        return {name: value for name, value in row.items() if name not in ("mac_fraction", "byte_fraction")}

    def _description(self, genome: NetworkGenome) -> dict[str, Any]:
        network, widths = self.network, genome.widths
        cost, whole = (
            count(
                np.array(w), network.n_inputs, network.n_outputs, has_bias=self.chain.has_bias,
                n_other=self.chain.n_other,
            )
            for w in (widths, network.widths)
        )  # fmt: skip
        fractions = [width / full for width, full in zip(widths, network.widths, strict=True)]
        return {
            "width": float(np.mean(fractions)),
            **{f"width_{k}": width for k, width in enumerate(widths, start=1)},
            "parameters": int(cost.parameters),
            "macs": int(cost.macs),
            "size_bytes": int(cost.size_bytes),
            "parameter_fraction": float(cost.parameters / whole.parameters),
            "mac_fraction": float(cost.macs / whole.macs),
            "byte_fraction": float(cost.size_bytes / whole.size_bytes),
        }

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network itself, refitted and fine-tuned as asked for."""
        return self._module(self._solution(x[0]), x[0])

    def _module(self, phenotype: Phenotype, genome: NetworkGenome) -> nn.Module:
        return module_of(self.chain, *as_arrays(phenotype, genome, self.network))

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, by the names that the network has for its layers."""
        return {name: as_numpy(tensor) for name, tensor in tensors_of(self.decode(x)).items()}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Loss and metrics on the test split."""
        return self.test_batch(np.asarray(x, dtype=object)[None])[0]

    def test_batch(self, X: np.ndarray) -> list[dict[str, float]]:
        """`test` of every row of X, (n, 1)."""
        genomes = [row[0] for row in X]
        return self._tested([self._solution(genome) for genome in genomes], genomes)

    def _tested(self, phenotypes: Sequence[Phenotype], genomes: Sequence[NetworkGenome]) -> list[dict[str, float]]:
        work = self.workload
        if self.is_whole:
            pairs = zip(phenotypes, genomes, strict=True)
            return [work.judge(self._module(phenotype, genome), work.test) for phenotype, genome in pairs]
        if self._test_table is None:
            self._test_table = self._table(work.test)
        return [tested(self._test_table, phenotype) for phenotype in phenotypes]

    def _solution(self, genome: NetworkGenome) -> Phenotype:
        """The phenotype, after the gradient steps if any."""
        phenotype = self._phenotype(genome)
        if not self._n_steps:
            return phenotype
        key = genome.fingerprint()
        if key not in self._finetuned:
            module = self._module(phenotype, genome)
            layers = finetuned(self.workload, self.chain, module, n_steps=self._n_steps)
            self._finetuned[key] = inherited(NetworkGenome(genome.ids, *layers), self.network)
        return self._finetuned[key]

    # -- references ---------------------------------------------------------------------------

    def references(self) -> list[Reference]:
        """The parent, and L1 pruning of both layers to one width, plain and with this problem's refit."""
        full = self.network.widths
        pruned = [
            l1_pruned(self.network, widths)
            for widths in dict.fromkeys(
                tuple(max(1, round(fraction * width)) for width in full) for fraction in _REFERENCE_FRACTIONS
            )
        ]
        refit = self._refit or self._least_squares()
        parent = [self.network.genome()]
        return [
            self._reference("parent", parent, [inherited(genome, self.network) for genome in parent]),
            self._reference("L1 pruning", pruned, [inherited(genome, self.network) for genome in pruned]),
            self._reference("L1 pruning + refit", pruned, [refit(genome) for genome in pruned]),
        ]

    def _reference(self, name: str, genomes: list[NetworkGenome], phenotypes: list[Phenotype]) -> Reference:
        return Reference(
            name,
            F=self._objectives(phenotypes, genomes),
            test=self._tested(phenotypes, genomes),
            parameters=[self.describe(np.array([genome], dtype=object)) for genome in genomes],
        )


def _spans(n_search: int, batch_size: int | None) -> list[tuple[int, int]]:
    """Beginnings and ends of batches of one size of the search examples; one of all where none is given."""
    if batch_size is None:
        return [(0, n_search)]
    if batch_size > n_search:
        raise UsageError(f"batch_size must be at most the {n_search} search examples, got {batch_size}.")
    # Whole batches only: a last short one would weigh as much in the mean.
    return [(start, start + batch_size) for start in range(0, n_search - batch_size + 1, batch_size)]
