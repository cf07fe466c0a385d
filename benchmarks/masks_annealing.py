"""Annealing against the package `simanneal` on the mask task: equal moves, equal evaluations.

LeNet-300-100 at its initial weights, four fifths of them dropped, the scaled cross-entropy of 2,000 images of
Fashion-MNIST (the digits where it is not found). Equality first: with one seed both sides get the same neighbours
out of one move and the same values for them. Then the loss reached and the test accuracy of its mask, over seeds,
with plain swaps of log-uniform size on both sides, and once more with ours at its defaults, which drives the size by
acceptance. simanneal has its default temperatures, and those that ours has.

    python benchmarks/masks_annealing.py [--seeds 3] [--n-eval 4000] [--data NAME] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from simanneal import Annealer

from operators.masks import MaskGenome, as_population
from opt import minimize
from opt.console.errors import UsageError
from opt.problem.provenance import versions
from problems.masks import Masks

LARGEST = 0.002
HOT, COLD = 0.003, 0.0001
SMALLEST_STEP = 0.01


class Swapping(Annealer):
    """simanneal on masks: the problem's swap of a log-uniform size, the problem's loss."""

    def __init__(self, problem: Masks, genome: MaskGenome, seed: int) -> None:
        self.problem, self.rng = problem, np.random.default_rng(seed)
        self.swap = problem.operators().moves["swap"].apply
        self.n_eval = 0
        self.copy_strategy = "method"
        super().__init__(_Held(genome))

    def move(self) -> None:
        """One swap."""
        step = np.array([SMALLEST_STEP ** self.rng.random()])
        self.state.genome = self.swap(as_population([self.state.genome]), step, self.rng)[0, 0]

    def energy(self) -> float:
        """The loss."""
        self.n_eval += 1
        return float(self.problem.evaluate(as_population([self.state.genome]))[0, 0])

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Silent."""


class _Held:
    """A state with the `copy` that simanneal asks for."""

    def __init__(self, genome: MaskGenome) -> None:
        self.genome = genome

    def copy(self) -> _Held:
        return _Held(self.genome)


def check_equal(problem: Masks, other: Masks) -> None:
    """Stop unless both sides see the same moves and values."""
    X = problem.operators().sampling(1, np.random.default_rng(0))
    annealer = Swapping(problem, X[0, 0], seed=5)
    rng = np.random.default_rng(5)
    for _ in range(20):
        annealer.move()
        X = other.operators().moves["swap"].apply(X, np.array([SMALLEST_STEP ** rng.random()]), rng)
        if annealer.state.genome.key != X[0, 0].key or annealer.energy() != other.evaluate(X)[0, 0]:
            sys.exit("NOT EQUAL: moves or values of the two sides")
    print("equal: 20 moves and their values, bit by bit")


def by_simanneal(problem: Masks, seed: int, n_eval: int, hot: float | None, cold: float | None) -> MaskGenome:
    random.seed(seed)  # simanneal draws its acceptance from there
    X = problem.operators().sampling(1, np.random.default_rng(seed))
    annealer = Swapping(problem, X[0, 0], seed)
    if hot is not None:
        annealer.Tmax, annealer.Tmin = hot, cold
    annealer.steps, annealer.updates = n_eval - 1, 0
    best, _ = annealer.anneal()
    assert annealer.n_eval == n_eval
    return best.genome


def by_ours(problem: Masks, seed: int, n_eval: int, **options: Any) -> MaskGenome:
    with tempfile.TemporaryDirectory() as folder:
        run = minimize(problem, "sa", seed=seed, n_eval=n_eval, out=folder, keep=1, moves="swap", **options)
        bits = run.solution(run.front["id"][0])["mask_bits"]
    return MaskGenome.from_mask(np.unpackbits(bits, count=problem.layout.n).astype(bool))


def main() -> None:
    """Check, search, print one row per way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3, help="networks and searches (default: 3)")
    parser.add_argument("--n-eval", type=int, default=4000, help="evaluations of each search (default: 4000)")
    parser.add_argument("--data", default="fashion-mnist", help="data set (default: fashion-mnist)")
    parser.add_argument("--json", type=Path, help="also write the rows here")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    options: dict[str, Any] = {"data": arguments.data, "references": "none", "largest_move": LARGEST}
    try:
        check_equal(Masks(**options), Masks(**options))
    except UsageError:
        options["data"] = "digits"
        check_equal(Masks(**options), Masks(**options))
    cooled = {"n_chains": 1, "start_temperature": HOT, "end_ratio": COLD / HOT}
    ways = {
        "simanneal, its temperatures": lambda p, s, n: by_simanneal(p, s, n, None, None),
        "simanneal, our temperatures": lambda p, s, n: by_simanneal(p, s, n, HOT, COLD),
        "ours, the same moves": lambda p, s, n: by_ours(p, s, n, step="varied", smallest_step=SMALLEST_STEP, **cooled),
        "ours, steps driven by acceptance": lambda p, s, n: by_ours(p, s, n, **cooled),
    }
    rows = []
    print(f"{'way, ' + format(arguments.n_eval, ',') + ' evaluations':40} {'loss':>8} {'test':>8} {'CPU [s]':>9}")
    for name, way in ways.items():
        losses, tests, start = [], [], time.process_time()
        for seed in range(arguments.seeds):
            problem = Masks(network_seed=seed, **options)
            x = as_population([way(problem, seed, arguments.n_eval)])
            losses.append(float(problem.evaluate(x)[0, 0]))
            tests.append(problem.test(x[0])["accuracy"])
        cpu = (time.process_time() - start) / arguments.seeds
        rows.append({"way": name, "losses": losses, "tests": tests, "cpu_s": cpu})
        print(f"{name:40} {np.mean(losses):8.4f} {np.mean(tests):8.4f} {cpu:9.1f}", flush=True)
    print(f"{arguments.seeds} seeds, one thread; {versions()}; load {os.getloadavg()}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"rows": rows, "versions": versions(), "load": os.getloadavg()}))


if __name__ == "__main__":
    main()
