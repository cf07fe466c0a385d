"""Masks by pruning criteria: magnitude, SNIP, GraSP, SynFlow, lottery tickets and others, from initial weights on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor
from torch.nn import functional

from opt.console.errors import UsageError, check_choice
from problems.data.examples import mapped
from problems.masking.criteria import MASK_CRITERIA, filter_scores
from problems.masking.selection import MaskScope, keep_highest, lottery_keep_counts
from problems.masking.sensitivity import (
    GRASP_TEMPERATURE,
    grasp_scores,
    snip_scores,
    synflow_rounds,
    synflow_scores,
)
from problems.masking.space import MaskSpace, WeightSpace
from problems.masking.training_plans import TrainingPlan, digest_of
from problems.networks.storage.checkpoints import as_numpy, read_safetensors
from problems.networks.storage.kept import cache_file, cache_key, kept
from problems.workloads.further_training import mean_loss
from problems.workloads.plain_network import tensors_of
from problems.workloads.workload import Workload

ALIASES = {"magsign": "large_final_same_sign", "magnitude": "large_final"}
"""The field's names for two of Zhou et al.'s criteria."""

_VERSION = 2

OF_TRAINING = ("magnitude_increase", "movement", "large_final_same_sign", "large_final_diff_sign")
"""Criteria that compare weights before and behind a training: without one they say nothing."""


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
        workload: Its network stands at its initial weights, and is left as it is; its first training examples serve
            gradients.
        space: What the places of a mask stand for.
        training: How networks are trained, for criteria that look at final weights.
        final_epochs: Epochs to the final weights; 0 where the network is trained already.
        lottery_epochs: Epochs of each round of `lth`.
        seed: Of random masks.
        scope: How layers are compared.
        least: Fewest places of each layer.
        n_examples: Training examples that gradients are taken on.
    """

    def __init__(
        self,
        workload: Workload,
        space: MaskSpace,
        training: TrainingPlan,
        *,
        final_epochs: int,
        lottery_epochs: int,
        seed: int,
        scope: MaskScope,
        least: int,
        n_examples: int,
    ) -> None:
        self.workload, self.space, self.training = workload, space, training
        self.model = workload.network
        self.final_epochs, self.lottery_epochs = final_epochs, lottery_epochs
        self.seed, self.scope, self.least = seed, scope, least
        self.n_examples = n_examples
        is_named = workload.dataset is not None
        self._loss = functional.cross_entropy if is_named else mean_loss(workload)
        are_logits = is_named or workload.loss_name == "cross-entropy"
        self._temperature = GRASP_TEMPERATURE if are_logits else 1.0
        self.n = sum(space.sizes)
        self._known: dict[tuple[str, int], np.ndarray] = {}

    def mask(self, name: str, n_kept: int) -> np.ndarray:
        """(n,) bool with `n_kept` ones.

        Raises:
            UsageError: No such criterion, or it cannot be had of this network.
        """
        name = ALIASES.get(check_criterion(name), name)
        if reason := self.misfit(name):
            raise UsageError(f"criterion {name} {reason}")
        key = (name, n_kept)
        if key not in self._known:
            self._known[key] = self._kept(name, n_kept) if name in IN_ROUNDS else self._make(name, n_kept)
        return self._known[key]

    def misfit(self, name: str) -> str:
        """Why a criterion says nothing of this network; "" where it does."""
        name = ALIASES.get(name, name)
        if name in OF_TRAINING and not self.final_epochs:
            return "compares weights before and behind a training; give --problem.final_epochs"
        if name == "lth" and self.workload.dataset is None and self.workload.recipe is None:
            return "trains networks, and the workload has no recipe; give it one: Workload(recipe=...)"
        return ""

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
        return self._pooled("snip", lambda: self._sensitivity(snip_scores))

    def grasp(self) -> list[np.ndarray]:
        """GraSP's, `sensitivity.grasp_scores`."""
        return self._pooled(
            "grasp", lambda: self._sensitivity(functools.partial(grasp_scores, temperature=self._temperature))
        )

    def _sensitivity(self, scores: Callable[..., list[np.ndarray]]) -> list[np.ndarray]:
        few = self.workload.train.subset(slice(0, self.n_examples))
        model, names, pick = self.model, self.space.names, self.workload.picked
        return scores(model, names, few.inputs, few.targets, loss=self._loss, pick=pick)

    def _pooled(self, name: str, scores: Callable[[], Sequence[np.ndarray]]) -> list[np.ndarray]:
        """Scores of places from those of weights.

        Raises:
            UsageError: They cannot be had, or say nothing.
        """
        try:
            found = scores()
        except UsageError:
            raise
        except Exception as error:  # a user's forward or loss may not be differentiated, or not twice
            reason = " ".join(str(error).split())
            raise UsageError(f"criterion {name} fails on this network: {type(error).__name__}: {reason}") from None
        if not all(np.isfinite(part).all() for part in found):
            raise UsageError(f"criterion {name} gives scores that are not finite on this network")
        if self.workload.dataset is None and not any(part.any() for part in found):
            raise UsageError(f"criterion {name} scores every weight of this network 0")
        return self.space.pool(found)

    def of_weights(self, name: str) -> list[np.ndarray]:
        """Those of initial and final weights, by the name in `MASK_CRITERIA`."""
        return self._weight_scores(name, self.weights(), self.weights(self.final_state()))

    def final_state(self) -> dict[str, Tensor]:
        """The state after the whole training."""
        return self.training.states(self.model, [self.final_epochs])[self.final_epochs]

    def weights(self, state: dict[str, Tensor] | None = None) -> list[np.ndarray]:
        """Weights of the masked layers, initial ones without a state."""
        state = tensors_of(self.model) if state is None else state
        return [as_numpy(state[f"{name}.weight"]).astype(np.float64) for name in self.space.names]

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
        one = mapped(self.workload.example, lambda tensor: tensor[:1])

        def score(mask: np.ndarray | None) -> np.ndarray:
            masks, pick = None if mask is None else self._layer_masks(mask), self.workload.picked
            scores = functools.partial(synflow_scores, self.model, self.space.names, one, masks, pick=pick)
            return np.concatenate(self._pooled("synflow", scores))

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
        for counts in lottery_keep_counts(sizes, n_kept):
            model = copy.deepcopy(self.model)
            self.training.train(model, self.space.tensors(mask), self.lottery_epochs)
            final = self.weights(tensors_of(model))
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
            "made on": self.training.about(),
            "initial": digest_of(self.model),
            "space": [type(self.space).__name__, *zip(self.space.labels, self.space.sizes, strict=True)],
            "options": [self.scope, self.least, self.seed],
            "epochs": self.lottery_epochs if name == "lth" else None,
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
