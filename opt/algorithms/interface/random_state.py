"""A private copy of Python's and NumPy's global generators, for libraries that draw from them."""

from __future__ import annotations

import random
from types import TracebackType
from typing import Any

import numpy as np

_DEFAULT_RNG = np.random.default_rng


class IsolatedGlobalRandom:
    """Context manager: inside, `random` and `numpy.random` are this object's own seeded streams.

    DEAP and `cma` draw from the process-wide generators; parts of pymoo from `numpy.random.default_rng()`
    without a seed. Each algorithm owns one such object and enters it around every call, so that its stream
    depends on its seed alone and nobody else's stream is disturbed.

    Args:
        seed: Any non-negative int.
    """

    def __init__(self, seed: int) -> None:
        self._python = random.Random(seed).getstate()
        self._numpy = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).get_state()
        self._unseeded = np.random.SeedSequence(entropy=seed, spawn_key=(1,))
        self._outer: tuple | None = None

    def _default_rng(self, seed: Any = None) -> np.random.Generator:
        """`numpy.random.default_rng`, with a seed of this object's where none is given."""
        return _DEFAULT_RNG(self._unseeded.spawn(1)[0] if seed is None else seed)

    def __enter__(self) -> IsolatedGlobalRandom:
        self._outer = (random.getstate(), np.random.get_state(), np.random.default_rng)
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        np.random.default_rng = self._default_rng
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._python, self._numpy = random.getstate(), np.random.get_state()
        assert self._outer is not None
        random.setstate(self._outer[0])
        np.random.set_state(self._outer[1])
        np.random.default_rng = self._outer[2]
        self._outer = None
