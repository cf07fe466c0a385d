"""Mask search: which weights or filters of a network are kept, judged before or after training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from operators.masks import (
    Flip,
    GuidedSwap,
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
from opt.console.errors import UsageError
from opt.console.option_groups import flat_options
from opt.problem import CompressionProblem, Move, Objective, Operators, Reference, SamplingFunction, minimise
from problems.data.data import Dataset, Split
from problems.data.sets.data_options import DataOptions
from problems.masking.channels import ChannelSpace
from problems.masking.criterion_masks import CriterionMasks, spread_counts
from problems.masking.dense import MaskedDense, dense_layers
from problems.masking.graph import MaskedGraph, settle_norms
from problems.masking.logit_losses import LOSSES
from problems.masking.mask_options import (
    CriteriaOptions,
    JudgingOptions,
    MaskedNetworkOptions,
    MoveOptions,
    PlacesOptions,
)
from problems.masking.mask_training import briefly_trained
from problems.masking.space import MaskSpace, with_masks, with_signed_constants
from problems.masking.trajectories import trained_states
from problems.networks.layers.sparse import SUFFIX
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import evaluate

MASK_BITS = "mask_bits"
"""A solution's mask, packed as `np.packbits` does, in the order of the problem's places."""

_GUIDED, _SWAP = "guided", "swap"
# Training images that the gradients of criteria are taken on.
_GRADIENT_IMAGES = 1024


class Masks(CompressionProblem):
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
        examples = network.examples_of(data)
        self.dataset: Dataset = examples.as_images()
        self.places, self.judging, self.moves, self.network_seed = places, judging, moves, network.network_seed
        self.model = network.network_on(examples)
        example = self.dataset.train.images[:2]
        self.space: MaskSpace = places.space(self.model, example)
        self.layout = places.layout(self.space)
        self.n_kept, self._bounds = places.n_kept(self.layout), places.bounds(self.layout)
        self.schedule = _schedule(self.dataset, max(criteria.final_epochs, judging.epochs))
        self.state = self._judged_state()
        self._pool = judging.pool(self.dataset)
        self.n_images = min(judging.n_images, len(self._pool))
        self._reference_names = criteria.names()
        self.criteria = CriterionMasks(
            self.model,
            self.space,
            self.dataset,
            schedule=self.schedule,
            lottery_epochs=criteria.lottery_epochs,
            seed=self.network_seed,
            scope=criteria.scope,
            least=self.layout.least,
            n_images=_GRADIENT_IMAGES,
        )
        self._whole = self.space.cost(np.ones(self.layout.n, dtype=bool))
        first = Objective("error", minimise, unit="fraction") if judging.loss == "error" else Masks.objectives[0]
        second = Objective(places.size, minimise, unit="fraction", weight=0.5, worst=1.0)
        self.objectives = (first,) if places.sparsity is not None else (first, second)
        super().__init__(n_var=1, representation="object")
        self._rng: np.random.Generator | None = None
        self._stamp = 0
        self._split = self._first_images()
        self._network_on = self._evaluator(self._split)
        self._labels = self._split.labels.numpy()

    # -- the network --------------------------------------------------------------------------

    def _judged_state(self) -> dict[str, Tensor]:
        """The weights and buffers that masks are put on."""
        epoch = self.judging.epochs
        states = trained_states(
            self.model, self.dataset, epochs=[epoch], schedule=self.schedule, seed=self.network_seed
        )
        state = {name: tensor.detach() for name, tensor in states[epoch].items()}
        return with_signed_constants(state, self.space.names) if self.judging.weights == "signed" else state

    def _first_images(self) -> Split:
        return self._pool.subset(slice(0, self.n_images))

    def _evaluator(self, split: Split) -> MaskedDense | MaskedGraph:
        names = dense_layers(self.model)
        if self.places.level == "weights" and names is not None and names == self.space.names:
            return MaskedDense(names, self.state, split)
        return MaskedGraph(self.model, self.space, self.state, split)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover, mutation and the moves of annealing."""
        layout, (low, high) = self.layout, self._bounds
        largest = self.moves.largest(self.places.level, layout, self.n_kept)
        swap = Swap(layout, largest)
        moves: dict[str, Any] = {_SWAP: swap}
        if self.n_kept is None:
            moves |= {name: Flip(layout, adds, low, high) for name, adds in (("add", True), ("remove", False))}
        if self.moves.guided and not self.judging.train_steps:
            moves[_GUIDED] = GuidedSwap(
                layout,
                largest,
                self.slope,
                lambda: self._stamp,
                renew=self.moves.renew,
                pressure=self.moves.pressure,
                momentum=self.moves.momentum,
            )
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

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Loss, and where sparsity is free the size, of (n, 1) masks on the images of now: (n, n_obj) float64."""
        genomes = list(X[:, 0])
        measure = LOSSES[self.judging.loss].value
        F = np.empty((len(genomes), self.n_obj))
        with torch.no_grad():
            for i, logits in enumerate(self._logits(genomes)):
                F[i, 0] = measure(logits, self._labels)
        if self.n_obj > 1:
            F[:, 1] = [self._size(genome) for genome in genomes]
        return F

    def _logits(self, genomes: list[MaskGenome]) -> Any:
        if not self.judging.train_steps:
            yield from self._network_on.logits(genomes)
            return
        for genome in genomes:
            model = self._trained(genome)
            yield model(self._split.images).T.contiguous().numpy()

    def _trained(self, genome: MaskGenome) -> nn.Module:
        masks = self.space.tensors(genome.mask())
        steps, seed, data = self.judging.train_steps, self.network_seed, self.dataset.train
        return briefly_trained(self.model, self.state, masks, data, steps=steps, schedule=self.schedule, seed=seed)

    def slope(self, genome: MaskGenome) -> np.ndarray:
        """(n,) float32 derivative of the loss by every place of a mask, on `slope_images` images or those of now.

        Which images follows from the mask's key, so that a mask has one slope. For the error, which has none, that of
        the cross-entropy of scaled logits is taken.
        """
        labels, split = self._labels, None
        n_images = min(self.moves.slope_images, len(self._pool))
        if n_images:
            ids = np.random.default_rng(genome.words).choice(len(self._pool), n_images, replace=False)
            split = self._pool.subset(torch.from_numpy(ids))
            labels = split.labels.numpy()
        take = LOSSES[self.judging.loss].slope
        return self._network_on.slope(genome, lambda logits: take(logits, labels), split)

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
            self._show(self._first_images())

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
        self._show(self.dataset.search)
        return True

    def _show(self, split: Split) -> None:
        self._split, self._labels = split, split.labels.numpy()
        self._network_on.show(split)

    def distance(self, X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        """(n,) Hamming distances of masks, row by row."""
        return hamming_distance(X, Y).astype(np.float64)

    # -- solutions ----------------------------------------------------------------------------

    def fingerprint(self, x: np.ndarray) -> bytes:
        """16 bytes that equal masks share."""
        return x[0].key

    def data_fingerprint(self) -> str:
        """Digest of the data set's images and labels."""
        return self.dataset.fingerprint

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
        """The masked network, as it is judged: zeros in place of what is dropped."""
        if self.judging.train_steps:
            return self._trained(x[0]).eval()
        model = copy.deepcopy(self.model)
        model.load_state_dict(with_masks(self.state, self.space.tensors(x[0].mask())))
        settle_norms(model, self._split.images)
        return model.eval()

    def pruned(self, x: np.ndarray) -> nn.Module:
        """The smaller network without the dropped filters and neurons (level filters)."""
        if not isinstance(self.space, ChannelSpace):
            raise UsageError("single weights cannot be cut out of a network; search --problem.level filters")
        return self.space.prune(self.decode(x), x[0].mask())

    def tensors(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """The state of `decode(x)`, each masked parameter's bool mask, `NAME_mask`, and the packed mask itself."""
        state = {name: tensor.numpy() for name, tensor in self.decode(x).state_dict().items()}
        masks = {name + SUFFIX: mask for name, mask in self.space.tensors(x[0].mask()).items()}
        return state | masks | {MASK_BITS: x[0].bits.copy()}

    def test(self, x: np.ndarray) -> dict[str, float]:
        """Accuracy on the test set, of the masked network as it is judged."""
        test = self.dataset.test
        return {"accuracy": evaluate(self.decode(x), test.images, test.labels)[1]}

    # -- what is known ------------------------------------------------------------------------

    def references(self) -> list[Reference]:
        """Masks of known criteria, at the sparsity asked for or at several."""
        counts = [self.n_kept] if self.n_kept else spread_counts(*self._bounds)
        known = []
        for name in self._reference_names:
            masks = [self.criteria.mask(name, count) for count in counts]
            known.append(Reference(name, X=as_population(MaskGenome.from_mask(mask) for mask in masks)))
        return known


def _schedule(dataset: Dataset, epochs: int) -> Schedule:
    # a small set needs small batches, or its epochs are too few steps
    batch_size = min(128, max(10, len(dataset.train) // 100))
    return Schedule.in_thirds(epochs, lr=0.1 if batch_size == 128 else 0.05, batch_size=batch_size)
