"""A private copy of Python's and NumPy's global generators, for libraries that draw from them."""

from __future__ import annotations

import random
from types import TracebackType

import numpy as np


class IsolatedGlobalRandom:
    """Context manager: inside, `random` and `numpy.random` are this object's own seeded streams.

    DEAP and `cma` draw from the process-wide generators. Each algorithm owns one such object and
    enters it around every call, so that its stream depends on its seed alone and nobody else's
    stream is disturbed.

    Args:
        seed: Any non-negative int.
    """

    def __init__(self, seed: int) -> None:
        self._python = random.Random(seed).getstate()
        self._numpy = np.random.RandomState(np.random.MT19937(np.random.SeedSequence(seed))).get_state()
        self._outer: tuple | None = None

    def __enter__(self) -> IsolatedGlobalRandom:
        self._outer = (random.getstate(), np.random.get_state())
        random.setstate(self._python)
        np.random.set_state(self._numpy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._python, self._numpy = random.getstate(), np.random.get_state()
        assert self._outer is not None
        random.setstate(self._outer[0])
        np.random.set_state(self._outer[1])
        self._outer = None
