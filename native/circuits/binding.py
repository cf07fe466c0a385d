"""Calls of the C library: its statuses as errors, options by name, views of arrays, the state of its generator."""

from __future__ import annotations

from typing import Any

import numpy as np

from native._cgp import ffi, lib


def check(status: int) -> None:
    """Raises what a status of the C library stands for."""
    if status == lib.CGP_OK:
        return
    text = ffi.string(lib.cgp_status_text(status)).decode()
    if status == lib.CGP_NO_MEMORY:
        raise MemoryError(text)
    raise ValueError(text)


def choice(value: str, table: dict[str, int], name: str) -> int:
    """The C library's number of a named option."""
    if value not in table:
        raise ValueError(f"{name} must be one of {', '.join(table)}; got {value!r}")
    return table[value]


def rng_words(rng: np.random.Generator | np.random.SeedSequence | int) -> np.ndarray:
    """(4,) uint64, a state of the C library's generator."""
    if isinstance(rng, np.random.Generator):
        return rng.integers(0, 2**64, size=4, dtype=np.uint64)
    seeds = rng if isinstance(rng, np.random.SeedSequence) else np.random.SeedSequence(rng)
    return seeds.generate_state(4, np.uint64)


def pointer(kind: str, values: np.ndarray) -> Any:
    """A C view of an input array; the types must agree, since cffi does not look."""
    return ffi.from_buffer(kind, values)


def output(kind: str, values: np.ndarray) -> Any:
    """A C view of an output array."""
    return ffi.from_buffer(kind, values, require_writable=True)
