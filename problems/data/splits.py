"""Splitting examples by seed into those for training, for search and for the held-out test."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from opt.console.command import warn
from opt.console.errors import UsageError
from problems.data.examples import Examples

SPLITS = {
    "train": "train", "training": "train", "search": "search", "val": "search", "valid": "search",
    "validation": "search", "test": "test", "testing": "test",
}  # fmt: skip
"""Words for a split, and the split."""
LARGEST_SPLIT = 10_000
"""Most examples of a split whose size is not asked for; a fifth of all, where that is less."""
MOST_SHARED = 0.01
"""Larger shares of the search split that are test examples as well are refused."""


def split_off(
    examples: Examples, n: float | None, *, seed: int, name: str, is_spread: bool = True
) -> tuple[Examples, Examples]:
    """Divide examples into the rest and n that are drawn by seed, of classes as many of each as there are.

    Args:
        examples: What is divided; both parts keep its order.
        n: How many are split off, or which share where it is below 1; None takes a fifth, at most `LARGEST_SPLIT`.
        seed: Of the draw.
        name: The new split's name, for errors.
        is_spread: Whether classes keep their shares in both parts.

    Returns:
        (the rest, the new split).

    Raises:
        UsageError: n leaves one of them empty.
    """
    total = len(examples)
    count = min(LARGEST_SPLIT, total // 5) if n is None else round(n * total) if 0 < n < 1 else int(n)
    if not 0 < count < total:
        raise UsageError(f"n_{name} must leave examples on both sides, from 1 to {total - 1}, got {n or count}")
    rng = np.random.default_rng([seed, *name.encode()])
    targets = examples.targets
    ids = rng.permutation(total)
    if is_spread and targets.ndim == 1 and not targets.is_floating_point():
        # every class in turn gives its share: the k-th example of a class of m stands at (k + 1/2) / m
        labels = targets.cpu().numpy()[ids]
        place = np.empty(total)
        for label in np.unique(labels):
            own = np.flatnonzero(labels == label)
            place[own] = (np.arange(len(own)) + 0.5) / len(own)
        ids = ids[np.argsort(place, kind="stable")]
    chosen = np.zeros(total, dtype=bool)
    chosen[ids[:count]] = True
    mask = torch.from_numpy(chosen)
    return examples.subset(~mask), examples.subset(mask)


def digests_of(examples: Examples) -> list[bytes]:
    """A digest of each example's inputs and target."""
    parts = [tensor.detach().cpu().contiguous().numpy() for _, tensor in examples.parts()]
    parts.append(examples.targets.detach().cpu().contiguous().numpy())
    return [
        hashlib.blake2b(b"".join(part[k].tobytes() for part in parts), digest_size=16).digest()
        for k in range(len(examples))
    ]


def check_apart(train: Examples, search: Examples, test: Examples, *, are_given: bool = True) -> None:
    """Warn of examples that stand in two splits; refuse a search split that is made of test examples.

    Args:
        train: For training.
        search: What a search sees.
        test: Held out.
        are_given: Whether search and test are the user's; splits made here share what stands twice in the data.

    Raises:
        UsageError: More than `MOST_SHARED` of the search split are test examples.
    """
    known = {name: set(digests_of(split)) for name, split in (("training", train), ("test", test))}
    own = digests_of(search)
    n_shared = sum(digest in known["test"] for digest in own)
    if are_given and n_shared > MOST_SHARED * len(own):
        raise UsageError(
            f"{n_shared} of {len(own)} search examples are test examples too: what a search sees cannot test its "
            "result; give disjoint splits"
        )
    shared = {"search and test": n_shared, "training and search": sum(digest in known["training"] for digest in own)}
    shared["training and test"] = len(known["training"] & known["test"])
    told = [f"{n} in {names}" for names, n in shared.items() if n]
    if told:
        warn(f"the same examples stand in two splits: {', '.join(told)}")
