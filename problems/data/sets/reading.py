"""Reading examples as they are stored: by a data set's name, from a folder, a file, or a function of the user's."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from opt.console.errors import UsageError, nearest
from opt.files.plain_file import is_file, is_folder
from problems.data.bracket_texts import N_WORDS, bracket_texts
from problems.data.data import (
    DATASETS,
    Dataset,
    folder_files,
    is_idx_folder,
    is_image_set,
    load_dataset,
    read_idx_examples,
)
from problems.data.examples import Examples, ImageExamples, as_targets
from problems.data.picture_folder import picture_folder, split_folders
from problems.data.sets.array_file import read_arrays
from problems.data.sets.own_data import WHOLE, own_data
from problems.data.sets.table_file import read_table
from problems.data.sources import in_home

BRACKETS = "brackets"
NAMES = (*DATASETS, BRACKETS)
"""Data sets by name."""
FORMS = "a folder of IDX files or pictures, FILE.npz, FILE.csv, or FILE.py:FUNCTION or package.module:FUNCTION"
_N_TEXTS = 4000


@dataclass(frozen=True)
class Stored:
    """What a source holds.

    Args:
        parts: Examples by split, under "data" where they are not split.
        n_words: Of tokens, where it is known.
        is_bytes: Whether inputs are bytes, which are divided by 255 unless told otherwise.
        images: The same as a set of images of bytes, where it is one; `parts` are then divided already.
        notes: What a user should know of it.
    """

    parts: dict[str, Examples]
    n_words: int = 0
    is_bytes: bool = False
    images: Dataset | None = None
    notes: tuple[str, ...] = ()


def read_stored(
    data: str,
    *,
    data_dir: str | os.PathLike[str] | None,
    split_seed: int,
    n_search: float | None,
    size: tuple[int, int] | None,
    channels: int | None,
) -> Stored:
    """What a name, a folder, a file or a function holds.

    Args:
        data: As in `load_examples`.
        data_dir: Folder of the files of a named set.
        split_seed: Of the split of sets of images, and of what functions draw.
        n_search: Of sets of images.
        size: (height, width) that pictures of a folder are read in; None where all have one size.
        channels: 3 or 1, of pictures of a folder; None takes 3.

    Raises:
        UsageError: It is none of these, or cannot be read.
    """
    if data in DATASETS:
        images = load_dataset(data, data_dir=data_dir, split_seed=split_seed, n_search=n_search)
        return _of_images(images)
    if data == BRACKETS:
        tokens, depths = bracket_texts(_N_TEXTS, seed=0)
        examples = Examples(torch.from_numpy(tokens), torch.from_numpy(depths))
        return Stored({WHOLE: examples}, n_words=N_WORDS)
    path = in_home(data)
    if is_folder(path):
        return _of_folder(path, data, split_seed, n_search, size, channels or 3)
    head = data.rpartition(":")[0] or data
    if head.endswith(".py") or (":" in data and not is_file(path)):
        return Stored(own_data(data, seed=split_seed))
    readers = {".npz": _of_arrays, ".csv": _of_table}
    if path.suffix.lower() not in readers:
        is_there = f"; {path} is a file of another kind" if is_file(path) else ""
        raise UsageError(
            f"data must be one of {', '.join(NAMES)}, {FORMS}, got {data!r:.300}{nearest(data, NAMES)}{is_there}"
        )
    if not is_file(path):
        beside = [str(p) for p in path.parent.glob(f"*{path.suffix}")] if is_folder(path.parent) else []
        raise UsageError(f"data file {path} does not exist{nearest(str(path), beside)}")
    return readers[path.suffix.lower()](path)


def _of_images(images: Dataset) -> Stored:
    parts = {"train": images.train, "search": images.search, "test": images.test}
    return Stored({name: ImageExamples(part) for name, part in parts.items()}, images=images)


def _of_folder(
    folder: Path, name: str, split_seed: int, n_search: float | None, size: tuple[int, int] | None, channels: int
) -> Stored:
    if is_idx_folder(folder):
        files = folder_files(folder)
        arrays = {
            "train": read_idx_examples(files[0], files[1]),
            "test": read_idx_examples(files[2], files[3]),
        }
        if all(map(is_image_set, arrays.values())):
            return _of_images(load_dataset(name, split_seed=split_seed, n_search=n_search))
        return _of_arrays_by_split(arrays)
    if splits := split_folders(folder):
        pictures, classes = picture_folder(splits.pop("train"), size=size, channels=channels)
        read = functools.partial(picture_folder, size=size, channels=channels, classes=classes)
        return Stored({"train": pictures, **{split: read(path)[0] for split, path in splits.items()}})
    return Stored({WHOLE: picture_folder(folder, size=size, channels=channels)[0]})


def _of_arrays(path: Path) -> Stored:
    return _of_arrays_by_split(read_arrays(path))


def _of_arrays_by_split(arrays: dict[str, tuple[np.ndarray, np.ndarray]]) -> Stored:
    """Arrays as examples: images with their channels first."""
    parts, notes = {}, []
    is_bytes = all(inputs.dtype == np.uint8 for inputs, _ in arrays.values())
    for split, (inputs, targets) in arrays.items():
        if is_bytes and inputs.ndim == 3:
            inputs = inputs[:, None]
        if inputs.ndim == 4 and inputs.shape[1] not in (1, 3, 4) and inputs.shape[3] in (1, 3, 4):
            inputs = inputs.transpose(0, 3, 1, 2)
            notes.append("images with their channels last were turned to channels first")
        parts[split] = Examples(_as_input(inputs, split), _as_target(targets, split))
    return Stored(parts, is_bytes=is_bytes, notes=tuple(dict.fromkeys(notes)))


def _as_input(array: np.ndarray, split: str) -> Tensor:
    if array.dtype.kind not in "biuf" or array.ndim < 1:
        raise UsageError(f"inputs of {split} must be numbers, got {array.dtype} of shape {array.shape}")
    if array.dtype.kind == "f":
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))
    kind = np.uint8 if array.dtype == np.uint8 else np.int64
    return torch.from_numpy(np.ascontiguousarray(array, dtype=kind))


def _as_target(array: np.ndarray, split: str) -> Tensor:
    if array.dtype.kind not in "biuf":
        raise UsageError(f"targets of {split} must be numbers, got {array.dtype}; encode words as numbers first")
    return as_targets(array.astype(np.int64 if array.dtype.kind != "f" else np.float32))


def _of_table(path: Path) -> Stored:
    features, targets, classes = read_table(path)
    notes = (
        (f"classes of {path.name}: {', '.join(classes[:8])}{' ...' if len(classes) > 8 else ''}",) if classes else ()
    )
    return Stored({WHOLE: Examples(torch.from_numpy(features.copy()), torch.from_numpy(targets))}, notes=notes)
