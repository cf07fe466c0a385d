"""Pictures in one folder a class, as `ImageFolder` lays them out: PNG, JPEG and what else Pillow reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from opt.console.errors import UsageError
from problems.data.examples import Examples
from problems.data.memory import say_memory
from problems.data.splits import SPLITS

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def picture_folder(
    folder: str | Path,
    *,
    size: tuple[int, int] | None = None,
    channels: int = 3,
    classes: Sequence[str] | None = None,
) -> tuple[Examples, list[str]]:
    """The pictures of a folder with one folder a class.

    Args:
        folder: Its folders' names in alphabetical order are the classes 0, 1, ...
        size: (height, width) that every picture is scaled to; None where all have one size.
        channels: 3 for red, green and blue, 1 for grey.
        classes: The classes' names, where another folder decides them.

    Returns:
        Inputs (n, channels, height, width) float32 in [0, 1] with targets (n,), and the classes' names.

    Raises:
        UsageError: There is no such folder, no picture in it, one cannot be read, their sizes differ, or memory does
            not suffice.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give one with a folder of pictures for each class")
    names = _folders(root)
    if classes is not None and (others := [name for name in names if name not in classes]):
        raise UsageError(f"{root} has a class {others[0]!r} that the training pictures lack ({', '.join(classes)})")
    classes = list(classes or names)
    files = [(file, classes.index(name)) for name in names for file in _pictures(root / name)]
    if not files:
        raise UsageError(f"{root} holds no pictures: expected {root}/CLASS/PICTURE.png or .jpg")
    pillow = _pillow()
    first = _read(pillow, files[0][0], size, channels)
    say_memory(str(root), 5 * first.size * len(files))  # as bytes, then as numbers of four bytes
    pixels = np.empty((len(files), *first.shape), dtype=np.uint8)
    for k, (file, _) in enumerate(files):
        picture = _read(pillow, file, size, channels)
        if picture.shape != first.shape:
            sizes = " and ".join(f"{shape[1]} x {shape[2]}" for shape in (first.shape, picture.shape))
            raise UsageError(f"{file}: pictures must have one size, got {sizes}; give --problem.image_size")
        pixels[k] = picture
    inputs = torch.from_numpy(pixels).float().div_(255)
    return Examples(inputs, torch.tensor([k for _, k in files])), list(classes)


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of splits in a folder of pictures, `train`, `val` or `search`, `test`; none where it is not split."""
    found = {SPLITS[name.lower()]: folder / name for name in _folders(folder) if name.lower() in SPLITS}
    is_split = "train" in found and all(SPLITS.get(name.lower()) for name in _folders(folder))
    return found if is_split and all(_folders(path) for path in found.values()) else {}


def _folders(root: Path) -> list[str]:
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))


def _pictures(folder: Path) -> list[Path]:
    return [file for file in sorted(folder.iterdir()) if file.suffix.lower() in SUFFIXES]


def _pillow() -> ModuleType:
    try:
        import PIL.Image
    except ImportError:
        raise UsageError("pictures are read by Pillow, which is not installed: pip install pillow") from None
    return PIL.Image


def _read(pillow: ModuleType, file: Path, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """(channels, height, width) uint8."""
    try:
        with pillow.open(file) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
            if size is not None:
                picture = picture.resize((size[1], size[0]))
            pixels = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, pillow.DecompressionBombError) as error:
        raise UsageError(f"{file} cannot be read as a picture: {error}") from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
