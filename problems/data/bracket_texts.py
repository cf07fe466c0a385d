"""Token sequences made by a formula: brackets of several kinds, and how deeply they are nested."""

from __future__ import annotations

import numpy as np

KINDS = 3
N_WORDS = 2 * KINDS + 4
"""Padding, brackets that open and close, and three letters that mean nothing."""
N_CLASSES = 4


def bracket_texts(n: int, *, length: int = 24, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Texts of balanced brackets with letters between them, and their depth.

    Args:
        n: How many.
        length: Tokens of a text, padding at its end included.
        seed: Of the draws.

    Returns:
        Tokens (n, length) int64, 0 is padding; and classes (n,) int64: the greatest depth of open brackets, counted
        from 1, less one, `N_CLASSES` - 1 at most.
    """
    rng = np.random.default_rng(seed)
    tokens = np.zeros((n, length), dtype=np.int64)
    depths = np.zeros(n, dtype=np.int64)
    for row in range(n):
        wanted = 1 + row % N_CLASSES
        text, deepest = _text(wanted, length, rng)
        tokens[row, : len(text)] = text
        depths[row] = deepest
    return tokens, np.minimum(depths, N_CLASSES) - 1


def _text(wanted: int, length: int, rng: np.random.Generator) -> tuple[list[int], int]:
    """One text of at most `length` tokens whose depth is at most `wanted`, and its depth."""
    text: list[int] = []
    stack: list[int] = []
    deepest = 0
    n_tokens = int(rng.integers(length // 2, length + 1))
    while len(text) + len(stack) < n_tokens:
        choice = rng.random()
        room = len(text) + len(stack) + 2 <= n_tokens
        if (choice < 0.45 or deepest < wanted) and len(stack) < wanted and room:
            stack.append(int(rng.integers(KINDS)))
            text.append(1 + stack[-1])
            deepest = max(deepest, len(stack))
        elif choice < 0.7 and stack:
            text.append(1 + KINDS + stack.pop())
        else:
            text.append(1 + 2 * KINDS + int(rng.integers(3)))
    text += [1 + KINDS + kind for kind in reversed(stack)]
    return text, max(deepest, 1)
