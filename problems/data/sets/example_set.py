"""A data set in three splits of examples, whatever it was read from: by name, from a folder, a file, a function."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from opt.console.errors import UsageError
from problems.data.data import MOST_CLASSES, Dataset, Split
from problems.data.examples import Examples, ImageExamples, Inputs, mapped
from problems.data.scaling import Preparation, Wanted, size_in, statistics
from problems.data.sets.own_data import WHOLE
from problems.data.sets.reading import Stored, read_stored
from problems.data.splits import split_off

_WHITE = 255

TargetKind = Literal["classes", "labels", "numbers"]


@dataclass(frozen=True, eq=False)
class ExampleSet:
    """A data set in three disjoint parts.

    Args:
        name: As asked for.
        train: For training.
        search: What a search evaluates on.
        test: Held out.
        n_classes: Of classes as targets, 0 .. n_classes - 1; 0 where they are something else.
        n_words: Of tokens as inputs, 0 .. n_words - 1; 0 where they are something else.
        prepared: What was done to the inputs, in words.
        notes: What a user should know of it.
        images: The same as images of bytes, where it is such a set and its inputs are not prepared otherwise.
    """

    name: str
    train: Examples
    search: Examples
    test: Examples
    n_classes: int = 0
    n_words: int = 0
    prepared: str = ""
    notes: tuple[str, ...] = ()
    images: Dataset | None = None

    @property
    def kind(self) -> TargetKind:
        """What targets are: one class an example, several labels of 0 and 1, or numbers."""
        if self.train.targets.is_floating_point():
            return "numbers"
        return "classes" if self.n_classes else "labels"

    @property
    def n_outputs(self) -> int:
        """Answers that a network gives for an example."""
        targets = self.train.targets
        return self.n_classes or (1 if targets.ndim == 1 else int(np.prod(targets.shape[1:])))

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of the one input of an example.

        Raises:
            UsageError: There are several.
        """
        return tuple(self._input.shape[1:])

    @property
    def _input(self) -> Tensor:
        inputs = self.train.subset(slice(0, 1)).inputs
        if not isinstance(inputs, Tensor):
            raise UsageError(f"{self.name} has several inputs an example, and this network takes one")
        return inputs

    @property
    def is_tokens(self) -> bool:
        """Whether inputs are whole numbers that stand for words."""
        return not self._input.is_floating_point()

    @functools.cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all contents and of which example is in which part."""
        if self.images is not None:
            return self.images.fingerprint
        digest = hashlib.sha256()
        for part in (self.train, self.search, self.test):
            part.update(digest)
        return digest.hexdigest()

    def row_major(self) -> ExampleSet:
        """The same with images in the order of their axes, as `Split.row_major` has them."""
        if self.images is None:
            return self
        images = self.images.row_major()
        train, search, test = (ImageExamples(part) for part in (images.train, images.search, images.test))
        return replace(self, train=train, search=search, test=test, images=images)

    def as_images(self) -> Dataset:
        """The same as a set of images, for what takes these alone.

        Raises:
            UsageError: Inputs are no images (channels, height, width), or targets no classes.
        """
        if self.images is not None:
            return self.images
        if self.kind != "classes" or len(self.input_shape) != 3 or self.is_tokens:
            what = f"{self.kind} for inputs of shape {self.input_shape}"
            raise UsageError(
                f"this task takes images (channels, height, width) with classes, and {self.name} has {what}"
            )
        train, search, test = (
            Split(part.inputs, part.targets, 1) for part in (self.train, self.search, self.test)
            if isinstance(part.inputs, Tensor)
        )  # fmt: skip
        return Dataset(self.name, train, search, test, self.n_classes, self.fingerprint)

    @functools.cached_property
    def statistics(self) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Mean and standard deviation of each channel or feature of the training inputs."""
        inputs = self.train.inputs
        return statistics(inputs) if isinstance(inputs, Tensor) else ((0.0,), (1.0,))


def of_images(images: Dataset) -> ExampleSet:
    """A set of images of bytes with classes."""
    train, search, test = (ImageExamples(part) for part in (images.train, images.search, images.test))
    prepared = f"divided by {images.train.white}"
    return ExampleSet(images.name, train, search, test, images.n_classes, 0, prepared, images=images)


def load_examples(
    data: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    split_seed: int = 0,
    n_search: float | None = None,
    n_test: float | None = None,
    wanted: Wanted | None = None,
) -> ExampleSet:
    """A data set, split and prepared.

    Args:
        data: One of `NAMES`; a folder of IDX files, or of pictures in one folder a class, perhaps below train, val and
            test; `FILE.npz`; `FILE.csv`; or a function that gives examples, `FILE.py:NAME` or `package.module:NAME`.
        data_dir: Folder of the files of a named set.
        split_seed: Of the splits that are made here.
        n_search: Examples of the search split, or their share; of one that is given, the first so many.
        n_test: Likewise of the test split.
        wanted: How inputs are prepared; None leaves them as they are, and bytes divided by 255.

    Raises:
        UsageError: It is none of these, cannot be read, or its parts do not fit each other.
    """
    wanted = wanted or Wanted()
    raw = read_stored(
        data,
        data_dir=data_dir,
        split_seed=split_seed,
        n_search=n_search,
        size=size_in(wanted.size),
        channels=wanted.channels,
    )
    if raw.images is not None and wanted.is_plain:
        return of_images(_with_test(raw.images, n_test))
    parts = raw.parts
    notes = list(raw.notes)
    try:
        parts = _with_settled_targets(parts, notes)
        parts = _completed(parts, split_seed, n_search, n_test)
        parts, prepared = _prepared(parts, raw, wanted)
        n_classes, n_words = _checked(parts), raw.n_words or _n_words(parts)
    except UsageError as error:
        raise UsageError(f"data {data}: {error}") from None
    return ExampleSet(
        data, parts["train"], parts["search"], parts["test"], n_classes, n_words, prepared, tuple(notes)
    )  # fmt: skip


