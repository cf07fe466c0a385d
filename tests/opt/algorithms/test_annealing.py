"""Annealing chains: what they sample, what they keep, restarts, reheats, constraints, the lagging rule."""

from __future__ import annotations

import numpy as np
import pytest
import sample_problems as samples
from annealing_loop import Loop

import opt
from opt import CompressionProblem, Move, Objective, Operators, UsageError
from opt.algorithms import algorithms
from opt.algorithms.annealing.acceptance import Metropolis, RunningAverage, ThresholdAccepting

pytestmark = pytest.mark.usefixtures("no_plots")


class Ring(CompressionProblem):
    """States 0 .. 5 on a ring with one value each, a move to either neighbour.

    Args:
        values: One each.
    """

    objectives = (Objective("energy"),)

    def __init__(self, values=(0.0, 1.0, 0.3, 2.0, 0.5, 1.5)) -> None:
        super().__init__(n_var=1, representation="integer", xl=0, xu=len(values) - 1)
        self.values = np.array(values)

    def operators(self):
        n = len(self.values)

        def sampling(size, rng):
            return rng.integers(0, n, size=(size, 1))

        def walk(X, rng):
            return (X + rng.choice([-1, 1], size=X.shape)) % n

        def stay(X, rng):
            return X.copy()

        return Operators(sampling, moves={"walk": Move(walk), "stay": Move(stay)})

    def evaluate(self, X):
        return self.values[X[:, 0]][:, None]


def boltzmann(values, temperature):
    p = np.exp(-np.asarray(values) / temperature)
    return p / p.sum()


def visits(problem, *, n_gen, skip=20, chain=slice(None), **settings):
    """Share of each state among the current candidates of the chains."""
    counts = np.zeros(len(problem.values))

    def after(algorithm):
        if len(loop.rows) > skip:
            np.add.at(counts, [p.X[0] for p in algorithm.pop[chain]], 1)

    loop = Loop(problem, n_gen=n_gen, after=after, **settings)
    loop.run()
    return counts / counts.sum()


@pytest.mark.parametrize("temperature", [0.4, 1.0, 5.0])
def test_chains_at_one_temperature_sample_boltzmanns_distribution(temperature):
    problem = Ring()
    found = visits(problem, n_gen=400, n_chains=150, schedule=[temperature], moves="walk:3,stay")
    np.testing.assert_allclose(found, boltzmann(problem.values, temperature), atol=0.02)


def test_coldest_chain_of_parallel_tempering_samples_boltzmanns_distribution():
    # at T = 0.1 alone the barrier of 2 is passed once in e^20 tries: only the exchanges bring it about
    problem = Ring((0.0, 2.0, 0.05, 2.0, 0.1, 2.0))
    settings = {"start_temperature": 2.0, "end_ratio": 0.05, "n_chains": 6, "moves": "walk"}
    found = visits(problem, n_gen=4000, chain=slice(1), algo="parallel-tempering", **settings)
    np.testing.assert_allclose(found, boltzmann(problem.values, 0.1), atol=0.07)


def test_proposals_evaluated_ahead_make_the_same_chain():
    """Judged one by one until one is accepted: Boltzmann's distribution, each state as long as it is judged from."""
    problem, counts, loop = Ring(), np.zeros(6), None

    def after(algorithm):
        if len(loop.rows) > 20:
            # every judged proposal but the accepted one leaves the chain where it was for one step
            judged = loop.rows[-1]["proposed_walk"] + loop.rows[-1]["proposed_stay"]
            taken = round(loop.rows[-1]["acceptance"] * judged)
            counts[before[0]] += judged - taken
            counts[algorithm.pop[0].X[0]] += taken
        before[0] = algorithm.pop[0].X[0]

    before = [0]
    loop = Loop(problem, n_gen=9000, n_chains=1, n_proposals=6, schedule=[0.7], moves="walk:3,stay", after=after)
    loop.run()
    np.testing.assert_allclose(counts / counts.sum(), boltzmann(problem.values, 0.7), atol=0.03)


