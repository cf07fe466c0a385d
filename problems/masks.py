"""Mask search: which weights or filters of a network are kept, judged before or after training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from operators.masks import (
    Flip,
    GuidedSwap,
    KeepLeast,
    MaskGenome,
    MaskLayout,
    MasksAround,
    MixedMutation,
    RandomMasks,
    Swap,
    UniformMaskCrossover,
    as_population,
    hamming_distance,
)
from opt.console.errors import UsageError
from opt.console.ranges import COUNT, EPOCHS, SEED, Range, check_ranges
from opt.problem import CompressionProblem, Move, Objective, Operators, Reference, SamplingFunction, minimise
from problems.data.data import Dataset, Split, load_dataset
from problems.masking.channels import ChannelSpace
from problems.masking.criterion_masks import CriterionMasks, check_criterion, named_criteria, spread_counts
from problems.masking.dense import MaskedDense, dense_layers
from problems.masking.graph import MaskedGraph, settle_norms
from problems.masking.logit_losses import LOSSES, Loss
from problems.masking.mask_training import briefly_trained
from problems.masking.selection import MaskScope
from problems.masking.space import MaskSpace, WeightSpace, with_masks, with_signed_constants
from problems.masking.trajectories import trained_states
from problems.networks.architectures.lottery_networks import Init, build_architecture
from problems.networks.layers.prunable import select_layers
from problems.networks.layers.sparse import SUFFIX
from problems.networks.storage.checkpoints import load_weights
from problems.networks.training.schedule import Schedule
from problems.networks.training.training import evaluate
from problems.workloads.own_network import build_own_model, check_answers

Level = Literal["weights", "filters"]
Size = Literal["kept", "parameters", "macs"]

MASK_BITS = "mask_bits"
"""A solution's mask, packed as `np.packbits` does, in the order of the problem's places."""

_GUIDED, _SWAP = "guided", "swap"
_LEAST_FILTERS = 1
_FREE_LEAST = 0.02
# Training images that the gradients of criteria are taken on.
_GRADIENT_IMAGES = 1024


class Masks(CompressionProblem):
    """Which weights or filters of a network are kept, at a fixed sparsity or at any.

    A mask is judged on the search split by the network that it leaves: at its initial weights, after some epochs of
    training of the whole network, or after a short training of its own. By default the network is LeNet-300-100
    at its initial weights, four fifths of them dropped, and what is minimised is the cross-entropy of logits brought to
    one scale. `configs/masks-published.yaml` is the published search.

    Args:
        data: Data set: digits, fashion-mnist, mnist, qmnist, kmnist, cifar10, or a folder of IDX files.
        data_dir: Folder with the data set's files; by default the usual places, then a download.
        model: lenet-300-100, lenet-5, conv-2, conv-4, conv-6, strided-cnn (the published CNN), or a network of your
            own as package.module:function without arguments.
        checkpoint: Its initial weights, a safetensors file; by default they are drawn.
        width: Factor on the number of neurons and filters of the named networks.
        bias: Whether their layers have biases, which are never masked singly; by default only convolutional ones do.
        init: Initial weights of the named networks: torch's uniform distribution, or Glorot's normal one.
        model_seed: Seed of the network's weights and trainings; same-as-run makes each run mask another network.
        level: Masks of single weights, or of filters and neurons with all that hangs on them.
        layers: Layers to mask, shell patterns of names separated by commas; by default all of them.
        sparsity: Share of places that is dropped, or free (null): then the size is an objective.
        per_layer: Whether each layer keeps the same share; otherwise only the sum is fixed.
        size: Size objective where sparsity is free: weights or filters kept, parameters, or multiply-adds.
        epochs: Epochs of training behind the weights that masks are judged on; 0 judges the initial ones.
        weights: Judge the weights as they are (given), or their sign times the layer's standard deviation (signed).
        loss: What is minimised: cross-entropy of scaled logits (scaled), of raw ones (cross-entropy), or the error.
        train_steps: Steps of training of each masked network before it is judged; 0 for none.
        split_seed: Seed of the split of the training images into those for training and those for search.
        n_search: Images in the search split; by default 10,000 or a fifth of the training images.
        n_images: Images of it that masks are judged on, the first so many.
        resample: Generations after which others are drawn, from the search split; 0 for never. The last population is
            then judged once more on the whole split.
        images_from: Draw them from the search split, or from the training images (train).
        start: First masks: random, or those of a criterion and its surroundings: random, magnitude, magsign, lth, snip,
            grasp, synflow, or any other that `references` takes.
        largest_move: Places that a full step exchanges, as a share of those kept; annealing's
            steps are shares of that. By default 0.02 of the weights and 0.2 of the filters; the thesis begins with 1.
        guided: Whether swaps guided by the objective's slope are among the moves.
        slope_images: Images that a slope is taken on, others for each mask, from where `images_from` says; 0 for those
            that masks are judged on.
        renew: Accepted moves between two slopes.
        pressure: Most candidates that a guided move draws for each place that it takes.
        momentum: Share of the old slope that a new one keeps.
        references: Criteria whose masks stand beside the result, separated by commas; all, or none.
        scope: How criteria compare layers: all scores together, the same share of each layer, or scores divided by
            their layer's mean.
        final_epochs: Epochs of the training to the final weights that criteria look at.
        lottery_epochs: Epochs of each round of the criterion lth.
    """

    objectives: Sequence[Objective] = (Objective("loss", minimise, unit="nats"),)

    def __init__(
        self,
        *,
        data: str = "digits",
        data_dir: str | None = None,
        model: str = "lenet-300-100",
        checkpoint: str | None = None,
        width: float = 1.0,
        bias: bool | None = None,
        init: Init = "uniform",
        model_seed: int = 0,
        level: Level = "weights",
        layers: str | None = None,
        sparsity: float | None = 0.8,
        per_layer: bool = False,
        size: Size = "kept",
        epochs: int = 0,
        weights: Literal["given", "signed"] = "given",
        loss: Loss = "scaled",
        train_steps: int = 0,
        split_seed: int = 0,
        n_search: int | None = None,
        n_images: int = 2000,
        resample: int = 0,
        images_from: Literal["search", "train"] = "search",
        start: str = "random",
        largest_move: float | None = None,
        guided: bool = True,
        slope_images: int = 1000,
        renew: int = 1,
        pressure: float = 64.0,
        momentum: float = 0.9,
        references: str = "random,magnitude,magsign,snip,grasp,synflow",
        scope: MaskScope = "global",
        final_epochs: int = 10,
        lottery_epochs: int = 3,
    ) -> None:
        check_ranges(
            sparsity=(sparsity, Range(0.0, 1.0, is_above=True, is_below=True)),
            largest_move=(largest_move, Range(0.0, 1.0, is_above=True)),
            momentum=(momentum, Range(0.0, 1.0, is_below=True)),
            width=(width, Range(0.0, 32.0, is_above=True)),
            model_seed=(model_seed, SEED),
            epochs=(epochs, Range(0, EPOCHS.high)),
            train_steps=(train_steps, Range(0, 1_000_000)),
            n_images=(n_images, COUNT),
            resample=(resample, Range(0, COUNT.high)),
            renew=(renew, COUNT),
            pressure=(pressure, Range(1.0, 1e9)),
            slope_images=(slope_images, Range(0, COUNT.high)),
            final_epochs=(final_epochs, EPOCHS),
            lottery_epochs=(lottery_epochs, EPOCHS),
        )
        if largest_move is None:
            largest_move = 0.02 if level == "weights" else 0.2
        self.dataset: Dataset = load_dataset(data, data_dir=data_dir, split_seed=split_seed, n_search=n_search)
        self.level, self.sparsity, self.loss, self.size = level, sparsity, loss, size
        self.weights, self.train_steps, self.model_seed = weights, train_steps, model_seed
        self.model = self._network(model, checkpoint, width=width, bias=bias, init=init)
        example = self.dataset.train.images[:2]
        check_answers(self.model, example, self.dataset.n_classes)
        self.space: MaskSpace = (
            ChannelSpace(self.model, layers, example)
            if level == "filters"
            else WeightSpace(self.model, select_layers(self.model, layers or "*", example=example), example)
        )
        n = sum(self.space.sizes)
        self.layout = MaskLayout(self.space.sizes, _LEAST_FILTERS if level == "filters" else 0, per_layer)
        self.n_kept = None if sparsity is None else n - int(n * sparsity)
        floor = len(self.space.sizes) * self.layout.least
        if (self.n_kept if self.n_kept is not None else n) < max(floor, 1):
            raise UsageError(
                f"sparsity {sparsity} leaves {self.n_kept} of {n} {level}; at least {max(floor, 1)} must stay."
            )
        self._bounds = (self.n_kept, self.n_kept) if self.n_kept else (max(floor, 1, round(_FREE_LEAST * n)), n)
        self.schedule = self._schedule(max(final_epochs, epochs))
        self.state = self._judged_state(epochs)
        self.n_images = min(n_images, len(self._pool(images_from)))
        self.resample, self._images_from = resample, images_from
        self.largest_move = largest_move
        self.start, self.guided = start, guided and not train_steps
        self.slope_images = min(slope_images, len(self._pool(images_from)))
        self.renew, self.pressure, self.momentum = renew, pressure, momentum
        self._reference_names = named_criteria(references)
        if start != "random":
            check_criterion(start)
        self.criteria = CriterionMasks(
            self.model,
            self.space,
            self.dataset,
            schedule=self.schedule,
            lottery_epochs=lottery_epochs,
            seed=model_seed,
            scope=scope,
            least=self.layout.least,
            n_images=_GRADIENT_IMAGES,
        )
        self._whole = self.space.cost(np.ones(n, dtype=bool))
        first = Objective("error", minimise, unit="fraction") if loss == "error" else Masks.objectives[0]
        second = Objective(size, minimise, unit="fraction", weight=0.5, worst=1.0)
        self.objectives = (first,) if sparsity is not None else (first, second)
        super().__init__(n_var=1, representation="object")
        self._rng: np.random.Generator | None = None
        self._stamp = 0
        self._split = self._pool(images_from).subset(slice(0, self.n_images))
        self._network_on = self._evaluator(self._split)
        self._labels = self._split.labels.numpy()

    # -- the network --------------------------------------------------------------------------

    def _network(self, model: str, checkpoint: str | None, *, width: float, bias: bool | None, init: Init) -> nn.Module:
        if ":" in model:
            network = build_own_model(model, seed=self.model_seed)
        else:
            shape, n_classes = self.dataset.input_shape, self.dataset.n_classes
            network = build_architecture(
                model, shape, n_classes, seed=self.model_seed, width=width, bias=bias, init=init
            )
        if checkpoint is not None:
            load_weights(network, checkpoint)
        return network.requires_grad_(False).eval()

    def _schedule(self, epochs: int) -> Schedule:
        # a small set needs small batches, or its epochs are too few steps
        batch_size = min(128, max(10, len(self.dataset.train) // 100))
        return Schedule.in_thirds(epochs, lr=0.1 if batch_size == 128 else 0.05, batch_size=batch_size)

    def _judged_state(self, epochs: int) -> dict[str, Tensor]:
        states = trained_states(self.model, self.dataset, epochs=[epochs], schedule=self.schedule, seed=self.model_seed)
        state = {name: tensor.detach() for name, tensor in states[epochs].items()}
        return with_signed_constants(state, self.space.names) if self.weights == "signed" else state

    def _pool(self, images_from: str) -> Split:
        return self.dataset.train if images_from == "train" else self.dataset.search

    def _evaluator(self, split: Split) -> MaskedDense | MaskedGraph:
        names = dense_layers(self.model)
        if self.level == "weights" and names is not None and names == self.space.names:
            return MaskedDense(names, self.state, split)
        return MaskedGraph(self.model, self.space, self.state, split)

    # -- search -------------------------------------------------------------------------------

    def operators(self) -> Operators:
        """Sampling, crossover, mutation and the moves of annealing."""
        layout, (low, high) = self.layout, self._bounds
        largest = max(1, round(self.largest_move * min(high, layout.n - high if self.n_kept else high)))
        swap = Swap(layout, largest)
        moves: dict[str, Any] = {_SWAP: swap}
        if self.n_kept is None:
            moves |= {name: Flip(layout, adds, low, high) for name, adds in (("add", True), ("remove", False))}
        if self.guided:
            moves[_GUIDED] = GuidedSwap(
                layout,
                largest,
                self.slope,
                lambda: self._stamp,
                renew=self.renew,
                pressure=self.pressure,
                momentum=self.momentum,
            )
        sampling: SamplingFunction = RandomMasks(layout, low, high)
        if self.start != "random":
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
        return [MaskGenome.from_mask(self.criteria.mask(self.start, count)) for count in counts]

    def evaluate(self, X: np.ndarray, *args: Any, **kwargs: Any) -> np.ndarray:
        """Loss, and where sparsity is free the size, of (n, 1) masks on the images of now: (n, n_obj) float64."""
        genomes = list(X[:, 0])
        measure = LOSSES[self.loss].value
        F = np.empty((len(genomes), self.n_obj))
        with torch.no_grad():
            for i, logits in enumerate(self._logits(genomes)):
                F[i, 0] = measure(logits, self._labels)
        if self.n_obj > 1:
            F[:, 1] = [self._size(genome) for genome in genomes]
        return F

    def _logits(self, genomes: list[MaskGenome]) -> Any:
        if not self.train_steps:
            yield from self._network_on.logits(genomes)
            return
        for genome in genomes:
            model = self._trained(genome)
            yield model(self._split.images).T.contiguous().numpy()

    def _trained(self, genome: MaskGenome) -> nn.Module:
        masks = self.space.tensors(genome.mask())
        steps, seed, data = self.train_steps, self.model_seed, self.dataset.train
        return briefly_trained(self.model, self.state, masks, data, steps=steps, schedule=self.schedule, seed=seed)

    def slope(self, genome: MaskGenome) -> np.ndarray:
        """(n,) float32 derivative of the loss by every place of a mask, on `slope_images` images or those of now.

        Which images follows from the mask's key, so that a mask has one slope. For the error, which has none, that of
        the cross-entropy of scaled logits is taken.
        """
        pool, labels, split = self._pool(self._images_from), self._labels, None
        if self.slope_images:
            ids = np.random.default_rng(genome.words).choice(len(pool), self.slope_images, replace=False)
            split = pool.subset(torch.from_numpy(ids))
            labels = split.labels.numpy()
        take = LOSSES[self.loss].slope
        return self._network_on.slope(genome, lambda logits: take(logits, labels), split)

    def _size(self, genome: MaskGenome) -> float:
        if self.size == "kept":
            return genome.n_kept / genome.n
        which = 0 if self.size == "parameters" else 1
        return self.space.cost(genome.mask())[which] / self._whole[which]

    def begin_run(self, rng: np.random.Generator) -> None:
        """Images that change during a run are drawn from `rng`."""
        self._rng = rng
        if self._stamp:
            self._stamp = 0
            self._show(self._pool(self._images_from).subset(slice(0, self.n_images)))

    def begin_generation(self, n_gen: int) -> bool:
        """Draw other images when it is time."""
        if not self.resample or n_gen == 1 or (n_gen - 1) % self.resample:
            return False
        assert self._rng is not None
        pool = self._pool(self._images_from)
        ids = self._rng.choice(len(pool), self.n_images, replace=False)
        self._stamp += 1
        self._show(pool.subset(torch.from_numpy(ids)))
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
        row: dict[str, Any] = {"sparsity": 1 - genome.n_kept / genome.n, f"{self.level}_kept": genome.n_kept}
        parts = zip(self.space.labels, self.layout.split(mask), strict=True)
        row |= {f"kept_{label}": float(part.mean()) for label, part in parts}
        return row | {"parameters": parameters, "macs": macs}

    def decode(self, x: np.ndarray) -> nn.Module:
        """The masked network, as it is judged: zeros in place of what is dropped."""
        if self.train_steps:
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
