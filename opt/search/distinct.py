"""Spaces with few candidates: how many there are, and all of them in turn.

Where a budget covers every distinct candidate, a search that finds hardly any new ones is completed by evaluating
the rest in turn, so that its archive is the exact front.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

import numpy as np

from opt.algorithms.interface.checked_operators import operators_of
from opt.problem import CompressionProblem
from opt.problem.hooks import HookError, hook_name, user_code
from opt.problem.plain_spaces import CHUNK

BATCH = 100
"""Unseen candidates evaluated together, a generation's usual number."""
WINDOW = 1000
"""Candidates asked, over which the share of new ones is measured."""
HARDLY_NEW = 0.25
"""A search of whose last candidates a smaller share is new has found what it can by itself."""
MOST_EMPTY_CHUNKS = 100
"""So many chunks of samples without an unseen candidate end the completion by sampling."""

Fingerprint = Callable[[np.ndarray], bytes]


def n_distinct_of(problem: CompressionProblem) -> int | None:
    """The number of distinct candidates as the problem says it, by an attribute, a property or a method.

    Raises:
        HookError: It says something else than a whole number of at least 1, or None.
    """
    name = hook_name(problem, "n_distinct")
    with user_code(name):
        is_asked = getattr(problem, "_says_itself", False)
        said = problem.plain.n_distinct if is_asked else problem.n_distinct  # type: ignore[union-attr]
        said = said() if callable(said) else said
    if said is None:
        return None
    if isinstance(said, bool) or not isinstance(said, (int, np.integer)) or said < 1:
        raise HookError(f"{name} must be a whole number of at least 1, or None, got {said!r}")
    return int(said)


class Completion:
    """When a search is to be completed, and the candidates that it has not seen.

    Args:
        problem: What is searched; its `all_candidates` are gone through, or where it cannot list them, samples.
        n_distinct: How many there are.
        rng: For the samples.
        fingerprint: The problem's, checked.
        is_known: Whether the candidate of a fingerprint was evaluated.
    """

    def __init__(
        self,
        problem: CompressionProblem,
        n_distinct: int,
        rng: np.random.Generator,
        *,
        fingerprint: Fingerprint,
        is_known: Callable[[bytes], bool],
    ) -> None:
        self.problem = problem
        self.n_distinct = n_distinct
        self.is_active = False
        self._rng = rng
        self._fingerprint = fingerprint
        self._is_known = is_known
        self._window: deque[tuple[int, int]] = deque()
        self._asked = self._new = 0
        self._chunks: Iterator[np.ndarray] | None = None
        self._unseen: deque[np.ndarray] = deque()
        self._is_sampled = False

    def observe(self, n_asked: int, n_new: int) -> None:
        """Count a batch; the completion becomes active when hardly any of the last candidates were new."""
        self._window.append((n_asked, n_new))
        self._asked += n_asked
        self._new += n_new
        width = min(WINDOW, max(BATCH, self.n_distinct))
        while self._asked - self._window[0][0] >= width:
            asked, new = self._window.popleft()
            self._asked -= asked
            self._new -= new
        if self._asked >= width and self._new < HARDLY_NEW * self._asked:
            self.is_active = True

    def batch(self, n: int) -> np.ndarray | None:
        """At most n unseen candidates, (k, n_var), each once; None where no more can be found."""
        if self._chunks is None:
            self._chunks = self._all()
        rows: dict[bytes, np.ndarray] = {}
        n_empty = 0
        while len(rows) < n:
            if not self._unseen:
                chunk = next(self._chunks, None)
                if chunk is None:
                    break
                self._unseen.extend(chunk)
            n_before = len(rows)
            self._take(rows, n)
            n_empty = 0 if len(rows) > n_before else n_empty + 1
            # samples never end: what they have brought is taken, and after many without anything new there is no more
            if self._is_sampled and n_empty and (rows or n_empty == MOST_EMPTY_CHUNKS):
                break
        return self._stacked(list(rows.values())) if rows else None

    def _take(self, rows: dict[bytes, np.ndarray], n: int) -> None:
        """Move unseen candidates of the chunk into `rows`, by fingerprint, until there are n."""
        while self._unseen and len(rows) < n:
            x = self._unseen.popleft()
            key = self._fingerprint(x)
            if key not in rows and not self._is_known(key):
                rows[key] = x

    def _stacked(self, rows: list[np.ndarray]) -> np.ndarray:
        X = np.empty((len(rows), self.problem.n_var), dtype=rows[0].dtype)
        for i, x in enumerate(rows):  # row by row: of objects, numpy.stack would look into each
            X[i] = x
        return X

    def _all(self) -> Iterator[np.ndarray]:
        """The problem's own list, else chunks of samples without an end."""
        name = hook_name(self.problem, "all_candidates")
        with user_code(name):
            listed = self.problem.all_candidates()
            listed = None if listed is None else iter(listed)
        if listed is not None:
            while True:
                with user_code(name):
                    chunk = next(listed, None)
                if chunk is None:
                    return
                if not isinstance(chunk, np.ndarray) or chunk.ndim != 2 or chunk.shape[1] != self.problem.n_var:
                    raise HookError(f"{name} must give arrays of shape (k, {self.problem.n_var})")
                yield chunk
        self._is_sampled = True
        operators = operators_of(self.problem)
        while True:
            X = operators.sampling(CHUNK, self._rng)
            yield operators.repair(X) if operators.repair else X
