"""What is done to inputs before any network sees them: scaled, standardised, resized. It belongs to the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from opt.console.errors import UsageError

OF_TRAIN = "train"
"""A mean or standard deviation that is taken from the training examples."""
LEAST_STD = 1e-6


@dataclass(frozen=True)
class Preparation:
    """Numbers that inputs are changed by, all of them fixed: (x / scale - mean) / std, behind the change of size.

    Args:
        scale: What inputs are divided by.
        mean: One number, or one a channel or feature.
        std: Likewise, above 0.
        size: (height, width) of images, or None.
        channels: Channels that images of one are repeated to, or that those of several are averaged to (1), or None.
    """

    scale: float = 1.0
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    channels: int | None = None

    def apply(self, inputs: Tensor) -> Tensor:
        """Inputs (n, ...) as float32.

        Raises:
            UsageError: They are no images where a size or channels are asked for, or mean and std do not fit.
        """
        x = inputs.float()
        if self.scale != 1.0:
            x = x / self.scale
        if self.size is not None or self.channels is not None:
            x = self._as_images(x)
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) > 1 and (x.ndim < 2 or len(values) != x.shape[1]):
                raise UsageError(
                    f"input_{name} must be one number, or one for each of the {x.shape[1] if x.ndim > 1 else 1} "
                    f"channels or features, got {len(values)}"
                )
        if self.mean:
            x = x - _shaped(self.mean, x)
        return x / _shaped(self.std, x) if self.std else x

    def _as_images(self, x: Tensor) -> Tensor:
        if x.ndim == 3 and self.channels == 1:
            x = x[:, None]
        if x.ndim != 4:
            raise UsageError(
                f"image_size and image_channels are for images (n, channels, height, width), got inputs of shape "
                f"{tuple(x.shape)}"
            )
        if self.channels is not None and self.channels != x.shape[1]:
            if x.shape[1] != 1 and self.channels != 1:
                raise UsageError(f"images of {x.shape[1]} channels cannot become ones of {self.channels}")
            x = x.mean(dim=1, keepdim=True) if self.channels == 1 else x.repeat(1, self.channels, 1, 1)
        if self.size is not None and tuple(x.shape[2:]) != self.size:
            x = functional.interpolate(x, size=self.size, mode="bilinear", antialias=True, align_corners=False)
        return x

    def words(self) -> str:
        """What is done, for people; "as they are" where nothing is."""
        parts = []
        if self.scale != 1.0:
            parts.append(f"divided by {self.scale:g}")
        if self.size is not None:
            parts.append(f"brought to {self.size[0]} x {self.size[1]} pixels")
        if self.channels is not None:
            parts.append(f"of {self.channels} channels")
        for name, values in (("mean", self.mean), ("std", self.std)):
            if values:
                shown = ", ".join(f"{value:.4g}" for value in values[:4])
                parts.append(f"{name} {shown}{', ...' if len(values) > 4 else ''} taken out")
        return ", ".join(parts) or "as they are"


def statistics(inputs: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel or feature of inputs (n, c, ...), at least `LEAST_STD`."""
    x = inputs.double().transpose(0, 1).flatten(1) if inputs.ndim > 1 else inputs.double()[None]
    mean, std = x.mean(dim=1), x.std(dim=1, correction=0).clamp(min=LEAST_STD)
    return tuple(float(m) for m in mean), tuple(float(s) for s in std)


def numbers_in(name: str, text: str | None) -> tuple[float, ...]:
    """The numbers of `0.5` or `0.49,0.48,0.45`; none of None.

    Raises:
        UsageError: It is no such text, or a standard deviation is not above 0.
    """
    if text is None:
        return ()
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{name} must be {OF_TRAIN}, or numbers separated by commas, got {text!r:.60}") from None
    if not all(abs(value) < 3e38 for value in values) or (name.endswith("std") and not min(values) > 0):
        raise UsageError(f"{name} must be finite numbers{', above 0' if name.endswith('std') else ''}, got {text:.60}")
    return values


def size_in(text: str | None) -> tuple[int, int] | None:
    """(height, width) of `32` or `32x48`.

    Raises:
        UsageError: It is no such text.
    """
    if text is None:
        return None
    sides: Sequence[str] = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() and 0 < int(side) <= 10_000 for side in sides):
        raise UsageError(f"image_size must be a number of pixels or HEIGHTxWIDTH, got {text!r:.60}")
    return int(sides[0]), int(sides[-1])


def _shaped(values: Sequence[float], x: Tensor) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, *[1] * max(0, x.ndim - 2))


@dataclass(frozen=True)
class Wanted:
    """How inputs are prepared, as it is asked for.

    Args:
        scale: What inputs are divided by; None takes 255 for bytes, and nothing for other numbers.
        mean: Numbers in a text, `train`, or None.
        std: Likewise.
        size: Of images, as a text, or None.
        channels: Of images, or None.
    """

    scale: float | None = None
    mean: str | None = None
    std: str | None = None
    size: str | None = None
    channels: int | None = None

    @property
    def is_plain(self) -> bool:
        """Whether nothing is asked for."""
        return self == Wanted()

    def on(self, inputs: Tensor, *, usual_scale: float = 1.0, done: float = 1.0) -> Preparation:
        """The preparation in numbers, taken from the training inputs where it says so.

        Args:
            inputs: Of training.
            usual_scale: What they are divided by where nothing else is asked for.
            done: What they have been divided by already.
        """
        scale = usual_scale if self.scale is None else self.scale
        base = Preparation(scale=scale / done, size=size_in(self.size), channels=self.channels)
        own = statistics(base.apply(inputs)) if OF_TRAIN in (self.mean, self.std) else ((), ())
        mean = own[0] if self.mean == OF_TRAIN else numbers_in("input_mean", self.mean)
        std = own[1] if self.std == OF_TRAIN else numbers_in("input_std", self.std)
        return replace(base, mean=mean, std=std)
