"""Cooling schedules, levels, cycles: temperatures where they are known in closed form."""

from __future__ import annotations

import math

import numpy as np
import pytest

from opt import UsageError
from opt.algorithms.annealing.cycles import Cycles
from opt.algorithms.annealing.schedules import LamAdaptive, Levels, schedule_of


def halving(fraction: float) -> float:
    return 8.0 * 0.5 ** (4 * fraction)


def negative(fraction: float) -> float:
    return 0.5 - fraction


def failing(fraction: float) -> float:
    raise RuntimeError("no temperature")


def named(name, **more):
    return schedule_of(name, **({"cooling": None, "end_ratio": 0.01} | more))


@pytest.mark.parametrize("name", ["geometric", "linear", "logarithmic", "cauchy"])
def test_spread_schedule_falls_from_one_to_the_end_ratio(name):
    schedule = named(name)
    values = [schedule.at(f, 0) for f in np.linspace(0, 1, 101)]
    assert values[0] == pytest.approx(1.0) and values[-1] == pytest.approx(0.01)
    assert (np.diff(values) < 0).all() and not schedule.is_absolute


def test_spread_schedules_have_their_curves():
    assert named("geometric").at(0.5, 0) == pytest.approx(0.1)
    assert named("linear").at(0.25, 0) == pytest.approx(1 - 0.99 / 4)
    assert named("cauchy").at(0.5, 0) == pytest.approx(1 / (1 + 99 / 2))
    # equal falls of 1/T for equal ratios of the step
    inverse = [1 / named("logarithmic").at((k - 1) / 1000, 0) for k in (10, 100, 1000)]
    assert inverse[2] - inverse[1] == pytest.approx(inverse[1] - inverse[0], rel=1e-9)
    # the logarithmic one is fast at first, the linear one last
    early = {name: named(name).at(0.1, 0) for name in ("logarithmic", "cauchy", "geometric", "linear")}
    assert list(early) == sorted(early, key=early.get)


def test_cooling_is_a_factor_a_level_and_no_matter_of_the_budget():
    schedule = named("geometric", cooling=0.5)
    assert [schedule.at(0.3, level) for level in range(4)] == [1, 0.5, 0.25, 0.125]
    with pytest.raises(UsageError, match=r"--algo.cooling .* lam"):
        named("lam", cooling=0.5)


@pytest.mark.parametrize("given", [[9, 3, 1], "9,3,1", "[9, 3, 1]", (9.0, 3.0, 1.0)])
def test_listed_temperatures_last_equally_long(given):
    schedule = named(given)
    assert schedule.is_absolute
    assert [schedule.at(f, 0) for f in (0.0, 0.33, 0.34, 0.66, 0.67, 1.0)] == [9, 9, 3, 3, 1, 1]


def test_function_of_a_user_gives_temperatures():
    schedule = named(f"{__name__}:halving")
    assert schedule.is_absolute and [schedule.at(f, 0) for f in (0, 0.25, 1.0)] == [8, 4, 0.5]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("geometrik", "did you mean 'geometric'"),
        ("", "one of geometric"),
        ([], "at least one"),
        ([1, -1], "0 or more"),
        ([1, math.inf], "0 or more"),
        ([1, "hot"], "numbers"),
        (f"{__name__}:nothing", "no function 'nothing'"),
        ("no_such_module:f", "cannot import"),
    ],
)
def test_no_schedule_is_a_usage_error(given, message):
    with pytest.raises(UsageError, match=message):
        named(given)


@pytest.mark.parametrize(("name", "message"), [("negative", "0 or more, got -0.5"), ("failing", "no temperature")])
def test_function_that_gives_no_temperature_is_a_usage_error(name, message):
    with pytest.raises(UsageError, match=message):
        named(f"{__name__}:{name}").at(1.0, 0)


def test_lam_course_is_continuous_and_ends_cold():
    f = np.linspace(0, 1, 2001)
    target = np.array([LamAdaptive.target(x) for x in f])
    assert target[0] == pytest.approx(1.0) and target[-1] == pytest.approx(0.001, rel=1e-3)
    assert (np.diff(target) <= 1e-12).all() and np.abs(np.diff(target)).max() < 0.03
    assert (target[(f > 0.15) & (f < 0.65)] == 0.44).all()


@pytest.mark.parametrize("n", [400, 4000])
def test_lam_control_brings_the_acceptance_to_its_course(n):
    schedule, rng = LamAdaptive(), np.random.default_rng(0)
    seen = []
    for k in range(n):
        # moves of one size: accepted with probability exp(-1 / T), of T in units of the start
        seen.append(rng.random() < math.exp(-1 / schedule.at(k / n, 0)))
        schedule.observe(float(seen[-1]), k / n, 1 / n)
    middle = np.mean(seen[int(0.3 * n) : int(0.65 * n)])
    assert middle == pytest.approx(0.44, abs=0.07)
    assert np.mean(seen[int(0.95 * n) :]) < 0.06


def test_levels_grow_to_their_most():
    levels, lengths, level = Levels(steps=1, growth=1.5, most=5), [0], 0
    for _ in range(40):
        if levels.level != level:
            level = levels.level
            lengths.append(0)
        assert levels.is_new == (lengths[-1] == 0)
        lengths[-1] += 1
        levels.step_done()
    assert lengths[:7] == [1, 1, 2, 3, 5, 5, 5]


def test_levels_of_the_published_search_sum_up_as_published():
    # 42,706 evaluations of the fully connected network are about 1,450 levels (T from .006 to .0014)
    levels = Levels(steps=1, growth=1.005, most=50)
    for _ in range(42_706):
        levels.step_done()
    assert 1400 < levels.level < 1500


def changes(cycles: Cycles, n: int, *, still=()) -> list[tuple[int, str]]:
    found = []
    for k in range(n):
        change = cycles.advance(k / n)
        if change:
            found.append((k, change))
        assert 0 <= cycles.fraction() <= 1
        cycles.step_done(has_changed=k not in still)
    return found


def test_cycles_share_the_budget():
    assert changes(Cycles(restarts=0, reheats=0, frozen_steps=5), 100) == []
    assert changes(Cycles(restarts=1, reheats=0, frozen_steps=5), 100) == [(50, "restart")]
    cycles = Cycles(restarts=1, reheats=1, frozen_steps=5)
    assert changes(cycles, 100) == [(25, "reheat"), (50, "restart"), (75, "reheat")]
    assert cycles.n_reheats == 1


def test_fraction_of_a_cycle_reaches_one_with_its_last_step():
    cycles, fractions = Cycles(restarts=1, reheats=0, frozen_steps=5), []
    for k in range(20):
        cycles.advance(k / 20)
        fractions.append(cycles.fraction())
        cycles.step_done(has_changed=True)
    np.testing.assert_allclose(fractions[1:10], np.arange(1, 10) / 9, atol=1e-9)
    np.testing.assert_allclose(fractions[10:], np.arange(10) / 9, atol=1e-9)


def test_frozen_chains_begin_their_next_cycle_early_and_the_rest_is_shared_anew():
    cycles = Cycles(restarts=2, reheats=0, frozen_steps=5)
    # frozen from step 10 on: five steps later the first restart; 85 are left for two cycles
    found = changes(cycles, 100, still=range(10, 16))
    assert [what for _, what in found] == ["restart", "restart"]
    assert found[0][0] == 15 and found[1][0] in (57, 58)
    # with no cycle to come a frozen search stays as it is
    assert changes(Cycles(restarts=0, reheats=0, frozen_steps=5), 100, still=range(100)) == []
