"""Masks by pruning criteria: magnitude, SNIP, GraSP, SynFlow, lottery tickets and others, from initial weights on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor, nn

from opt.console.errors import UsageError, check_choice
from problems.data.data import Dataset
from problems.masking.criteria import MASK_CRITERIA, filter_scores
from problems.masking.masked_sgd import train_masked
from problems.masking.selection import MaskScope, keep_highest, lottery_keep_counts
from problems.masking.sensitivity import grasp_scores, snip_scores, synflow_rounds, synflow_scores
from problems.masking.space import MaskSpace, WeightSpace
from problems.masking.trajectories import digest_of, trained_states
from problems.networks.storage.checkpoints import read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.networks.training.schedule import Schedule

ALIASES = {"magsign": "large_final_same_sign", "magnitude": "large_final"}
"""The field's names for two of Zhou et al.'s criteria."""

_VERSION = 1


def check_criterion(name: str) -> str:
    """The name itself, or with a user error the nearest one."""
    return check_choice("criterion", name, CRITERIA)


def named_criteria(text: str) -> list[str]:
    """Names of criteria separated by commas; all of them, or none.

    Raises:
        UsageError: A name that is none.
    """
    if text in ("all", "none", ""):
        return [name for name in CRITERIA if name not in ALIASES] if text == "all" else []
    return [check_criterion(name.strip()) for name in text.split(",")]


def spread_counts(low: int, high: int, n: int = 8) -> list[int]:
    """Numbers of ones over a range, evenly on a logarithmic scale."""
    return sorted({round(count) for count in np.geomspace(low, high, n)})


class CriterionMasks:
    """What each criterion keeps.

    Args:
        model: The network at its initial weights; left as it is.
        space: What the places of a mask stand for.
        dataset: Trained on, for criteria that look at final weights; its first training images serve gradients.
        schedule: Of the training to the final weights.
        lottery_epochs: Epochs of each round of `lth`.
        seed: Of trainings and of random masks.
        scope: How layers are compared.
        least: Fewest places of each layer.
        n_images: Training images that gradients are taken on.
    """

    def __init__(
        self,
        model: nn.Module,
        space: MaskSpace,
        dataset: Dataset,
        *,
        schedule: Schedule,
        lottery_epochs: int,
        seed: int,
        scope: MaskScope,
        least: int,
        n_images: int,
    ) -> None:
        self.model, self.space, self.dataset = model, space, dataset
        self.schedule, self.lottery_epochs = schedule, lottery_epochs
        self.seed, self.scope, self.least = seed, scope, least
        self.n_images = n_images
        self.n = sum(space.sizes)
        self._known: dict[tuple[str, int], np.ndarray] = {}

    def mask(self, name: str, n_kept: int) -> np.ndarray:
        """(n,) bool with `n_kept` ones.

        Raises:
            UsageError: No such criterion.
        """
        name = ALIASES.get(check_criterion(name), name)
        key = (name, n_kept)
        if key not in self._known:
            self._known[key] = self._kept(name, n_kept) if name in IN_ROUNDS else self._make(name, n_kept)
        return self._known[key]

    def _make(self, name: str, n_kept: int) -> np.ndarray:
        if name in IN_ROUNDS:
            return IN_ROUNDS[name](self, n_kept)
        return self._choose(AT_ONCE[name](self), n_kept)

    def _choose(self, scores: list[np.ndarray], n_kept: int) -> np.ndarray:
        return keep_highest(scores, n_kept, scope=self.scope, least=self.least)

    # -- criteria that score all places once ------------------------------------------------------

    def random_scores(self) -> list[np.ndarray]:
        """Uniform ones."""
        rng = np.random.default_rng([self.seed, 0x52])
        return [rng.random(size) for size in self.space.sizes]

    def snip(self) -> list[np.ndarray]:
        """SNIP's, `sensitivity.snip_scores`."""
        return self.space.pool(snip_scores(self.model, self.space.names, *self._first_images()))

    def grasp(self) -> list[np.ndarray]:
        """GraSP's, `sensitivity.grasp_scores`."""
        return self.space.pool(grasp_scores(self.model, self.space.names, *self._first_images()))

    def _first_images(self) -> tuple[Tensor, Tensor]:
        return self.dataset.train.images[: self.n_images], self.dataset.train.labels[: self.n_images]

    def of_weights(self, name: str) -> list[np.ndarray]:
        """Those of initial and final weights, by the name in `MASK_CRITERIA`."""
        return self._weight_scores(name, self.weights(), self.weights(self.final_state()))

    def final_state(self) -> dict[str, Tensor]:
        """The state after the whole training."""
        last = self.schedule.epochs
        states = trained_states(self.model, self.dataset, epochs=[last], schedule=self.schedule, seed=self.seed)
        return states[last]

    def weights(self, state: dict[str, Tensor] | None = None) -> list[np.ndarray]:
        """Weights of the masked layers, initial ones without a state."""
        state = self.model.state_dict() if state is None else state
        return [state[f"{name}.weight"].numpy().astype(np.float64) for name in self.space.names]

    def _weight_scores(self, name: str, first: list[np.ndarray], last: list[np.ndarray]) -> list[np.ndarray]:
        pairs = zip(first, last, strict=True)
        if isinstance(self.space, WeightSpace):
            return [MASK_CRITERIA[name](a, b).ravel() for a, b in pairs]
        # rows' scores are means, so coupled channels take the mean of theirs
        spread = [np.broadcast_to(_as_column(filter_scores(name, a, b), a), a.shape) / a[0].size for a, b in pairs]
        ones = [np.full(a.shape, 1 / a[0].size) for a in first]
        totals, counts = self.space.pool(spread), self.space.pool(ones)
        return [t / np.maximum(c, 1e-12) for t, c in zip(totals, counts, strict=True)]

    # -- criteria in rounds ---------------------------------------------------------------------

    def synflow(self, n_kept: int) -> np.ndarray:
        """SynFlow's mask."""
        shape = self.dataset.input_shape

        def score(mask: np.ndarray | None) -> np.ndarray:
            masks = None if mask is None else self._layer_masks(mask)
            return np.concatenate(self.space.pool(synflow_scores(self.model, self.space.names, shape, masks)))

        def choose(scores: np.ndarray, k: int) -> np.ndarray:
            return self._choose(np.split(scores, np.cumsum(self.space.sizes)[:-1]), k)

        return synflow_rounds(score, choose, self.n, n_kept)

    def _layer_masks(self, mask: np.ndarray) -> list[np.ndarray]:
        tensors = self.space.tensors(mask)
        return [tensors[f"{name}.weight"] for name in self.space.names]

    def lottery(self, n_kept: int) -> np.ndarray:
        """Train, remove a share of each layer's least weights, rewind, and again."""
        sizes = self.space.sizes
        starts = np.cumsum([0, *sizes])
        mask = np.ones(self.n, dtype=bool)
        schedule = Schedule.in_thirds(self.lottery_epochs, lr=self.schedule.lr, batch_size=self.schedule.batch_size)
        for counts in lottery_keep_counts(sizes, n_kept):
            model = copy.deepcopy(self.model)
            train_masked(model, self.dataset.train, schedule=schedule, seed=self.seed, masks=self.space.tensors(mask))
            final = self.weights({k: v.detach() for k, v in model.state_dict().items()})
            scores = self._weight_scores("large_final", self.weights(), final)
            for layer, (score, k) in enumerate(zip(scores, counts, strict=True)):
                part = slice(starts[layer], starts[layer + 1])
                k = max(k, min(self.least, sizes[layer]))
                ranked = np.argsort(-np.where(mask[part], score, -np.inf), kind="stable")
                mask[part] = False
                mask[starts[layer] + ranked[:k]] = True
        # the least number in each layer can have raised the total
        surplus = int(mask.sum()) - n_kept
        if surplus > 0:
            scores = [np.where(m, s, -np.inf) for m, s in zip(np.split(mask, starts[1:-1]), scores, strict=True)]
            mask = keep_highest(scores, n_kept, least=self.least)
        return mask

    def _kept(self, name: str, n_kept: int) -> np.ndarray:
        """A mask from the cache folder, or made and put there."""
        made_by = {
            "version": _VERSION,
            "criterion": name,
            "n_kept": n_kept,
            "data": self.dataset.fingerprint,
            "initial": digest_of(self.model),
            "space": [type(self.space).__name__, *self.space.labels],
            "options": [self.scope, self.least, self.seed],
            "training": [self.lottery_epochs, self.schedule.lr, self.schedule.batch_size] if name == "lth" else None,
        }
        file = cache_file("masks", cache_key(made_by), name=name)
        read = functools.partial(_read_mask, n=self.n)
        return kept(file, lambda: self._make(name, n_kept), read=read, encode=_encode_mask).value


