"""EComp: smaller fully connected networks that keep the hidden geometry of a trained parent."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from operators.networks import (
    AlignedCrossover,
    BlockCrossover,
    L1Sampling,
    MixtureSampling,
    NetworkGenome,
    NeuronMutation,
    ParentNetwork,
    RandomSubsetSampling,
    RankedSampling,
    WeightNoise,
    l1_pruned,
    l1_ranking,
)
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import CompressionProblem, Objective, Operators, Reference, SamplingFunction, minimise
from problems.data.data import Dataset, Split
from problems.data.sets.data_options import DataOptions
from problems.data.sets.example_set import ExampleSet
from problems.networks.architectures.fully_connected import FullyConnected, layer_names
from problems.networks.training.training import train
from problems.similarity.batch import (
    ImageTable,
    LeastSquaresRefit,
    Measurement,
    Phenotype,
    as_arrays,
    classify,
    greedy_rankings,
    inherited,
)
from problems.similarity.cost import count
from problems.similarity.ecomp_options import ComparisonOptions, ParentOptions, RefitOptions, VariationOptions
from problems.workloads.named_networks import MLP

# Widths of the reference curves, as fractions of the parent's; pruned networks change fastest when small.
_REFERENCE_FRACTIONS = (*np.geomspace(0.04, 0.3, 10), *np.linspace(0.35, 1.0, 14))
_FINETUNE_BATCH = 100


class EComp(CompressionProblem):
    """Smaller fully connected networks that keep the hidden geometry of a trained parent.

    A candidate is a network whose hidden neurons descend from the parent's. Three objectives: its
    error on the search split, the dissimilarity of its hidden representations to the parent's, and
    its size. In the default setting the layers behind the remaining neurons are refitted by least
    squares on training images, parents are crossed neuron by neuron, and the two hidden layers have
    widths of their own. `configs/ecomp-published.yaml` is the published method.

    Args:
        data: The data set, `DataOptions`.
        network: The network to compress, `ParentOptions`.
        comparison: What candidates are judged by, `ComparisonOptions`.
        variation: How candidates begin and change, `VariationOptions`.
        refit: What the remaining layers are given back, `RefitOptions`.
    """

    objectives = (
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
        examples = network.examples_of(data)
        self.dataset: Dataset = examples.as_images()
        weights, biases = _parent(examples, network).to_arrays()
        self.network = ParentNetwork(tuple(weights), tuple(biases))
        self.comparison, self.variation, self.refit = comparison, variation, refit
        self._measure_options: dict[str, Any] = {
            "n_points": comparison.similarity_points,
            "similarity": comparison.similarity,
            "perplexity": comparison.perplexity,
        }
        self._search_table = _table(self.network, self.dataset.search)
        self._batches = _batches(self._search_table, comparison.batch_size)
        self._batch: int | None = None
        self._batch_order = np.arange(len(self._batches))
        self._measurement: Measurement | None = None
        some = self.dataset.train.subset(slice(0, refit.n_refit))
        self._refit_table = _table(self.network, some)
        self._refit = LeastSquaresRefit(self._refit_table, target=refit.refit_target) if refit.refit else None
        self._test_table: ImageTable | None = None
        self._finetuned: dict[bytes, Phenotype] = {}

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
        """Error, dissimilarity and size of (n, 1) genomes on the current search images: (n, 3) float64."""
        genomes = [row[0] for row in X]
        return self._objectives([self._phenotype(genome) for genome in genomes], genomes)

    def _objectives(self, phenotypes: Sequence[Phenotype], genomes: Sequence[NetworkGenome]) -> np.ndarray:
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
        """Digest of the data set's images and labels."""
        return self.dataset.fingerprint

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Widths, and size in every unit; `width` is the mean fraction of the parent's widths."""
        row = self._description(x[0])
        return {name: value for name, value in row.items() if name not in ("mac_fraction", "byte_fraction")}

    def _description(self, genome: NetworkGenome) -> dict[str, Any]:
        network, widths = self.network, genome.widths
        cost, whole = (count(np.array(w), network.n_inputs, network.n_outputs) for w in (widths, network.widths))
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

    def decode(self, x: np.ndarray) -> FullyConnected:
        """The network itself, refitted and fine-tuned as asked for."""
        return FullyConnected.from_arrays(*as_arrays(self._solution(x[0]), x[0], self.network)).eval()

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Weights and biases of `decode(x)` by the names of its state dict."""
        weights, biases = as_arrays(self._solution(x[0]), x[0], self.network)
        named = zip(layer_names(len(weights)), weights, biases, strict=True)
        return {name: array for layer, w, b in named for name, array in ((f"{layer}.weight", w), (f"{layer}.bias", b))}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy and cross-entropy on the test set."""
        return self.test_batch(np.asarray(x, dtype=object)[None])[0]

    def test_batch(self, X: np.ndarray) -> list[dict[str, float]]:
        """`test` of every row of X, (n, 1)."""
        return self._tested([self._solution(row[0]) for row in X])

    def _tested(self, phenotypes: Sequence[Phenotype]) -> list[dict[str, float]]:
        if self._test_table is None:
            self._test_table = _table(self.network, self.dataset.test)
        rows = (classify(self._test_table, phenotype) for phenotype in phenotypes)
        return [{"accuracy": accuracy, "loss": loss} for accuracy, loss in rows]

    def _solution(self, genome: NetworkGenome) -> Phenotype:
        """The phenotype, after the gradient steps if any."""
        phenotype = self._phenotype(genome)
        n_steps = self.refit.finetune_steps
        if not n_steps:
            return phenotype
        key = genome.fingerprint()
        if key not in self._finetuned:
            model = FullyConnected.from_arrays(*as_arrays(phenotype, genome, self.network))
            data = self.dataset.train
            n_images = n_steps * _FINETUNE_BATCH
            epochs = -(-n_images // len(data))
            data = data.subset(slice(0, -(-n_images // epochs)))
            train(model, data, seed=0, epochs=epochs, batch_size=_FINETUNE_BATCH, validation=0.0, progress=False)
            weights, biases = model.to_arrays()
            self._finetuned[key] = inherited(NetworkGenome(genome.ids, tuple(weights), tuple(biases)), self.network)
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
        refit = self._refit or LeastSquaresRefit(self._refit_table, target=self.refit.refit_target)
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
            test=self._tested(phenotypes),
            parameters=[self.describe(np.array([genome], dtype=object)) for genome in genomes],
        )


def _parent(examples: ExampleSet, asked: ParentOptions) -> FullyConnected:
    """The network to compress: read, or trained and kept."""
    if asked.workload is not None:
        raise UsageError("ecomp takes fully connected networks by name; leave out --problem.workload")
    name = asked.name_on(examples)
    if MLP.fullmatch(name) is None:
        raise UsageError(f"ecomp needs a fully connected network, mlp-W-W of any widths, got {name}")
    model = asked.network_on(examples)
    assert isinstance(model, FullyConnected)
    return model


def _batches(search: ImageTable, batch_size: int | None) -> list[ImageTable]:
    """The search images in batches of one size; as one where none is given."""
    if batch_size is None:
        return [search]
    if batch_size > search.n_images:
        raise UsageError(f"batch_size must be at most the {search.n_images} search images, got {batch_size}.")
    # Whole batches only: a last short one would weigh as much in the mean.
    starts = range(0, search.n_images - batch_size + 1, batch_size)
    return [search.part(start, start + batch_size) for start in starts]


def _table(network: ParentNetwork, split: Split) -> ImageTable:
    return ImageTable(network, split.flat.numpy(), split.labels.numpy())