def test_proposals_are_judged_until_one_is_accepted():
    loop = Loop(samples.Bowl(n_var=4), n_gen=80, n_chains=2, n_proposals=5)
    loop.run(2)
    for _ in range(70):
        before = [p.F[0] for p in loop.algorithm.pop]
        infills = loop.step()
        row = loop.rows[-1]
        assert len(infills) in (2, 4, 6, 8, 10)
        judged = row["proposed_mutation"] + row["proposed_coordinate"]
        accepted = row["accepted_mutation"] + row["accepted_coordinate"]
        assert 2 <= judged <= len(infills) and accepted <= 2 and row["acceptance"] == pytest.approx(accepted / judged)
        assert judged == len(infills) or accepted >= 1
        after = [p.F[0] for p in loop.algorithm.pop]
        for k, (old, new) in enumerate(zip(before, after, strict=True)):
            own = [infills[i].F[0] for i in range(k, len(infills), 2)]
            assert new == old or new in own
            # a better one is never passed over for one behind it
            better = [i for i, f in enumerate(own) if f < old]
            if better:
                assert new in own[: better[0] + 1]
        assert row["best"] <= min(p.F[0] for p in infills), "what was not judged may be the best all the same"
    with pytest.raises(UsageError, match="n_proposals must be 1 with rule average"):
        Loop(samples.Bowl(), n_gen=5, n_proposals=2, rule="average")


def test_default_is_one_chain_with_up_to_twenty_proposals_and_given_chains_propose_singly(tmp_path):
    for settings, size in (({}, 20), ({"n_chains": 7}, 7), ({"n_proposals": 3}, 3), ({"rule": "average"}, 1)):
        cold = {"end_ratio": 1e-9, "calibration": 0, "moves": "mutation"}
        run = opt.minimize(samples.Bowl(), "sa", n_gen=400, out=tmp_path, **cold, **settings)
        sizes = np.array([r["n"] for r in run.journal()[1:]])
        assert sizes.max() == size
        if size in (20, 3):
            # one at a time while many are accepted, many when few are
            assert (sizes[:5] == 1).all() and (sizes[-5:] == size).all()
        else:
            assert sizes.min() == size


def test_acceptance_rules():
    rng = np.random.default_rng(0)
    increase = np.repeat([-1.0, 0.0, 0.5, 2.0], 20_000)
    warm = np.full(len(increase), 1.0)
    share = Metropolis().accepts(increase, warm, rng).reshape(4, -1).mean(axis=1)
    np.testing.assert_allclose(share, [1, 1, np.exp(-0.5), np.exp(-2)], atol=0.01)
    assert Metropolis().accepts(increase, warm * 0, rng).reshape(4, -1).mean(axis=1).tolist() == [1, 1, 0, 0]
    threshold = ThresholdAccepting().accepts(increase, warm, rng).reshape(4, -1).mean(axis=1)
    assert threshold.tolist() == [1, 1, 1, 0]


def test_lagging_average_is_over_the_last_proposals_of_each_chain():
    rule = RunningAverage(3)
    rule.begin(np.array([10.0, 0.0]))
    for proposed, expected in (([4, 0], [7, 0]), ([1, 3], [5, 1]), ([1, 3], [2, 2]), ([1, 3], [1, 3])):
        rule.observe(np.array(proposed, dtype=float))
        assert rule.reference(np.array([99.0, 99.0])).tolist() == expected
    rule.begin(np.array([5.0, 6.0]))
    assert rule.reference(np.zeros(2)).tolist() == [5, 6]


def test_published_rule_is_a_setting():
    """Every decision against the rule as written: accept when exp(-d / T) > u, d = new error - lagging average."""
    problem = samples.Bowl(n_var=6)
    loop = Loop(problem, "sa-lagging", n_gen=None, memory=5, start_temperature=2.0, cooling=0.99, level_most=3, seed=4)
    loop.step()
    remembered, n_uphill = [float(loop.algorithm.pop[0].F[0])], 0
    for _ in range(300):
        before = float(loop.algorithm.pop[0].F[0])
        new = float(loop.step()[0].F[0])
        after = float(loop.algorithm.pop[0].F[0])
        d, temperature = new - np.mean(remembered[-5:]), loop.rows[-1]["temperature"]
        if d <= 0:
            assert after == new, "better than the average is always accepted"
        if after != before:
            assert d / temperature < 14, "so much worse is accepted once in a million"
            n_uphill += d > 0
        remembered.append(new)
    assert n_uphill > 5
    # levels 1, 1, 1, 1, ... until the growth of 1.005 makes two: so far every step was a level
    temperature = loop.column("temperature")[1:140]
    np.testing.assert_allclose(temperature, 2.0 * 0.99 ** np.arange(139), rtol=1e-9)
    defaults = {name: p.default for name, p in algorithms()["sa-lagging"].parameters.items()}
    assert defaults == {
        "n_chains": 1,
        "start_temperature": 0.006,
        "cooling": 0.999,
        "level_growth": 1.005,
        "level_most": 50,
        "memory": 50,
        "moves": "all",
        "step_decay": 0.99,
        "smallest_step": 1e-5,
    }


