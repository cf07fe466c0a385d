"""Counts of a search: generations, candidates, evaluations."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Counts:
    """What a search has done so far.

    Args:
        n_gen: Generations.
        n_gen_stalled: Of them since the last strict improvement.
        n_candidates: Children made.
        n_neutral: Of them not evaluated, since no active gene changed.
        n_dearer: Of them not evaluated, since they take more energy than their parent in the second phase.
        n_node_evals: Gate evaluations, each on one sample.
        stop: "" while the search goes on, else "targets" or "patience".
        n_active: Active gates of the best, wires included.
    """

    n_gen: int
    n_gen_stalled: int
    n_candidates: int
    n_neutral: int
    n_dearer: int
    n_node_evals: int
    stop: str
    n_active: int
