"""Annealing against the package `simanneal` on a tour with a proven optimum: equal moves, equal evaluations.

Task: berlin52 of TSPLIB (Reinelt 1991, doi:10.1287/ijoc.3.4.376), 52 places, distances rounded to whole
numbers, shortest tour 7542. A tour is small enough to evaluate in microseconds and large enough that
annealing is what people take for it, and the README of simanneal shows it on just such a task.

Equality first: the known shortest tour has length 7542; from one seed both sides get the same neighbours out
of one function of moves, and give them the same lengths; with one schedule of temperatures, without
calibration, both are the same method, and reach the same quality (the rows "same temperatures"); and each
side evaluates exactly as often as it was asked to, its start and calibration among them. Ours would look up a
proposal that it has seen before; here its memory is as good as switched off, so that these count too.

Then the length found above the optimum, median and mean over the seeds, and two-sided Mann-Whitney tests of
each row against ours with one chain that proposes singly (p1) and against ours with its defaults, where up to 20
proposals of the chain are evaluated together (p20). simanneal has its default temperatures, or those that its
`auto` finds, whose own evaluations (some 60,000) are not counted.

    python benchmarks/annealing.py [--seeds 20] [--n-eval 10000] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import random
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import mannwhitneyu
from simanneal import Annealer

from opt import CompressionProblem, Objective
from opt.algorithms import find_algorithm
from opt.algorithms.annealing.moves import moves_of
from opt.problem.default_operators import permutation_operators
from opt.problem.provenance import versions
from opt.search.budget import Budget
from opt.search.engine import Search
from opt.search.scalarise import Scalariser

# fmt: off
PLACES = np.array([
    565, 575, 25, 185, 345, 750, 945, 685, 845, 655, 880, 660, 25, 230, 525, 1000, 580, 1175, 650, 1130, 1605, 620,
    1220, 580, 1465, 200, 1530, 5, 845, 680, 725, 370, 145, 665, 415, 635, 510, 875, 560, 365, 300, 465, 520, 585,
    480, 415, 835, 625, 975, 580, 1215, 245, 1320, 315, 1250, 400, 660, 180, 410, 250, 420, 555, 575, 665, 1150, 1160,
    700, 580, 685, 595, 685, 610, 770, 610, 795, 645, 720, 635, 760, 650, 475, 960, 95, 260, 875, 920, 700, 500,
    555, 815, 830, 485, 1170, 65, 830, 610, 605, 625, 595, 360, 1340, 725, 1740, 245,
], dtype=float).reshape(-1, 2)
SHORTEST = np.array([
    1, 49, 32, 45, 19, 41, 8, 9, 10, 43, 33, 51, 11, 52, 14, 13, 47, 26, 27, 28, 12, 25, 4, 6, 15, 5, 24, 48, 38, 37,
    40, 39, 36, 35, 34, 44, 46, 16, 29, 50, 20, 23, 30, 2, 7, 42, 21, 17, 3, 18, 31, 22,
]) - 1
# fmt: on
OPTIMUM = 7542
N = len(PLACES)
DISTANCES = np.rint(np.linalg.norm(PLACES[:, None] - PLACES[None], axis=2))
OPERATORS = permutation_operators(N)
SAME = (300.0, 3.0)
"""Temperatures that both sides are given to compare the loops alone."""


def lengths(X: np.ndarray) -> np.ndarray:
    """Lengths of closed tours, (n, 52) to (n,)."""
    return DISTANCES[X, np.roll(X, -1, axis=1)].sum(axis=1)


class Tour(CompressionProblem):
    """The task as a problem of ours; counts what it evaluates."""

    objectives = (Objective("length"),)

    def __init__(self) -> None:
        super().__init__(n_var=N, representation="permutation")
        self.n_evaluated = 0

    def evaluate(self, X: np.ndarray) -> np.ndarray:
        self.n_evaluated += len(X)
        return lengths(X)[:, None]


class Theirs(Annealer):
    """The task for simanneal: our moves, its annealing."""

    copy_strategy = "method"
    updates = 0

    def __init__(self, seed: int, move: str) -> None:
        self.rng = np.random.default_rng(seed)
        self.apply = OPERATORS.moves[move].apply
        self.n_evaluated = 0
        super().__init__(OPERATORS.sampling(1, self.rng))

    def move(self) -> None:
        self.state = self.apply(self.state, self.rng)

    def energy(self) -> float:
        self.n_evaluated += 1
        return float(lengths(self.state)[0])

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Nothing to print."""


class Nowhere:
    """A recorder that keeps the first temperature of the trace alone."""

    records: list = []
    seconds: dict = {}

    def __init__(self) -> None:
        self.start_temperature = float("nan")
        self.n_proposed = 0

    def append(self, record: dict) -> None:
        self.n_proposed += record["n"]

    def history(self, row: list) -> None:
        pass

    def trace(self, row: dict) -> None:
        if row["phase"] == "step" and math.isnan(self.start_temperature):
            self.start_temperature = row["temperature"]


@dataclass(frozen=True)
class Result:
    """One run: best length, proposals made, proposals evaluated, first temperature, CPU seconds."""

    best: float
    n_proposed: int
    n_evaluated: int
    start_temperature: float
    cpu_s: float


