"""Pictures in one folder a class, as `ImageFolder` lays them out: PNG, JPEG and what else Pillow reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from opt.console.errors import UsageError
from problems.data.examples import Examples

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")


def picture_folder(
    folder: str | Path, *, size: tuple[int, int] | None = None, channels: int = 3
) -> tuple[Examples, list[str]]:
    """The pictures of a folder with one folder a class.

    Args:
        folder: Its folders' names in alphabetical order are the classes 0, 1, ...
        size: (height, width) that every picture is scaled to; None where all have one size.
        channels: 3 for red, green and blue, 1 for grey.

    Returns:
        Inputs (n, channels, height, width) float32 in [0, 1] with targets (n,), and the classes' names.

    Raises:
        UsageError: There is no such folder, no picture in it, one cannot be read, or their sizes differ.
    """
    root = Path(folder)
    if not root.is_dir():
        raise UsageError(f"{root} is not a folder; give one with a folder of pictures for each class")
    names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    files = [(file, k) for k, name in enumerate(names) for file in sorted((root / name).iterdir())]
    files = [(file, k) for file, k in files if file.suffix.lower() in SUFFIXES]
    if not files:
        raise UsageError(f"{root} holds no pictures: expected {root}/CLASS/PICTURE.png or .jpg")
    pictures = [_read(file, size, channels) for file, _ in files]
    odd = next((k for k, picture in enumerate(pictures) if picture.shape != pictures[0].shape), None)
    if odd is not None:
        sizes = " and ".join(f"{picture.shape[1]} x {picture.shape[2]}" for picture in (pictures[0], pictures[odd]))
        raise UsageError(f"{files[odd][0]}: pictures must have one size, got {sizes}; give size=(height, width)")
    inputs = torch.from_numpy(np.stack(pictures)).float().div_(255)
    return Examples(inputs, torch.tensor([k for _, k in files])), names


def _read(file: Path, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """(channels, height, width) uint8."""
    try:
        with Image.open(file) as opened:
            picture = opened.convert("L" if channels == 1 else "RGB")
            if size is not None:
                picture = picture.resize((size[1], size[0]))
            pixels = np.asarray(picture)
    except (OSError, UnidentifiedImageError, ValueError, SyntaxError) as error:
        raise UsageError(f"{file} cannot be read as a picture: {error}") from None
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
