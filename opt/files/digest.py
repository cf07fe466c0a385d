"""Digests (BLAKE2b) that tell bytes from others: of files that are to stay as they were, and short ones of settings."""

from __future__ import annotations

import hashlib


def new_hash(data: bytes = b"", *, n_bytes: int = 16) -> hashlib.blake2b:
    """The hash that files are digested with.

    Args:
        data: The first of what is hashed.
        n_bytes: Of the digest.
    """
    return hashlib.blake2b(data, digest_size=n_bytes)


def short_digest(data: bytes) -> str:
    """Sixteen hex digits that tell data from other data, not from data made to deceive."""
    return new_hash(data, n_bytes=8).hexdigest()
