"""Searches for tests, recorded in memory."""

from __future__ import annotations

import copy

from opt.algorithms import find_algorithm
from opt.runs.journal import decode, encode
from opt.search.budget import Budget
from opt.search.engine import Search
from opt.search.scalarise import Scalariser


class Memory:
    """A recorder that holds a journal in memory.

    Args:
        records: What the journal holds before; they are copied, as from a disk.
        seconds: The search time until the end of each generation that it holds, by its number.
    """

    def __init__(self, records=(), seconds=None):
        self.records = copy.deepcopy(list(records))
        self.seconds = seconds or {}
        self.appended, self.rows, self.traces = [], [], []

    def append(self, record):
        self.appended.append(decode(encode(record)))

    def history(self, row):
        self.rows.append(row)

    def trace(self, row):
        self.traces.append(row)


def searching(problem, memory, *, algo="nsga2", seed=1, parameters=None, scalariser=None, budget=None, **more):
    """A search that has not begun, of small populations where nothing else is asked."""
    return Search(
        problem,
        find_algorithm(algo),
        {"pop_size": 6} if parameters is None else parameters,
        seed=seed,
        budget=Budget.of(**(budget or {"n_gen": 5})),
        scalariser=scalariser or Scalariser.of(problem.objectives),
        recorder=memory,
        **more,
    )
