"""What a search has found, counted batch by batch."""

from __future__ import annotations

import numpy as np
import pytest

from opt import CompressionProblem, Objective, maximise
from opt.fronts.archive import hypervolume
from opt.search.evaluation import Batch
from opt.search.search_state import State
from opt.search.tally import Tally

NAN = float("nan")


class Trade(CompressionProblem):
    """Two objectives, the second maximised and with a stated worst value."""

    objectives = (Objective("cost"), Objective("gain", maximise, worst=-2.0))

    def __init__(self, n_ieq_constr=0):
        super().__init__(n_var=1, xl=0, xu=9, n_ieq_constr=n_ieq_constr)

    def evaluate(self, X):
        raise NotImplementedError


def tally_of(n_ieq_constr=0):
    state = State()
    return Tally(Trade(n_ieq_constr), state), state


def batch(F, *, G=None, new=None, failures=None):
    F = np.array(F, dtype=float)
    new = np.arange(len(F)) if new is None else np.array(new)
    return Batch(F, None if G is None else np.array(G, dtype=float), new, failures or {}, "")


def column(*values):
    return np.array(values, dtype=float)[:, None]


def test_first_batch_gives_the_reference_point_and_everything_counts():
    tally, state = tally_of()
    assert tally.ref_point is None and len(tally.archive) == 0 and state.best is None
    tally.add(column(1, 2, 3), batch([[1.0, -5.0], [3.0, -6.0], [2.0, -4.0]]))
    # the stated worst gain of -2 is 2 minimised; the worst cost is measured, and a tenth of its range beyond
    assert tally.ref_point.tolist() == [3.2, 2.0]
    assert tally.archive.ids.tolist() == [1, 2]
    assert [x[0] for x in tally.archive.X] == [1.0, 2.0]
    assert (state.n_eval, state.n_failed, state.failures) == (3, 0, {})
    assert state.hypervolume == hypervolume(tally.archive.F, tally.ref_point) > 0
    assert state.best.tolist() == [1.0, 6.0], "in the objectives' own senses"


def test_only_new_candidates_count_and_ids_go_on():
    tally, state = tally_of()
    tally.add(column(1, 2), batch([[3.0, -3.0], [3.0, -3.0]], new=[0]))
    tally.add(column(5, 6, 7), batch([[3.0, -3.0], [2.0, -2.0], [4.0, -4.0]], new=[1, 2]))
    assert state.n_eval == 3
    assert tally.archive.ids.tolist() == [2, 1, 3]
    assert [x[0] for x in tally.archive.X] == [6.0, 1.0, 7.0]
    assert tally.ref_point.tolist() == pytest.approx([3.3, 2.0]), "of the first batch alone"


def test_failed_and_infeasible_candidates_are_counted_and_never_archived():
    tally, state = tally_of(n_ieq_constr=2)
    F = [[NAN, NAN], [0.0, -9.0], [2.0, -2.0], [1.0, -1.0]]
    G = [[NAN, NAN], [0.0, 0.1], [0.0, -1.0], [-1.0, 0.0]]
    tally.add(column(1, 2, 3, 4), batch(F, G=G, failures={0: "ValueError: no"}))
    assert tally.archive.ids.tolist() == [4, 3], "on the border is within"
    assert tally.ref_point.tolist() == pytest.approx([2.1, 2.0]), "of what is feasible"
    tally.add(column(5), batch([[NAN, NAN]], G=[[NAN, NAN]], failures={0: "ValueError: no"}))
    tally.add(column(6), batch([[NAN, NAN]], G=[[NAN, NAN]], failures={0: "KeyError: 1"}))
    assert (state.n_eval, state.n_failed) == (6, 3)
    assert state.failures == {"ValueError: no": 2, "KeyError: 1": 1}
    assert tally.archive.ids.tolist() == [4, 3]