def _with_test(images: Dataset, n_test: float | None) -> Dataset:
    """Images with the first so many of their test split."""
    if n_test is None:
        return images
    return replace(images, test=images.test.subset(slice(0, _count(n_test, len(images.test), "test"))))


# -- targets, splits, inputs ------------------------------------------------------------------------


def _with_settled_targets(parts: dict[str, Examples], notes: list[str]) -> dict[str, Examples]:
    """Targets of one column as one number, one-hot rows as classes, rows of 0 and 1 as labels."""
    targets = [part.targets for part in parts.values()]
    change: Callable[[Tensor], Tensor] | None = None
    if all(t.ndim == 2 and t.shape[1] == 1 for t in targets) and not any(t.is_floating_point() for t in targets):
        change = _only_column
    elif all(map(_is_zeros_and_ones, targets)):
        is_one_hot = all(bool((t.sum(dim=1) == 1).all()) for t in targets)
        change = _class_of_row if is_one_hot else _labels
        kind = "one-hot targets were taken as classes" if is_one_hot else "targets of 0 and 1 were taken as labels"
        notes.append(kind)
    if change is None:
        return parts
    return {name: Examples(part.inputs, change(part.targets)) for name, part in parts.items()}


def _is_zeros_and_ones(targets: Tensor) -> bool:
    return targets.ndim == 2 and targets.shape[1] > 1 and bool(((targets == 0) | (targets == 1)).all())


def _only_column(targets: Tensor) -> Tensor:
    return targets[:, 0]


def _labels(targets: Tensor) -> Tensor:
    return targets.long()


def _class_of_row(targets: Tensor) -> Tensor:
    return targets.argmax(dim=1)


def _completed(
    parts: dict[str, Examples], seed: int, n_search: float | None, n_test: float | None
) -> dict[str, Examples]:
    """All three splits: those that are given, cut to size, and those that are made of the training examples."""
    train = parts["train"] if "train" in parts else parts[WHOLE]
    made = {}
    for name, size in (("test", n_test), ("search", n_search)):  # what is held out is taken away first
        if name in parts:
            made[name] = _first(parts[name], size, name)
        else:
            train, made[name] = split_off(train, size, seed=seed, name=name)
    return {"train": train, **made}


def _first(examples: Examples, n: float | None, name: str = "test") -> Examples:
    return examples if n is None else examples.subset(slice(0, _count(n, len(examples), name)))


def _count(n: float, total: int, name: str) -> int:
    count = round(n * total) if 0 < n < 1 else int(n)
    if not 0 < count <= total:
        raise UsageError(f"n_{name} must be from 1 to the {total} {name} examples, or a share, got {n}")
    return count


def _prepared(parts: dict[str, Examples], raw: Stored, wanted: Wanted) -> tuple[dict[str, Examples], str]:
    inputs = parts["train"].inputs
    if not isinstance(inputs, Tensor):
        if not wanted.is_plain:
            raise UsageError("several inputs an example are not prepared here; leave out input_... and image_...")
        return parts, "as they are"
    if not (inputs.is_floating_point() or raw.is_bytes):
        if not wanted.is_plain:
            raise UsageError("inputs of whole numbers are tokens, and not prepared; leave out input_... and image_...")
        return parts, "as they are: tokens"
    done = raw.images.train.white if raw.images is not None else 1
    preparation = wanted.on(inputs, usual_scale=_WHITE if raw.is_bytes else done, done=done)

    def change(tensor: Inputs) -> Inputs:
        return mapped(tensor, preparation.apply)

    if preparation != Preparation():
        parts = {name: Examples(change(part.inputs), part.targets) for name, part in parts.items()}
    return parts, preparation.words()


def _checked(parts: dict[str, Examples]) -> int:
    """How many classes there are; 0 where targets are something else.

    Raises:
        UsageError: Splits differ in shape or kind, or targets are no classes.
    """
    train = parts["train"]
    for name, part in parts.items():
        ours = {key: (tuple(t.shape[1:]), t.dtype) for key, t in [*train.parts(), ("targets", train.targets)]}
        theirs = {key: (tuple(t.shape[1:]), t.dtype) for key, t in [*part.parts(), ("targets", part.targets)]}
        for key in ours.keys() | theirs.keys():
            if ours.get(key) != theirs.get(key):
                pair = f"{_shown(ours.get(key))} and {_shown(theirs.get(key))}"
                raise UsageError(f"{key} of train and {name} must be alike, got {pair}")
    if train.targets.is_floating_point() or train.targets.ndim > 1:
        return 0
    least = min(int(part.targets.min()) for part in parts.values())
    largest = max(int(part.targets.max()) for part in parts.values())
    if least < 0 or largest >= MOST_CLASSES:
        raise UsageError(f"classes must be whole numbers from 0 on, below {MOST_CLASSES}, got {least} to {largest}")
    return largest + 1


def _shown(kind: tuple[tuple[int, ...], torch.dtype] | None) -> str:
    return "none" if kind is None else f"{str(kind[1]).removeprefix('torch.')} of shape {kind[0]}"


def _n_words(parts: dict[str, Examples]) -> int:
    inputs = [part.inputs for part in parts.values()]
    if not all(isinstance(t, Tensor) and not t.is_floating_point() for t in inputs):
        return 0
    return max(int(t.max()) for t in inputs if isinstance(t, Tensor)) + 1
