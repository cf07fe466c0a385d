"""Going through a journal again: its records in turn, the seconds they took, their values in place of evaluations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from opt.console.errors import UsageError
from opt.search.evaluation import Batch, Values
from opt.search.recorded import values
from opt.search.search_state import Recorder, State


class Replay:
    """The records that a journal held when it was opened, one a generation; behind them the clock runs on.

    Args:
        recorder: The journal.
        state: The search's, whose `n_gen`, `replaying` and `seconds` are kept here.

    Attributes:
        pending: The record of the generation to come; None where it is new.
    """

    def __init__(self, recorder: Recorder, state: State) -> None:
        self._state = state
        self._seconds = recorder.seconds
        self._records = iter(recorder.records)
        self.pending: dict[str, Any] | None = next(self._records, None)
        self._started = time.monotonic()
        self._known = 0.0

    def generation_done(self) -> None:
        """Count a generation, and go on to the next record."""
        state = self._state
        state.n_gen += 1
        state.replaying = self.pending is not None
        self.pending = next(self._records, None)
        if state.replaying:
            self._known = max(self._known, self._seconds.get(state.n_gen, self._known))
            self._started = time.monotonic()
            state.seconds = self._known
        else:
            state.seconds = self._known + time.monotonic() - self._started


def recorded_values(record: dict[str, Any], n_obj: int, prefix: str = "") -> Callable[[np.ndarray], Values]:
    """The journal's values of candidates, in place of an evaluation.

    Args:
        record: The generation's.
        n_obj: Number of objectives.
        prefix: "survivors_" for what was judged again when the objectives changed their meaning.
    """

    def serve(X: np.ndarray) -> Values:
        F = values(record, n_obj, prefix)
        if len(F) != len(X):
            raise UsageError(
                f"the run does not replay: generation {record['gen']} evaluates {len(X)} candidates and the "
                f"journal recorded {len(F)}; resume with the program version that began it"
            )
        G = np.array(record[prefix + "G"], dtype=np.float64) if prefix + "G" in record else None
        return F, G, {int(i): reason for i, reason in record.get(prefix + "failed", {}).items()}

    return serve


def record_batch(record: dict[str, Any], batch: Batch) -> None:
    """Write a batch's digest, counts, new values and failures into a generation's record."""
    record |= {"x": batch.digest, "n": len(batch.F), "new": len(batch.new), "F": batch.F[batch.new]}
    if batch.G is not None:
        record["G"] = batch.G[batch.new]
    if batch.failures:
        position = {int(i): k for k, i in enumerate(batch.new)}
        record["failed"] = {str(position[i]): reason for i, reason in batch.failures.items()}


def record_survivors(record: dict[str, Any], values: Values) -> None:
    """Write what survivors were judged again into a generation's record."""
    F, G, reasons = values
    record["survivors_F"] = F
    if G is not None:
        record["survivors_G"] = G
    if reasons:
        record["survivors_failed"] = {str(i): reason for i, reason in reasons.items()}