def test_calibration_spends_its_trials_and_leaves_the_candidates_as_they_are():
    loop = Loop(samples.Bowl(n_var=5), n_gen=300, n_chains=3, acceptance=0.7, calibration=20)
    start = loop.step()
    before = [p.X.copy() for p in loop.algorithm.pop]
    trials = loop.step()
    assert len(start) == 3 and len(trials) == 20
    assert [row["phase"] for row in loop.rows] == ["start", "calibrate"]
    assert all((x == p.X).all() for p, x in zip(loop.algorithm.pop, before, strict=True))
    d = np.array([p.F[0] for p in trials]) - np.array([start[i % 3].F[0] for i in range(20)])
    temperature = loop.algorithm.start_temperature
    assert np.exp(-d[d > 0] / temperature).mean() == pytest.approx(0.7, abs=1e-6)
    # what the trials found counts as found
    assert loop.rows[-1]["best"] == min(p.F[0] for p in [*start, *trials])
    loop.step()
    assert loop.rows[-1]["phase"] == "step" and loop.rows[-1]["temperature"] == pytest.approx(temperature)


def test_calibration_survives_a_flat_landscape_and_measures_where_it_ends():
    class Plateau(samples.Bowl):
        cliff = False

        def evaluate(self, X):
            return super().evaluate(X) if self.cliff else np.full((len(X), 1), 3.0)

    problem = Plateau()
    loop = Loop(problem, n_gen=40, n_chains=4)
    loop.run(10)
    assert loop.algorithm.start_temperature is None
    assert (loop.column("acceptance")[2:] == 1).all()
    problem.cliff = True
    loop.run(2)
    assert 0 < loop.algorithm.start_temperature < 100


def test_flat_problem_ends_with_its_budget(tmp_path):
    class Flat(samples.Slope):
        def evaluate(self, X):
            return np.ones((len(X), 2))

    for algo in ("sa", "parallel-tempering"):
        assert opt.minimize(Flat(), algo, n_eval=300, out=tmp_path).manifest["n_eval"] == 300


def test_best_so_far_is_kept_while_the_current_goes_on():
    loop = Loop(samples.Bowl(n_var=4), n_gen=200, n_chains=2, start_temperature=50.0, end_ratio=1.0).run()
    best, current = loop.column("best"), loop.column("current")
    assert (np.diff(best) <= 0).all() and (current[100:] > best[100:]).all()
    assert float(loop.algorithm.opt[0].F[0]) == best[-1]
    assert loop.problem.evaluate(loop.algorithm.opt[0].X[None])[0, 0] == best[-1]


def test_temperature_falls_over_the_whole_budget():
    loop = Loop(samples.Bowl(), n_gen=102, n_chains=4, start_temperature=2.0, end_ratio=0.01).run()
    temperature = loop.column("temperature")[1:]
    np.testing.assert_allclose(temperature[0], 2.0, rtol=1e-3)
    np.testing.assert_allclose(temperature[-1], 0.02, rtol=1e-3)
    np.testing.assert_allclose(temperature[1:] / temperature[:-1], 0.01 ** (1 / 100), rtol=1e-2)


def test_restart_samples_anew_and_reheat_goes_on_from_the_best():
    current = []
    loop = Loop(
        samples.Bowl(n_var=4),
        n_gen=200,
        n_chains=3,
        restarts=1,
        reheats=1,
        reheat_ratio=0.25,
        start_temperature=1.0,
        end_ratio=1e-4,
        after=lambda a: current.append((a.pop.copy(), a.bests.copy())),
    ).run()
    phase, temperature = loop.column("phase"), loop.column("temperature")
    (restart,) = np.flatnonzero(phase == "restart")
    assert restart == pytest.approx(100, abs=2)
    assert temperature[restart + 1] == pytest.approx(1.0, rel=0.2)
    # the temperature rises twice beside the restart, to a quarter of the start
    rises = [k for k in range(2, 200) if temperature[k] > 2 * temperature[k - 1]]
    assert len(rises) == 2 and all(temperature[k] == pytest.approx(0.25, rel=1e-6) for k in rises)
    for k in rises:
        bests = current[k - 1][1]
        moved = [p is not q for p, q in zip(current[k][0], bests, strict=True)]
        accepted = loop.rows[k]["acceptance"] * 3
        assert sum(moved) == round(accepted), "a chain that did not move stands at its best"
    before, after = current[restart - 1][0], current[restart][0]
    assert all(p is not q for p, q in zip(before, after, strict=True))
    assert loop.rows[restart]["best"] == loop.rows[restart - 1]["best"] < loop.rows[restart]["current_best"]


