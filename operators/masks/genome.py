"""Masks as genomes: packed bits that know from which mask they were made, and by which flips."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

_STREAMS = np.array([0x9E3779B97F4A7C15, 0xD1B54A32D192ED03], dtype=np.uint64)


def place_keys(ids: np.ndarray) -> np.ndarray:
    """Two random-looking 64-bit words for each place of a mask, always the same ones.

    Args:
        ids: (k,) places from 0.

    Returns:
        (2, k) uint64.

    Source: the finaliser of SplitMix64, Steele, Lea and Flood 2014, doi:10.1145/2660193.2660195, fig. 16.
    """
    z = (ids.astype(np.uint64) + np.uint64(1)) * _STREAMS[:, None]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


class MaskGenome:
    """One bit a weight or filter, 1 = kept; immutable.

    A genome made by `flipped` remembers its parent's key and the places that differ, so that whoever
    has evaluated the parent need only look at those. It holds its own bits, not its parent.

    The key is the exclusive or of two 64-bit words for each kept place (Zobrist 1970, reprinted in
    ICCA J. 13(2), 1990), so that it costs what a move touches.

    Args:
        bits: (ceil(n / 8),) uint8 packed as `np.packbits` does; not copied, do not change it.
        n: Number of places.
        n_kept: Number of ones.
        words: (2,) uint64, the key.
        parent_key: Key of the mask that this one was made from, or None.
        flips: (k,) int64 places, ascending, in which the two differ, or None.
        guide: What a guided move carries from mask to mask; no part of what the mask is.

    Source: keys as in Zobrist 1990 (1970), doi:10.3233/ICG-1990-13203.
    """

    __slots__ = ("bits", "flips", "guide", "key", "n", "n_kept", "parent_key", "words")

    def __init__(
        self,
        bits: np.ndarray,
        n: int,
        n_kept: int,
        words: np.ndarray,
        *,
        parent_key: bytes | None = None,
        flips: np.ndarray | None = None,
        guide: Any = None,
    ) -> None:
        self.bits = bits
        self.bits.flags.writeable = False
        self.n = n
        self.n_kept = n_kept
        self.words = words
        self.key: bytes = words.tobytes()
        self.parent_key = parent_key
        self.flips = flips
        self.guide = guide

    @classmethod
    def from_mask(cls, mask: np.ndarray) -> MaskGenome:
        """The genome of a mask, (n,) bool."""
        kept = np.flatnonzero(mask)
        words = np.bitwise_xor.reduce(place_keys(kept), axis=1)
        return cls(np.packbits(mask), len(mask), len(kept), words)

    def mask(self) -> np.ndarray:
        """(n,) bool, a new array."""
        return np.unpackbits(self.bits, count=self.n).view(np.bool_)

    def part(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) bool: the mask from place `start` up to `stop`."""
        first = start >> 3
        whole = np.unpackbits(self.bits[first : (stop + 7) >> 3])
        return whole[start - 8 * first : stop - 8 * first].view(np.bool_)

    def keeps(self, ids: np.ndarray) -> np.ndarray:
        """(k,) bool: whether each of the places `ids`, (k,), is kept."""
        return ((self.bits[ids >> 3] >> (7 - (ids & 7)).astype(np.uint8)) & 1).view(np.bool_)

    def flipped(self, ids: np.ndarray, *, guide: Any = None) -> MaskGenome:
        """The mask with the different places `ids`, (k,), turned over."""
        ids = np.sort(np.asarray(ids, dtype=np.int64))
        bits = self.bits.copy()
        np.bitwise_xor.at(bits, ids >> 3, np.left_shift(1, 7 - (ids & 7)).astype(np.uint8))
        words = self.words ^ np.bitwise_xor.reduce(place_keys(ids), axis=1)
        n_kept = self.n_kept + len(ids) - 2 * int(np.count_nonzero(self.keeps(ids)))
        return MaskGenome(bits, self.n, n_kept, words, parent_key=self.key, flips=ids, guide=guide)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MaskGenome):
            return NotImplemented
        return self is other or (self.n == other.n and self.key == other.key)

    def __hash__(self) -> int:
        return hash(self.key)

    def __copy__(self) -> MaskGenome:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> MaskGenome:
        return self


def as_population(genomes: Iterable[MaskGenome]) -> np.ndarray:
    """Genomes as decision vectors: (n, 1), dtype object."""
    genomes = list(genomes)
    X = np.empty((len(genomes), 1), dtype=object)
    for row, genome in enumerate(genomes):
        X[row, 0] = genome
    return X


_ONES = np.array([bin(byte).count("1") for byte in range(256)], dtype=np.int64)


def hamming_distance(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Places in which the masks of two populations, (n, 1) each, differ, row by row: (n,) int64."""
    pairs = zip(X[:, 0], Y[:, 0], strict=True)
    return np.array([0 if a.key == b.key else int(_ONES[a.bits ^ b.bits].sum()) for a, b in pairs], dtype=np.int64)
