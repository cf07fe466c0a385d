"""The Pareto front of a run that has not ended, from its journal as far as it goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from opt.fronts.archive import Archive
from opt.problem import Objective
from opt.search.recorded import feasible_rows


@dataclass(frozen=True)
class FrontSoFar:
    """What the journal says of the front.

    Attributes:
        table: One row per solution: its id and its objectives in their own sense, as front.csv has them.
        n_gen: Generations in the journal.
        since: The generation from which on candidates count: 1, or the last in which the objectives changed
            their meaning, so that earlier values cannot be compared with later ones.
    """

    table: pd.DataFrame
    n_gen: int
    since: int


def front_so_far(
    records: Sequence[dict[str, Any]], objectives: Sequence[Objective], *, is_stationary: bool = True
) -> FrontSoFar:
    """The nondominated set of everything in a journal that is feasible.

    Args:
        records: The journal's.
        objectives: The run's.
        is_stationary: Whether the objectives keep their meaning as far as the manifest says. Where they do not
            and no record tells when they changed last, as with algorithms without survivors, only the last
            generation counts.

    Raises:
        UsageError: A record is altered.
    """
    n_obj = len(objectives)
    changes = [k for k, record in enumerate(records) if "survivors_F" in record]
    start = changes[-1] if changes else 0 if is_stationary else max(len(records) - 1, 0)
    archive = Archive(n_obj)
    n_eval = 0
    for k, record in enumerate(records):
        first = n_eval + 1
        n_eval += int(record["new"])
        if k < start:
            continue
        if "survivors_F" in record:
            F, ok = feasible_rows(record, n_obj, "survivors_")
            archive.offer(F[ok], _nothing(ok), -1 - np.flatnonzero(ok))
        F, ok = feasible_rows(record, n_obj)
        archive.offer(F[ok], _nothing(ok), first + np.flatnonzero(ok))
    order, names = in_order(archive)
    columns = {"id": names} | {o.name: o.sign * archive.F[order, k] for k, o in enumerate(objectives)}
    return FrontSoFar(pd.DataFrame(columns), n_gen=len(records), since=start + 1 if records else 1)


def in_order(archive: Archive) -> tuple[np.ndarray, list[str]]:
    """The order of an archive's members in front.csv, by their objectives, and the id of each in that order.

    `e000012` is the twelfth evaluation; `p000003` the third of a population that was judged again.
    """
    order = np.lexsort(archive.F.T[::-1]) if len(archive) else np.empty(0, dtype=np.int64)
    return order, [f"e{i:06d}" if i > 0 else f"p{-i:06d}" for i in archive.ids[order]]


def _nothing(ok: np.ndarray) -> np.ndarray:
    """Stand-ins for the feasible candidates, whose genomes no journal holds."""
    return np.zeros((int(ok.sum()), 0))
