"""Seeds of everything that a training draws: orders of examples, dropout, a user's own augmentation."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def epoch_stream(seed: int, epoch: int) -> int:
    """A seed from 0 to 2^63 - 1 for one epoch of a training, whatever was drawn before it."""
    return int(np.random.SeedSequence([seed, epoch]).generate_state(1, np.uint64)[0] >> 1)


@contextmanager
def global_generators_kept() -> Iterator[None]:
    """While open, the generators that modules draw from may be seeded; behind it they go on as if nothing had been.

    These are torch's on every device, NumPy's and Python's: dropout and a user's `forward` know no others.
    """
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_initialized() else []
    of_python, of_numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - a user's code draws from it
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)  # noqa: NPY002


def seed_global_generators(stream: int) -> None:
    """Seed the generators that modules draw from; inside `global_generators_kept`.

    Args:
        stream: 0 or more, as `epoch_stream` gives it.
    """
    torch.random.manual_seed(stream)
    np.random.seed(stream % 2**32)  # noqa: NPY002
    random.seed(stream)
