"""Examples of the user's: what a function in a file or a module gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from opt.console.errors import UsageError, nearest
from opt.problem.loading import called, load_named
from problems.data.examples import Examples, as_examples
from problems.data.splits import SPLITS

DEFAULT_NAME = "data"
WHOLE = "data"
"""The name of what is not split yet."""


def own_data(target: str, *, seed: int = 0) -> dict[str, Examples]:
    """Examples by split that a function gives.

    Args:
        target: `FILE.py:NAME`, `FILE.py` (its `data`), or `package.module:NAME` of a function without arguments that
            gives what `as_examples` takes, or a mapping of such by split: train, search (or val) and test.
        seed: Of torch's global generator while it runs, which is put back behind it.

    Returns:
        Examples by split, under "data" where they are not split.

    Raises:
        UsageError: It is not found, needs arguments, fails, or gives something else.
    """
    found = load_named(target, "data", default=DEFAULT_NAME, kinds=(Mapping, tuple, list, Examples))
    if callable(found):
        with torch.random.fork_rng(devices=[]):
            torch.random.manual_seed(seed)
            found = called(found, target, "data")
    try:
        return splits_of(found)
    except UsageError as error:
        raise UsageError(f"data {target}: {error}") from None


def splits_of(data: Any) -> dict[str, Examples]:
    """Examples by split, of what people have.

    Args:
        data: A mapping of splits, or what `as_examples` takes.

    Raises:
        UsageError: A split has another name, or there are no training examples; or as `as_examples`.
    """
    if not isinstance(data, Mapping):
        return {WHOLE: as_examples(data)}
    splits: dict[str, Examples] = {}
    for name, part in data.items():
        word = str(name).lower()
        if word != WHOLE and word not in SPLITS:
            raise UsageError(f"a split must be train, search or test, got {str(name)!r:.60}{nearest(word, SPLITS)}")
        split = WHOLE if word == WHOLE else SPLITS[word]
        if split in splits:
            raise UsageError(f"two splits are {split}, the second is {str(name)!r}; keep one of them")
        try:
            splits[split] = as_examples(part)
        except UsageError as error:
            raise UsageError(f"{name}: {error}") from None
    if ("train" in splits) == (WHOLE in splits):
        raise UsageError(f"splits need train, or data that is split here, got {', '.join(splits) or 'none'}")
    return splits