def test_reference_point_waits_for_the_first_feasible_candidate():
    tally, state = tally_of(n_ieq_constr=1)
    tally.add(column(1), batch([[1.0, -1.0]], G=[[1.0]]))
    assert tally.ref_point is None and state.best is None and state.hypervolume == 0.0
    tally.add(column(2), batch([[5.0, -1.0]], G=[[0.0]]))
    assert tally.ref_point.tolist() == [5.5, 2.0]


def test_dominated_newcomers_leave_archive_and_hypervolume_as_they_were():
    tally, state = tally_of()
    tally.add(column(1), batch([[1.0, -5.0]]))
    before = state.hypervolume, state.best.tolist(), tally.archive.ids.tolist()
    tally.add(column(2), batch([[1.5, -4.0]]))
    assert (state.hypervolume, state.best.tolist(), tally.archive.ids.tolist()) == before
    tally.add(column(3), batch([[0.5, -3.0]]))
    assert state.hypervolume > before[0] and state.best.tolist() == [0.5, 5.0]


def test_readmitted_candidates_have_negative_ids_and_move_best_and_hypervolume():
    tally, state = tally_of(n_ieq_constr=1)
    tally.add(column(1), batch([[4.0, -2.0]], G=[[0.0]]))
    reference = tally.ref_point.tolist()
    tally.clear()
    assert len(tally.archive) == 0 and state.hypervolume == 0.0 and tally.ref_point.tolist() == reference
    F = np.array([[NAN, NAN], [3.0, -1.0], [1.0, -9.0], [2.0, -3.0]])
    tally.readmit(column(1, 2, 3, 4), F, np.array([[0.0], [-1.0], [0.5], [0.0]]))
    assert tally.archive.ids.tolist() == [-4] and tally.archive.X[0].tolist() == [4.0]
    assert state.best.tolist() == [2.0, 3.0]
    assert state.hypervolume == hypervolume(np.array([[2.0, -3.0]]), tally.ref_point)
    assert state.n_eval == 1, "judging again is no new candidate"


def test_nothing_to_readmit_changes_nothing():
    tally, state = tally_of()
    tally.readmit(column(1), np.full((1, 2), NAN), None)
    assert len(tally.archive) == 0 and state.best is None
    tally.readmit(column(1, 2), np.array([[1.0, -1.0], [0.0, 0.0]]), None)
    assert tally.archive.ids.tolist() == [-2, -1] and state.hypervolume == 0.0, "there is no reference point yet"
    assert state.best.tolist() == [0.0, 1.0]


def test_history_row_has_counters_then_best_mean_and_worst_in_the_objectives_senses():
    tally, state = tally_of()
    state.n_gen, state.seconds = 7, 1.5
    shown = batch([[1.0, -5.0], [NAN, NAN], [2.0, -6.0], [6.0, -1.0]], failures={1: "no"})
    tally.add(column(1, 2, 3, 4), shown)
    row = tally.history_row(shown)
    assert row == [7, 4, 1.5, state.hypervolume, 2, 1, 1.0, 3.0, 6.0, 6.0, 4.0, 1.0]
    nothing = tally.history_row(batch([[NAN, NAN]]))
    assert nothing[:6] == row[:6] and len(nothing) == len(row) and np.isnan(nothing[6:]).all()


def test_penalty_is_finite_and_worse_than_everything_seen():
    tally, _ = tally_of(n_ieq_constr=1)
    assert tally.penalty().tolist() == [1e6, 1e6]
    tally.add(column(1), batch([[NAN, NAN]], G=[[NAN]], failures={0: "no"}))
    assert tally.penalty().tolist() == [1e6, 1e6]
    tally.add(column(1), batch([[1.0, 3.0]], G=[[5.0]]))
    assert tally.penalty().tolist() == [2.0, 4.0], "the infeasible count: an algorithm compares with them"
    tally.add(column(1, 2), batch([[0.0, 13.0], [0.5, 8.0]], G=[[0.0], [0.0]]))
    assert tally.penalty().tolist() == [2.0, 23.0]
