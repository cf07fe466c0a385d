"""The proof before a search: a fast evaluation that lies is found out, and a true one takes its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import opt
from opt import UsageError
from problems.threshold import Threshold
from problems.workloads.workload import Workload

X = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def workload() -> Workload:
    torch.manual_seed(0)
    return Workload(nn.Sequential(nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, 3)), (X, Y))


class Lying(Threshold):
    """Its fast evaluation is wrong where much is removed."""

    def fast(self, X):
        F = super().fast(X)
        F[:, 0] += 0.1 * (F[:, 1] < 0.5)
        return F


class Forgetful(Lying):
    """And what it makes is not what it saves."""

    def judged(self, network, x):
        return (
            super().judged(network, x) + np.array([0.2, 0.0]) * (network is not None) * np.random.default_rng().random()
        )


class Greedy(Threshold):
    """Evaluation changes the workload's examples."""

    def fast(self, X):
        self.workload.search.inputs.add_(0.001)
        return super().fast(X)


class Ordered(Threshold):
    """A candidate's value depends on its place in the batch."""

    def fast(self, X):
        return super().fast(X) + np.arange(len(X))[:, None] * [0.01, 0.0]


def test_a_true_evaluation_stays_fast():
    problem = Threshold(workload=workload(), layers="*")
    notes = problem.verify(np.random.default_rng(0))
    assert not problem.is_whole
    assert notes[0].startswith("unpruned, on the search split: loss ") and "of the parameters, in 2 layers" in notes[1]


@pytest.mark.parametrize("kind", [Lying, Ordered])
def test_an_untrue_one_gives_way_and_says_so(kind):
    problem = kind(workload=workload(), layers="*")
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole and "networks are run whole" in notes[-1]
    sample = problem.operators().sampling(5, np.random.default_rng(1))
    np.testing.assert_allclose(
        problem.evaluate(sample), Threshold(workload=workload(), layers="*").evaluate(sample), atol=1e-9
    )


@pytest.mark.parametrize("kind", [Forgetful, Greedy])
def test_what_cannot_be_judged_truly_is_refused(kind):
    with pytest.raises(UsageError, match="cannot be judged truly"):
        kind(workload=workload(), layers="*").verify(np.random.default_rng(0))


def test_a_run_records_its_proof_and_may_leave_it_out(tmp_path):
    options = {"algo": "random", "n_eval": 10, "out": tmp_path}
    proved = opt.minimize(Lying(workload=workload(), layers="*"), **options)
    assert "networks are run whole" in proved.manifest["verified"][-1]
    plain = opt.minimize(Threshold(workload=workload(), layers="*"), no_verify=True, **options)
    assert plain.manifest["verified"] is None and plain.manifest["request"]["no_verify"] is True
    assert proved.front["error"].min() >= plain.front["error"].min()


class Failing(Threshold):
    """Its fast evaluation fails where much is removed."""

    def fast(self, X):
        F = super().fast(X)
        if (F[:, 1] < 0.3).any():
            raise IndexError("too little is left")
        return F


def test_a_fast_evaluation_that_fails_gives_way():
    problem = Failing(workload=workload(), layers="*")
    notes = problem.verify(np.random.default_rng(0))
    assert problem.is_whole and "too little is left" in notes[-1]


def test_references_and_tests_are_of_whole_networks_where_those_are_judged():
    problem = Threshold(workload=workload(), layers="*")
    expected = {reference.name: reference for reference in problem.references()}
    problem.run_whole()
    for reference in problem.references():
        np.testing.assert_allclose(reference.F, expected[reference.name].F, atol=1e-9)
        for row, own in zip(reference.test, expected[reference.name].test, strict=True):
            assert row["accuracy"] == pytest.approx(own["accuracy"]) and "loss" in row


def test_large_values_may_differ_by_rounding():
    class Coarse(Threshold):
        def fast(self, X):
            F = super().fast(X)
            return F * [1 + 1e-6, 1.0]

    torch.manual_seed(0)
    work = Workload(nn.Linear(6, 1), (X, 1e6 * X[:, 0]))
    problem = Coarse(workload=work, layers="*")
    problem.verify(np.random.default_rng(0))
    assert not problem.is_whole