AT_ONCE: dict[str, Callable[[CriterionMasks], list[np.ndarray]]] = {
    "random": CriterionMasks.random_scores,
    **{name: functools.partial(CriterionMasks.of_weights, name=name) for name in MASK_CRITERIA},
    "snip": CriterionMasks.snip,
    "grasp": CriterionMasks.grasp,
}
"""Scores of every place, one array a layer of places, by criterion: the highest stay."""

IN_ROUNDS: dict[str, Callable[[CriterionMasks, int], np.ndarray]] = {
    "lth": CriterionMasks.lottery,
    "synflow": CriterionMasks.synflow,
}
"""`(masks, n_kept) -> mask` of criteria that remove a share of the places at a time; their masks are kept on disk."""

CRITERIA = ("random", *MASK_CRITERIA, *ALIASES, "lth", "snip", "grasp", "synflow")
"""Names of all criteria, in the order in which they are shown."""


def _as_column(values: np.ndarray, like: np.ndarray) -> np.ndarray:
    return values.reshape(-1, *([1] * (like.ndim - 1)))


def _encode_mask(mask: np.ndarray) -> bytes:
    return safetensors.numpy.save({"mask": np.packbits(mask)})


def _read_mask(file: Path, *, n: int) -> np.ndarray:
    tensors, _ = read_safetensors(file)
    packed = tensors.get("mask")
    if packed is None or packed.dtype != torch.uint8 or packed.shape != ((n + 7) // 8,):
        raise UsageError(f"{file} holds no mask of {n} places")
    return np.unpackbits(packed.numpy(), count=n).astype(bool)
