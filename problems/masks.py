"""Mask search: which weights or filters of a network are kept, judged before or after training."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from operators.masks import (
    Flip,
    KeepLeast,
    MaskGenome,
    MasksAround,
    MixedMutation,
    RandomMasks,
    Swap,
    UniformMaskCrossover,
    as_population,
    hamming_distance,
)
from opt.console.command import warn
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import Move, Objective, Operators, Reference, SamplingFunction, minimise
from problems.data.examples import Examples, ImageExamples
from problems.data.sets.data_options import DataOptions
from problems.masking.channels import ChannelSpace
from problems.masking.criterion_masks import CriterionMasks, spread_counts
from problems.masking.dense import MaskedDense, dense_layers
from problems.masking.graph import MaskedGraph, examples_last, settle_norms
from problems.masking.mask_options import (
    SEEN,
    CriteriaOptions,
    JudgingOptions,
    MaskedNetworkOptions,
    MoveOptions,
    PlacesOptions,
    layers_of,
    training_plan,
)
from problems.masking.measures import measure_of
from problems.masking.space import MaskSpace, mask_parameters, one_value_each, with_signed_constants
from problems.networks.layers.batch_norms import batch_norms
from problems.networks.layers.plain_attention import packed_with_masks
from problems.networks.storage.checkpoints import as_numpy
from problems.workloads.losses import accuracy
from problems.workloads.network_problem import NetworkProblem
from problems.workloads.plain_network import tensors_of, with_tensors

MASK_BITS = "mask_bits"
"""A solution's mask, packed as `np.packbits` does, in the order of the problem's places."""

# Training examples that the gradients of criteria are taken on.
_GRADIENT_EXAMPLES = 1024
# Networks trained for single masks that are remembered.
_MOST_TRAINED = 8
_TEST_BATCH = 2000


class Masks(NetworkProblem):
    """Which weights or filters of a network are kept, at a fixed sparsity or at any.

    A mask is judged on the search split by the network that it leaves: at its initial weights, after some epochs of
    training of the whole network, or after a short training of its own. By default the network is LeNet-300-100
    at its initial weights, four fifths of them dropped, and what is minimised is the cross-entropy of logits brought to
    one scale. `configs/masks-published.yaml` is the published search.

    Args:
        data: The data set, `DataOptions`.
        network: The network that is masked, `MaskedNetworkOptions`.
        places: What the places of a mask stand for, `PlacesOptions`.
        judging: What masks are judged by, `JudgingOptions`.
        moves: How masks begin and change, `MoveOptions`.
        criteria: Masks of known criteria, `CriteriaOptions`.
    """

    objectives: Sequence[Objective] = (Objective("loss", minimise, unit="nats"),)

    @flat_options
    def __init__(
        self,
        *,
        data: DataOptions,
        network: MaskedNetworkOptions,
        places: PlacesOptions,
        judging: JudgingOptions,
        moves: MoveOptions,
        criteria: CriteriaOptions,
    ) -> None:
        self.workload = places.form_of(network.workload_on(data))
        self.dataset, self.model = self.workload.dataset, self.workload.network
        self.places, self.judging, self.moves, self.network_seed = places, judging, moves, network.network_seed
        self.measure = measure_of(self.workload, judging.loss)
        self.training = training_plan(self.workload, judging, criteria, seed=self.network_seed)
        self._compressible = layers_of(self.workload)
        self.space: MaskSpace = places.space(self.workload, self._compressible)
        self.layout = places.layout(self.space)
        self.n_kept, self._bounds = places.n_kept(self.layout), places.bounds(self.layout)
        self.criteria = CriterionMasks(
            self.workload,
            self.space,
            self.training,
            final_epochs=criteria.n_final_epochs(is_trained=network.workload is not None),
            lottery_epochs=criteria.lottery_epochs,
            seed=self.network_seed,
            scope=criteria.scope,
            least=self.layout.least,
            n_examples=_GRADIENT_EXAMPLES,
        )
        self._reference_names, self._left_out = criteria.that_fit(self.criteria.misfit, start=moves.start)
        self.state = self._judged_state()
        self._pool = judging.pool(self.workload)
        self.n_images = min(judging.n_images, len(self._pool))
        self._whole = self.space.cost(np.ones(self.layout.n, dtype=bool))
        second = Objective(places.size, minimise, unit="fraction", weight=0.5, worst=1.0)
        self.objectives = (self.measure.objective,) if places.sparsity is not None else (self.measure.objective, second)
        super().__init__(n_var=1, representation="object")
        self._rng: np.random.Generator | None = None
        self._stamp = 0
        self._shown = self._first_examples()
        self._network_on = self._evaluator(self._shown)
        self._trained_networks: OrderedDict[bytes, nn.Module] = OrderedDict()
        self._slope_fails = self._why_no_slope()

    # -- the network --------------------------------------------------------------------------

    def _judged_state(self) -> dict[str, Tensor]:
        """The weights and buffers that masks are put on."""
        epoch = self.judging.epochs
        state = {name: tensor.detach() for name, tensor in self.training.states(self.model, [epoch])[epoch].items()}
        if self.judging.weights == "signed":
            state = with_signed_constants(state, self.space.names)
        return one_value_each(state, self.model)

    def _first_examples(self) -> Examples:
        return self._pool.subset(slice(0, self.n_images))

    def _evaluator(self, shown: Examples, *, is_traced: bool = True) -> MaskedDense | MaskedGraph:
        names = dense_layers(self.model) if is_traced and isinstance(shown, ImageExamples) else None
        if self.places.level == "weights" and names is not None and names == self.space.names:
            assert isinstance(shown, ImageExamples)
            return MaskedDense(names, self.state, shown)
        return MaskedGraph(self.model, self.space, self.state, shown, workload=self.workload, is_traced=is_traced)

    def _why_no_slope(self) -> str:
        """Why the loss of a user's own workload cannot be differentiated by a mask; "" where it can."""
        if self.dataset is not None or not self.moves.guided or self.judging.train_steps:
            return ""
        try:
            self._slope_on(MaskGenome.from_mask(np.ones(self.layout.n, dtype=bool)), self._shown.subset(slice(0, SEEN)))
        except Exception as error:  # a user's forward or loss may not be differentiable in any way
            return " ".join(str(error).split()) or type(error).__name__
        return ""

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover, mutation and the moves of annealing."""
        layout, (low, high) = self.layout, self._bounds
        largest = self.moves.largest(self.places.level, layout, self.n_kept)
        swap = Swap(layout, largest)
        moves: dict[str, Any] = {"swap": swap}
        if self.n_kept is None:
            moves |= {name: Flip(layout, adds, low, high) for name, adds in (("add", True), ("remove", False))}
        if self.moves.guided and not self.judging.train_steps and not self._slope_fails:
            moves["guided"] = self.moves.guided_swap(layout, largest, self.slope, lambda: self._stamp)
        sampling: SamplingFunction = RandomMasks(layout, low, high)
        if self.moves.start != "random":
            sampling = MasksAround(self._start_masks(), swap, largest=0.05)
        return Operators(
            sampling=sampling,
            crossover=UniformMaskCrossover(layout, balanced=self.n_kept is not None),
            mutation=MixedMutation(tuple(moves.values()), smallest=1 / largest),
            repair=KeepLeast(layout, fixed=self.n_kept is not None) if layout.least else None,
            moves={name: Move(move, has_step=True) for name, move in moves.items()},
        )

    def _start_masks(self) -> list[MaskGenome]:
        counts = [self.n_kept] if self.n_kept else spread_counts(*self._bounds)
        return [MaskGenome.from_mask(self.criteria.mask(self.moves.start, count)) for count in counts]

    def fast(self, X: np.ndarray) -> np.ndarray:
        """Loss, and where sparsity is free the size, of (n, 1) masks on the examples of now: (n, n_obj) float64."""
        genomes = list(X[:, 0])
        F = np.empty((len(genomes), self.n_obj))
        with torch.no_grad():
            for i, answers in enumerate(self._answers(genomes)):
                F[i, 0] = self.measure.value(answers, self._shown.targets)
        if self.n_obj > 1:
            F[:, 1] = [self._size(genome) for genome in genomes]
        return F

    def _answers(self, genomes: list[MaskGenome]) -> Iterator[np.ndarray]:
        if not self.judging.train_steps:
            yield from self._network_on.logits(genomes)
            return
        for genome in genomes:
            yield examples_last(self.workload.answers(self._trained(genome), self._shown.inputs))

    def _trained(self, genome: MaskGenome) -> nn.Module:
        known = self._trained_networks
        if genome.key not in known:
            model, state, masks = self.space.trained_by(self.model, self.state, genome.mask())
            known[genome.key] = self.training.briefly_trained(model, state, masks, self.judging.train_steps)
            if len(known) > _MOST_TRAINED:
                known.popitem(last=False)
        return known[genome.key]

    def judged(self, network: nn.Module, x: np.ndarray) -> np.ndarray:
        """(n_obj,) loss of a decoded network by a plain loop, and its size."""
        columns: dict[str, float] = {}
        if isinstance(self.space, ChannelSpace):
            n, counted = sum(p.numel() for p in network.parameters()), self.space.cost(x[0].mask())[0]
            if n != counted:
                raise UsageError(f"{counted} parameters are counted, and the network without the filters has {n}")
        answers = examples_last(self.workload.outputs(network, self._shown))
        columns[self.measure.objective.name] = self.measure.value(answers, self._shown.targets)
        return np.array([columns.get(o.name, self._size(x[0])) for o in self.objectives])

    def rebuilt(self, state: dict[str, Tensor], x: np.ndarray) -> nn.Module:
        """The network with the saved tensors, of cut filters one of the saved shapes."""
        return with_tensors(self.space.cut(self.model, x[0].mask()), state)

    def run_whole(self) -> None:
        """From now on judge decoded networks; slopes are those of the network run whole, too."""
        super().run_whole()
        self._network_on = self._evaluator(self._shown, is_traced=False)

    def extremes(self) -> np.ndarray | None:
        """(2, 1) masks that keep as few and as many places as any, where that is free."""
        if self.n_kept is not None:
            return None
        return np.concatenate([RandomMasks(self.layout, n, n)(1, np.random.default_rng(0)) for n in self._bounds])

    def tolerances(self) -> np.ndarray:
        """(n_obj,): one example for shares of right answers, 1e-4 for losses, nothing for counts."""
        first = 1.0 / len(self._shown) if self.measure.objective.unit == "fraction" else 1e-4
        return np.array([first + 1e-9, 1e-9][: self.n_obj])

    def about(self) -> list[str]:
        """What is judged, what share of the network can be masked, and what is left out."""
        whole = self.decode(as_population([MaskGenome.from_mask(np.ones(self.layout.n, dtype=bool))])[0])
        values = ", ".join(f"{name} {value:.4g}" for name, value in self.workload.judge(whole, self._shown).items())
        notes = [f"with every place kept, on the {len(self._shown)} examples that masks are judged on: {values}"]
        if batch_norms(self.model):
            notes.append("batch norms take their statistics from these examples, for each mask anew")
        notes.append((self.space.cuttable if isinstance(self.space, ChannelSpace) else self._compressible).summary())
        notes += [f"criterion {name} is left out: it {reason}" for name, reason in self._left_out.items()]
        if self._slope_fails:
            notes.append(f"guided moves are left out, as the loss has no slope: {self._slope_fails}")
        return notes

    def verify(self, rng: np.random.Generator) -> Sequence[str]:
        """As for every network; behind it nothing that it computed is remembered."""
        notes = super().verify(rng)
        self._network_on.show(self._shown)
        return notes

    def slope(self, genome: MaskGenome) -> np.ndarray:
        """(n,) float32 derivative of the loss by every place of a mask, on `slope_images` images or those of now.

        Which images follows from the mask's key, so that a mask has one slope. For the error, which has none, that of
        the cross-entropy of scaled logits is taken, and of a workload that of its loss.
        """
        n_images = min(self.moves.slope_images, len(self._pool))
        if not n_images:
            return self._slope_on(genome, None)
        ids = np.random.default_rng(genome.words).choice(len(self._pool), n_images, replace=False)
        return self._slope_on(genome, self._pool.subset(torch.from_numpy(ids)))

    def _slope_on(self, genome: MaskGenome, examples: Examples | None) -> np.ndarray:
        targets = (self._shown if examples is None else examples).targets
        return self._network_on.slope(genome, lambda answers: self.measure.slope(answers, targets), examples)

    def _size(self, genome: MaskGenome) -> float:
        if self.places.size == "kept":
            return genome.n_kept / genome.n
        which = 0 if self.places.size == "parameters" else 1
        return self.space.cost(genome.mask())[which] / self._whole[which]

    def begin_run(self, rng: np.random.Generator) -> None:
        """Images that change during a run are drawn from `rng`."""
        self._rng = rng
        if self._stamp:
            self._stamp = 0
            self._show(self._first_examples())

    def begin_generation(self, n_gen: int) -> bool:
        """Draw other images when it is time."""
        resample = self.judging.resample
        if not resample or n_gen == 1 or (n_gen - 1) % resample:
            return False
        assert self._rng is not None
        ids = self._rng.choice(len(self._pool), self.n_images, replace=False)
        self._stamp += 1
        self._show(self._pool.subset(torch.from_numpy(ids)))
        return True

    def end_search(self) -> bool:
        """With changing images the last population is judged on the whole search split."""
        if not self._stamp:
            return False
        self._show(self.workload.search)
        return True

    def _show(self, examples: Examples) -> None:
        self._shown = examples
        self._network_on.show(examples)

    def distance(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """(n,) Hamming distances of masks, row by row."""
        return hamming_distance(X, Y).astype(np.float64)

    # -- solutions ----------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """16 bytes that equal masks share."""
        return x[0].key

    def data_fingerprint(self) -> str:
        """Digest of the examples, and of what else the workload is."""
        return self.workload.data_fingerprint

    def describe(self, x: np.ndarray) -> dict[str, Any]:
        """Places kept, by layer too, parameters and multiply-adds."""
        genome: MaskGenome = x[0]
        mask = genome.mask()
        parameters, macs = self.space.cost(mask)
        row: dict[str, Any] = {"sparsity": 1 - genome.n_kept / genome.n, f"{self.places.level}_kept": genome.n_kept}
        parts = zip(self.space.labels, self.layout.split(mask), strict=True)
        row |= {f"kept_{label}": float(part.mean()) for label, part in parts}
        return row | {"parameters": parameters, "macs": macs}

    def decode(self, x: np.ndarray) -> nn.Module:
        """The network as it is judged: zeros in place of dropped weights, and dropped filters cut out."""
        mask = x[0].mask()
        if self.judging.train_steps:
            return self.space.cut(copy.deepcopy(self._trained(x[0])), mask)
        model = with_tensors(self.model, self.state)
        mask_parameters(model, self.space.tensors(mask))
        model = self.space.cut(model, mask)
        settle_norms(model, self._shown.inputs)
        return model

    def pruned(self, x: np.ndarray) -> nn.Module:
        """The smaller network without the dropped filters and neurons (level filters)."""
        if not isinstance(self.space, ChannelSpace):
            raise UsageError("single weights cannot be cut out of a network; search --problem.level filters")
        return self.decode(x)

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, attention packed again, and the packed mask; of weights each `NAME_mask`, too."""
        decoded = self.decode(x)
        state = {name: as_numpy(tensor) for name, tensor in tensors_of(decoded).items()}
        masks = {} if isinstance(self.space, ChannelSpace) else self.space.tensors(x[0].mask())
        return packed_with_masks(decoded, state, masks) | {MASK_BITS: x[0].bits.copy()}

    def metadata(self, x: np.ndarray) -> dict[str, str]:
        """Of filters that were cut out: the layout by which `load_cut` makes the smaller network again."""
        return self.space.metadata(x[0].mask())

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy on the test set, of the masked network as it is judged; of a workload its loss and metrics."""
        if self.dataset is None:
            return self.workload.judge(self.decode(x), self.workload.test)
        answers = self.workload.outputs(self.decode(x), self.workload.test, batch_size=_TEST_BATCH)
        return {"accuracy": accuracy(answers, self.workload.test.targets)}

    # -- what is known ------------------------------------------------------------------------

    def references(self) -> list[Reference]:
        """Masks of known criteria, at the sparsity asked for or at several."""
        counts = [self.n_kept] if self.n_kept else spread_counts(*self._bounds)
        known = []
        for name in self._reference_names:
            try:
                masks = [self.criteria.mask(name, count) for count in counts]
            except UsageError as error:
                if self.dataset is not None:
                    raise
                warn(f"no reference: {error}")
                continue
            known.append(Reference(name, X=as_population(MaskGenome.from_mask(mask) for mask in masks)))
        return known
