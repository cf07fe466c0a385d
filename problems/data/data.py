"""Image data sets with a fixed train / search / test split."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from opt.console.errors import UsageError, check_choice
from opt.console.parameters import checked
from opt.console.ranges import Seed
from opt.files.cache_folder import in_home
from opt.files.plain_file import is_folder
from problems.data import cifar
from problems.data.idx import read_idx
from problems.data.sources import IDX_SOURCES, cifar_files, find_plain_or_gzipped, idx_files

# File names accepted in a user's own folder, each plain or gzipped.
_FOLDER_FILES = (
    ("train-images-idx3-ubyte", "train-images"),
    ("train-labels-idx1-ubyte", "train-labels"),
    ("t10k-images-idx3-ubyte", "test-images-idx3-ubyte", "test-images"),
    ("t10k-labels-idx1-ubyte", "test-labels-idx1-ubyte", "test-labels"),
)
_DIGITS_TEST_SEED = 1797
MOST_CLASSES = 65_536
"""A label beyond is no class but a lie: networks get an output for each."""

_Arrays = tuple[np.ndarray, np.ndarray]  # images (n, c, h, w) uint8, labels (n,) int64


class Stored(NamedTuple):
    """A data set as it is stored; `white` is the value of a pixel that becomes 1."""

    train: _Arrays
    test: _Arrays
    white: int = 255


@dataclasses.dataclass(frozen=True, eq=False)
class Split:
    """Images and labels of one part of a data set.

    Args:
        pixels: (n, c, h, w) uint8 as stored; converted only when asked for.
        labels: (n,) int64.
        white: Value of a pixel that becomes 1.
    """

    pixels: Tensor
    labels: Tensor
    white: int = 255

    def __len__(self) -> int:
        return len(self.labels)

    @functools.cached_property
    def images(self) -> Tensor:
        """(n, c, h, w) float32 in [0, 1]."""
        return self.pixels.float().div_(self.white)

    @property
    def inputs(self) -> Tensor:
        """The images, by the name that inputs of any kind have."""
        return self.images

    @property
    def flat(self) -> Tensor:
        """(n, c * h * w) float32 in [0, 1], a view of `images`."""
        return self.images.flatten(1)

    def channels_last(self) -> Split:
        """The split with its images in the layout in which convolutions are fastest."""
        fast = Split(self.pixels, self.labels, self.white)
        fast.__dict__["images"] = self.images.contiguous(memory_format=torch.channels_last)
        return fast

    def row_major(self) -> Split:
        """The split with strides in the order of its axes.

        Stored maps of one channel also count as channels last; then what a convolution makes of them is laid out so,
        and torch's `view` in a user's network refuses it.
        """
        return Split(self.pixels.clone(memory_format=torch.contiguous_format), self.labels, self.white)

    def batch(self, ids: Tensor) -> tuple[Tensor, Tensor]:
        """Images (b, c, h, w) and labels at (b,) positions."""
        return self.images[ids], self.labels[ids]

    def subset(self, ids: Tensor | slice) -> Split:
        """The images of the given positions, in their order."""
        return Split(self.pixels[ids], self.labels[ids], self.white)


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in three disjoint parts.

    Args:
        name: As asked for.
        train: For training; early stopping takes its validation part from here.
        search: What a search evaluates on.
        test: Held out; the data set's own test set.
        n_classes: Labels are 0 .. n_classes - 1.
        fingerprint: SHA-256 of all contents and of which image is in which part.
    """

    name: str
    train: Split
    search: Split
    test: Split
    n_classes: int
    fingerprint: str

    def row_major(self) -> Dataset:
        """The same data set, each split as `Split.row_major` has it."""
        splits = {name: getattr(self, name).row_major() for name in ("train", "search", "test")}
        return dataclasses.replace(self, **splits)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(channels, height, width)."""
        c, h, w = self.train.pixels.shape[1:]
        return c, h, w

    @property
    def n_inputs(self) -> int:
        """Values per image."""
        return int(np.prod(self.input_shape))


@checked
def load_dataset(
    name: str,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    split_seed: Seed = 0,
    n_search: float | None = None,
) -> Dataset:
    """Load a data set and split it.

    Looked for in `data_dir`, `$OPT_DATA_DIR`, the cache folder, /usr/share/datasets (Debian's packages), ~/.cache
    and ./data, then downloaded and checked.

    Args:
        name: One of `DATASETS`, or a folder of IDX files (train-images-idx3-ubyte, train-labels-idx1-ubyte,
            t10k-images-idx3-ubyte, t10k-labels-idx1-ubyte, plain or gzipped).
        data_dir: Folder of the files, or of folders named after data sets.
        download: Whether files that aren't found may be fetched.
        split_seed: Which images of the training set become the search split.
        n_search: Size of the search split: a count, or a fraction of the training set; None takes 10,000 or a
            fifth of the training set, whichever is less.

    Returns:
        The data set; the same arguments give the same splits everywhere.

    Raises:
        UsageError: unknown name, files missing, damaged or not matching each other, impossible n_search.
    """
    folder = None if data_dir is None else in_home(data_dir)
    if name not in DATASETS and is_folder(in_home(name)):
        stored = _folder(in_home(name))
    else:
        stored = DATASETS[check_choice("data", name, DATASETS, more=" or a folder of IDX files")](folder, download)
    return split_images(name, stored, split_seed=split_seed, n_search=n_search)


def split_images(name: str, stored: Stored, *, split_seed: int, n_search: float | None) -> Dataset:
    """Images of a set split by seed, as `load_dataset` does.

    Raises:
        UsageError: The images have several shapes, or n_search is impossible.
    """
    shapes = [images.shape[1:] for images, _ in (stored.train, stored.test)]
    if shapes[0] != shapes[1]:
        raise UsageError(
            f"the images of {name!r} must have one shape, got {shapes[0]} for training and {shapes[1]} for testing; "
            "check that the files belong together."
        )
    return _split(name, stored, split_seed, n_search)


def _split(name: str, stored: Stored, split_seed: int, n_search: float | None) -> Dataset:
    train, test, white = stored.train, stored.test, stored.white
    n_train = len(train[0])
    count = _search_size(n_train, n_search)
    order = np.random.default_rng(split_seed).permutation(n_train)
    digest = hashlib.sha256()
    for array in (*train, *test, order[:count].astype("<i8")):
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    pixels, labels = torch.from_numpy(train[0]), torch.from_numpy(train[1])
    # In shuffled order: the first k images of a split are a random sample of it.
    parts = [torch.from_numpy(ids) for ids in (order[count:], order[:count])]
    return Dataset(
        name=name,
        train=Split(pixels[parts[0]], labels[parts[0]], white),
        search=Split(pixels[parts[1]], labels[parts[1]], white),
        test=Split(torch.from_numpy(test[0]), torch.from_numpy(test[1]), white),
        n_classes=int(max(train[1].max(), test[1].max())) + 1,
        fingerprint=digest.hexdigest(),
    )


def _search_size(n_train: int, n_search: float | None) -> int:
    if n_search is None:
        count = min(10_000, n_train // 5)
    elif isinstance(n_search, float) and 0 < n_search < 1:
        count = round(n_search * n_train)
    else:
        count = int(n_search)
    if not 1 <= count < n_train or (n_search is not None and n_search >= 1 and count != n_search):
        raise UsageError(
            f"n_search must be a count from 1 to {n_train - 1} or a fraction between 0 and 1, got {n_search}; "
            "some training images must remain."
        )
    return count


def _digits(folder: Path | None, download: bool) -> Stored:
    # scikit-learn takes a second to import; only this data set needs it.
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    ids = np.arange(len(digits.target))
    train, test = train_test_split(ids, test_size=0.2, stratify=digits.target, random_state=_DIGITS_TEST_SEED)
    pixels = digits.images.astype(np.uint8)[:, None]
    labels = digits.target.astype(np.int64)
    return Stored((pixels[train], labels[train]), (pixels[test], labels[test]), white=16)


def _idx_set(name: str, folder: Path | None, download: bool) -> Stored:
    return _of_idx_files(idx_files(name, data_dir=folder, download=download), is_qmnist=name == "qmnist")


def _cifar10(folder: Path | None, download: bool) -> Stored:
    batches = [cifar.read_cifar_batch(path) for path in cifar_files(data_dir=folder, download=download)]
    images, labels = zip(*batches[:-1], strict=True)
    return Stored((np.concatenate(images), np.concatenate(labels)), batches[-1])


DATASETS: dict[str, Callable[[Path | None, bool], Stored]] = {
    "digits": _digits,
    **{name: functools.partial(_idx_set, name) for name in IDX_SOURCES},
    "cifar10": _cifar10,
}
"""What reads each named data set: `(folder of its files or None, whether they may be downloaded) -> arrays`."""


def _folder(folder: Path) -> Stored:
    """A user's own folder of IDX files with images of bytes and classes."""
    return _of_idx_files(folder_files(folder))


def folder_files(folder: Path) -> list[Path]:
    """The four IDX files in a user's own folder: train images, train labels, test images, test labels.

    Raises:
        UsageError: One is missing; with its names.
    """
    return [_find_in_folder(folder, names) for names in _FOLDER_FILES]


def is_idx_folder(folder: Path) -> bool:
    """Whether a folder holds any of the four IDX files."""
    return any(find_plain_or_gzipped(folder, name) for names in _FOLDER_FILES for name in names)


def _of_idx_files(paths: Sequence[Path], *, is_qmnist: bool = False) -> Stored:
    return Stored(
        _read_idx_pair(paths[0], paths[1], is_qmnist=is_qmnist), _read_idx_pair(paths[2], paths[3], is_qmnist=is_qmnist)
    )


def _find_in_folder(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        path = find_plain_or_gzipped(folder, name)
        if path:
            return path
    raise UsageError(f"folder {folder} holds no file {names[0]} or {names[0]}.gz; put it there or name another folder.")


def read_idx_examples(image_path: Path, label_path: Path) -> _Arrays:
    """Inputs and targets of two IDX files, whatever they stand for.

    Returns:
        Inputs (n, ...), images of one channel as (n, 1, h, w), and targets (n,) or (n, n_labels); as they are stored.

    Raises:
        UsageError: A file cannot be read, or the two do not belong together.
    """
    inputs, targets = read_idx(image_path), read_idx(label_path)
    if inputs.ndim < 2 or 0 in inputs.shape[1:]:
        raise UsageError(
            f"{image_path} must hold inputs of shape (n, ...), such as images (n, h, w), got {inputs.dtype} "
            f"{inputs.shape}; check that it is the file of images."
        )
    if targets.ndim not in (1, 2) or len(targets) != len(inputs) or not targets.size:
        raise UsageError(
            f"{label_path} must hold one whole number for each of the {len(inputs)} images of {image_path}, or a "
            f"row of numbers, got {targets.dtype} {targets.shape}; check that the two files belong together."
        )
    return inputs[:, None] if inputs.ndim == 3 else inputs, targets


def is_image_set(arrays: _Arrays) -> bool:
    """Whether inputs are images of bytes, and targets classes."""
    inputs, targets = arrays
    return inputs.dtype == np.uint8 and inputs.ndim == 4 and targets.ndim == 1 and targets.dtype.kind in "iu"


def _read_idx_pair(image_path: Path, label_path: Path, *, is_qmnist: bool = False) -> _Arrays:
    """(n, c, h, w) uint8 images and (n,) int64 labels of two IDX files."""
    images, labels = read_idx_examples(image_path, label_path)
    if images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(
            f"{image_path} must hold bytes of shape (n, h, w) or (n, c, h, w), got {images.dtype} {images.shape}; "
            "check that it is the file of images."
        )
    if is_qmnist and labels.ndim == 2:
        labels = labels[:, 0]  # eight numbers an image, the class first
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise UsageError(
            f"{label_path} must hold one whole number for each of the {len(images)} images of {image_path}, "
            f"got {labels.dtype} {labels.shape}; check that the two files belong together."
        )
    check_classes(str(label_path), labels)
    return images, labels.astype(np.int64)


def check_classes(where: str, labels: np.ndarray) -> None:
    """Refuse what are no classes, (n,) whole numbers.

    Raises:
        UsageError: One is below 0, or too large.
    """
    if labels.min() < 0:
        raise UsageError(f"{where} must hold labels from 0 on, got {labels.min()}; renumber the classes.")
    if labels.max() >= MOST_CLASSES:
        raise UsageError(
            f"{where} must hold labels below {MOST_CLASSES}, got {labels.max()}; renumber the classes from 0."
        )