def test_frozen_search_restarts_before_its_share_is_spent():
    # every state but the optimum leads to it, and nothing leads away from it in the cold
    problem = Ring((0.0, 100.0, 200.0, 300.0, 200.0, 100.0))
    loop = Loop(problem, n_gen=400, n_chains=1, restarts=3, frozen_steps=10, schedule=[1e-6], moves="walk").run()
    at = np.flatnonzero(loop.column("phase") == "restart")
    assert len(at) == 3 and at[-1] < 80


def test_candidate_that_breaks_a_constraint_is_accepted_only_from_a_worse_one():
    class Fence(CompressionProblem):
        objectives = (Objective("a"),)

        def __init__(self):
            super().__init__(n_var=2, xl=0.0, xu=4.0, n_ieq_constr=1)

        def evaluate(self, X):
            return X.sum(axis=1, keepdims=True), 2.0 - X[:, :1]

    violations = []
    for algo in ("sa", "parallel-tempering"):
        violations.clear()
        loop = Loop(
            Fence(), algo, n_gen=150, n_chains=6, after=lambda a: violations.append([p.CV[0] for p in a.pop])
        ).run()
        table = np.sort(np.array(violations), axis=1)
        assert (np.diff(table, axis=0) <= 0).all() and (table[-1] == 0).all()
        assert loop.algorithm.opt[0].CV[0] == 0
        # optimum (2, 0); what breaks the fence has lower values and is no best
        assert 2.0 <= float(loop.algorithm.opt[0].F[0]) < 2.5


def test_trace_tells_distance_step_and_moves():
    loop = Loop(samples.Bowl(n_var=4), n_gen=60, n_chains=5, moves="coordinate:3,mutation").run()
    rows = loop.rows[2:]
    assert list(rows[0]) == [
        "phase",
        "temperature",
        "acceptance",
        "step",
        "distance",
        "current",
        "current_best",
        "best",
        "proposed_coordinate",
        "accepted_coordinate",
        "proposed_mutation",
        "accepted_mutation",
    ]
    for row in rows:
        assert row["proposed_coordinate"] + row["proposed_mutation"] == 5
        assert row["accepted_coordinate"] + row["accepted_mutation"] == round(5 * row["acceptance"])
        assert 0 < row["distance"] <= 1.0 and row["best"] <= row["current_best"] <= row["current"]
    # steps shrink as it gets cold
    assert np.nanmean(loop.column("step")[-10:]) < np.nanmean(loop.column("step")[2:12])


def test_distance_of_objects_is_unknown_and_no_error(tmp_path):
    trace = opt.minimize(samples.Words(), "sa", n_eval=200, n_chains=4, out=tmp_path).trace
    assert trace["distance"].isna().all() and np.isfinite(trace["current"]).all()


def test_annealing_finds_a_planted_optimum_on_every_kind_of_variable(tmp_path):
    class Planted(CompressionProblem):
        objectives = (Objective("off"),)

        def __init__(self, kind, target):
            box = {"xl": -10, "xu": 10} if kind in ("real", "integer") else {}
            super().__init__(n_var=len(target), representation=kind, **box)
            self.target = np.array(target)

        def evaluate(self, X):
            return np.abs(X.astype(float) - self.target).sum(axis=1, keepdims=True)

    rng = np.random.default_rng(0)
    tasks = [
        Planted("real", rng.uniform(-8, 8, 8)),
        Planted("integer", rng.integers(-8, 9, 8)),
        Planted("binary", rng.random(40) < 0.5),
        Planted("permutation", rng.permutation(10)),
    ]
    for task in tasks:
        for algo, more in (
            ("sa", {"n_chains": 2}),
            ("sa", {"schedule": "lam", "n_chains": 2}),
            ("parallel-tempering", {"n_chains": 5}),
        ):
            run = opt.minimize(task, algo, n_gen=1500 // more["n_chains"], out=tmp_path, **more)
            assert run.front["off"].iloc[0] < 0.5, (task.representation, algo, more)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"schedule": "hot"}, "--algo.schedule must be one of"),
        ({"acceptance": 1.0}, "--algo.acceptance"),
        ({"end_ratio": 0.0}, "--algo.end_ratio"),
        ({"cooling": 1.5}, "--algo.cooling"),
        ({"restarts": -1}, "--algo.restarts"),
        ({"moves": "jump"}, "no move 'jump'; it has mutation, coordinate"),
        ({"start_temperature": 0.0}, "--algo.start_temperature must be at least 1e-100"),
        ({"schedule": lambda f: 1.0}, "top of a module"),
    ],
)
def test_wrong_setting_is_a_usage_error(settings, message, tmp_path):
    with pytest.raises(UsageError, match=message):
        opt.minimize(samples.Bowl(), "sa", out=tmp_path / "runs", **settings)
    assert not (tmp_path / "runs").exists()