def ours(seed: int, n_eval: int, *, algo: str = "sa", **settings: Any) -> Result:
    """Our search without files."""
    began = time.process_time()
    problem, recorder = Tour(), Nowhere()
    settings = {"moves": "inversion", "calibration": 40} | settings
    search = Search(
        problem,
        find_algorithm(algo),
        settings,
        seed=seed,
        budget=Budget(n_eval=n_eval),
        scalariser=Scalariser.of(problem.objectives),
        recorder=recorder,
        cache_size=1,
    )
    search.run()
    cpu_s = time.process_time() - began
    best = float(search.archive.F.min())
    return Result(best, recorder.n_proposed, problem.n_evaluated, recorder.start_temperature, cpu_s)


def theirs(seed: int, n_eval: int, *, temperatures: tuple[float, float] | str | None = None) -> Result:
    """Their search; evaluations of `auto` are not counted, its time is."""
    began = time.process_time()
    random.seed(seed)
    annealer = Theirs(seed, "inversion")
    if temperatures == "auto":
        schedule = annealer.auto(minutes=0.01)
        annealer.Tmax, annealer.Tmin = schedule["tmax"], schedule["tmin"]
        annealer.state = OPERATORS.sampling(1, annealer.rng)
    elif temperatures is not None:
        annealer.Tmax, annealer.Tmin = temperatures
    annealer.n_evaluated = 0
    annealer.steps = n_eval - 1
    best = annealer.anneal()[1]
    return Result(best, annealer.n_evaluated, annealer.n_evaluated, annealer.Tmax, time.process_time() - began)


def check_equal() -> None:
    """Stop unless both sides search the same task with the same moves."""
    if lengths(SHORTEST[None])[0] != OPTIMUM or sorted(SHORTEST) != list(range(N)):
        sys.exit("NOT EQUAL: the known shortest tour has not its known length")
    annealer, problem = Theirs(5, "inversion"), Tour()
    rng = np.random.default_rng(5)
    X = OPERATORS.sampling(1, rng)
    for _ in range(200):
        X = moves_of(OPERATORS)["inversion"].apply(X, rng)
        annealer.move()
        if not np.array_equal(X, annealer.state) or problem.evaluate(X)[0, 0] != annealer.energy():
            sys.exit("NOT EQUAL: one seed gives other neighbours or other lengths")
    print(f"equal: shortest tour {OPTIMUM}; 200 neighbours from one seed and their lengths, bit by bit")


def main() -> None:
    """Check, run, print one row a setting."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20, help="runs of each setting")
    parser.add_argument("--n-eval", type=int, default=10_000, help="evaluations of each run")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    check_equal()
    low, high = SAME[1] / SAME[0], SAME[0]
    settings = {
        "ours: sa, one proposal at a time": (ours, {"n_chains": 1}),
        "ours: sa, defaults": (ours, {}),
        "ours: sa, one at a time, moves by quality": (ours, {"n_chains": 1, "moves": "all", "mixture": "quality"}),
        "ours: sa, one at a time, lam": (ours, {"n_chains": 1, "schedule": "lam"}),
        "ours: sa, 20 chains": (ours, {"n_chains": 20}),
        "ours: parallel tempering, 8 chains": (ours, {"algo": "parallel-tempering", "n_chains": 8}),
        "simanneal, its default temperatures": (theirs, {}),
        "simanneal, temperatures by its auto": (theirs, {"temperatures": "auto"}),
        "ours, same temperatures": (ours, {"n_chains": 1, "start_temperature": high, "end_ratio": low}),
        "simanneal, same temperatures": (theirs, {"temperatures": SAME}),
    }
    rows = []
    references: list[np.ndarray] = []
    print(f"{arguments.n_eval} evaluations, {arguments.seeds} seeds, length above the optimum in %")
    print(
        f"{'setting':42} "
        f"{'median':>6} {'mean':>5} {'sd':>5} {'p1':>7} {'p20':>7} {'proposed':>8} {'T0':>7} {'CPU s':>5}"
    )
    for name, (search, more) in settings.items():
        results = [search(seed, arguments.n_eval, **more) for seed in range(arguments.seeds)]
        for result in results:
            if result.n_evaluated != arguments.n_eval or result.n_proposed > 1.03 * arguments.n_eval:
                sys.exit(f"NOT EQUAL: {name} made {result.n_evaluated} evaluations of {arguments.n_eval}")
        excess = 100 * (np.array([r.best for r in results]) / OPTIMUM - 1)
        if len(references) < 2:
            references.append(excess)
        p = [None if excess is r else float(mannwhitneyu(r, excess).pvalue) for r in references]
        row = {
            "setting": name,
            "excess_percent": excess.tolist(),
            "median": float(np.median(excess)),
            "p": p,
            "proposed": statistics.mean(r.n_proposed for r in results),
            "start_temperature": statistics.median(r.start_temperature for r in results),
            "cpu_s": statistics.mean(r.cpu_s for r in results),
        }
        rows.append(row)
        shown = ["" if value is None else f"{value:.1e}" for value in [*p, None][:2]]
        print(
            f"{name:42} "
            f"{row['median']:6.2f} {excess.mean():5.2f} {excess.std(ddof=1):5.2f} {shown[0]:>7} {shown[1]:>7} "
            f"{row['proposed']:8.0f} {row['start_temperature']:7.1f} {row['cpu_s']:5.2f}",
            flush=True,
        )
    print(f"one thread; {versions()}; {platform.processor() or platform.machine()}; load {os.getloadavg()}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "versions": versions(), "load": os.getloadavg()}, indent=2))


if __name__ == "__main__":
    main()
