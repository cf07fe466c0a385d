"""Where the files of the named data sets are looked for, and where they come from when they aren't there."""

from __future__ import annotations

import dataclasses
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import pooch
import requests

from opt.console.errors import UsageError
from opt.files.cache_folder import DOWNLOADS, cache_folder, in_home
from opt.files.plain_file import is_file, is_folder
from problems.data import cifar

DATA_DIR_VARIABLE = "OPT_DATA_DIR"
"""Environment variable with the folder of data sets; a folder per data set inside it, or the files themselves."""


@dataclasses.dataclass(frozen=True)
class Source:
    """Files of one data set: its train images and labels, test images and labels, in this order, by name and md5."""

    url: str
    files: tuple[tuple[str, str], ...]
    folders: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names as published, less `.gz`."""
        return tuple(name for name, _ in self.files)


def _mnist_like(url: str, *md5: str, folders: tuple[str, ...]) -> Source:
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    return Source(url, tuple((f"{n}-ubyte", h) for n, h in zip(names, md5, strict=True)), folders)


# The md5 sums are those of the gzipped files as published (torchvision checks the same ones).
# `folders` are the layouts of torchvision, beside our own.
IDX_SOURCES = {
    "fashion-mnist": _mnist_like(
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
        folders=("FashionMNIST/raw",),
    ),
    "mnist": _mnist_like(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "d53e105ee54ea40749a09fcbcd1e9432",
        "9fb629c4189551a2d022fa330f9573f3",
        "ec29112dd5afa0611ce80d1b7f02629c",
        folders=("MNIST/raw",),
    ),
    "kmnist": _mnist_like(
        "http://codh.rois.ac.jp/kmnist/dataset/kmnist/",
        "bdb82020997e1d708af4cf47b453dcf7",
        "e144d726b3acfaa3e44228e80efcd344",
        "5c965bf0a639b31b8f53240b1b52f4d7",
        "7320c461ea6c1c855c0b718fb2a4b134",
        folders=("KMNIST/raw",),
    ),
    "qmnist": Source(
        "https://raw.githubusercontent.com/facebookresearch/qmnist/master/",
        (
            ("qmnist-train-images-idx3-ubyte", "ed72d4157d28c017586c42bc6afe6370"),
            ("qmnist-train-labels-idx2-int", "0058f8dd561b90ffdd0f734c6a30e5e4"),
            ("qmnist-test-images-idx3-ubyte", "1394631089c404de565df7b7aeaf9412"),
            ("qmnist-test-labels-idx2-int", "5b5b05890a5e13444e108efe57b788aa"),
        ),
        ("QMNIST/raw",),
    ),
}
CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR_ARCHIVE = ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530")


def idx_files(name: str, *, data_dir: Path | None, download: bool) -> list[Path]:
    """Paths of the four IDX files of `name`: train images, train labels, test images, test labels."""
    source = IDX_SOURCES[name]
    places = _places(name, data_dir, source.folders)
    for place in places:
        found = [find_plain_or_gzipped(place, file) for file in source.names]
        if all(found):
            return [path for path in found if path]
    wanted = [f"{file}.gz" for file in source.names]
    target = _target(name, data_dir)
    if not download:
        raise _not_found(name, places, target, wanted, "was not to be downloaded")
    urls = [(f"{source.url}{file}.gz", md5) for file, md5 in source.files]
    return [_fetch(name, url, md5, places, target, wanted) for url, md5 in urls]


def cifar_files(*, data_dir: Path | None, download: bool) -> list[Path]:
    """Paths of the six batch files of CIFAR-10, the test batch last; an archive found beside is unpacked."""
    name, wanted = "cifar10", [*cifar.TRAIN_FILES, *cifar.TEST_FILES]
    places = _places(name, data_dir, (cifar.FOLDER,))
    places += [place / cifar.FOLDER for place in places if place.name != cifar.FOLDER]
    for place in places:
        if all(is_file(place / file) for file in wanted):
            return [place / file for file in wanted]
    target = _target(name, data_dir)
    archive = next((p / CIFAR_ARCHIVE[0] for p in places if is_file(p / CIFAR_ARCHIVE[0])), None)
    if archive is None:
        if not download:
            raise _not_found(name, places, target, wanted, "was not to be downloaded")
        url, md5 = CIFAR_URL + CIFAR_ARCHIVE[0], CIFAR_ARCHIVE[1]
        archive = _fetch(name, url, md5, places, target, [CIFAR_ARCHIVE[0]])
    cifar.extract_cifar(archive, target)
    return [target / file for file in wanted]


def find_plain_or_gzipped(folder: Path, file: str) -> Path | None:
    """The file in `folder`, by its name, the name with .gz, or either with a dot before `idx`."""
    for name in (file, file.replace("-idx", ".idx")):
        for path in (folder / name, folder / f"{name}.gz"):
            if is_file(path):
                return path
    return None


def _places(name: str, data_dir: Path | None, folders: Sequence[str]) -> list[Path]:
    """Folders to look in, most specific first within each root."""
    inside = (name, *folders)
    places: list[Path] = []
    roots = [(data_dir, "data_dir")] if data_dir is not None else []
    variable = os.environ.get(DATA_DIR_VARIABLE)
    roots += [(in_home(variable), DATA_DIR_VARIABLE)] if variable else []
    for root, given_as in roots:
        if not is_folder(root):
            raise UsageError(f"{given_as} is {str(root)!r}, which is not a folder; create it or correct the path.")
        # Last the root itself: two data sets share their file names, so a folder of the set's own name goes first.
        places += [*(root / folder for folder in inside), root]
    usual = (cache_folder() / DOWNLOADS, Path("/usr/share/datasets"), Path("~/.cache").expanduser(), Path("data"))
    places += [root / folder for root in usual for folder in inside]
    return places


def _target(name: str, data_dir: Path | None) -> Path:
    return (data_dir if data_dir is not None else cache_folder() / DOWNLOADS) / name


def _fetch(name: str, url: str, md5: str, places: list[Path], target: Path, wanted: list[str]) -> Path:
    pooch.get_logger().setLevel(logging.WARNING)
    try:
        path = pooch.retrieve(url, known_hash=f"md5:{md5}", fname=url.rpartition("/")[2], path=target)
    except (requests.exceptions.RequestException, OSError, ValueError) as error:
        # pooch reports a wrong checksum as ValueError, and an unwritable folder as PermissionError.
        is_damaged = isinstance(error, ValueError) and not isinstance(error, requests.exceptions.RequestException)
        what = "arrived damaged (wrong md5)" if is_damaged else f"could not be downloaded ({type(error).__name__})"
        raise _not_found(name, places, target, wanted, f"{what} from {url}") from error
    return Path(path)


def _not_found(name: str, places: list[Path], target: Path, wanted: list[str], why: str) -> UsageError:
    # One entry a root: each is also searched under its other layouts.
    looked = ", ".join(dict.fromkeys(str(place.parent) for place in places if place.name == name))
    return UsageError(
        f"data set {name!r} was not found under {looked} and {why}; put {', '.join(wanted)} into {target}, "
        f"or give the folder that holds them as data_dir or in ${DATA_DIR_VARIABLE}."
    )
