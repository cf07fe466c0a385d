"""What comparing 200 runs of 100 generations costs: time, and memory at its peak.

Equality first: every run's hypervolume, IGD+ and epsilon must equal moocore called directly on the front
that the run saved, and the attainment surfaces moocore's `eaf`. Then the whole command, in a process of
its own, from reading the runs to the page.

    python benchmarks/compare.py [--json FILE] [--seeds 50]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
import types
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import moocore
import numpy as np
from pymoo.problems import get_problem

import opt
from opt.compare import compare
from opt.plots.attainment import attainment_surfaces
from opt.problem.provenance import versions
from opt.runs.run_listing import find_runs

ALGORITHMS = ("nsga2", "ga", "sga", "random")
N_GEN = 100
MOST_SECONDS = 10.0
MOST_BYTES = 1e9

MEASURE = """
import resource, sys
from opt.compare import main
code = main(sys.argv[1:])
print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}")
sys.exit(code)
"""


def make_runs(folder: Path, n_seeds: int, *, problem: str) -> None:
    """Runs of every algorithm and seed on one problem, without pictures of their own."""
    stand_in = types.ModuleType("opt.plots.run_pictures")
    stand_in.plot_runs = lambda runs, *, out=None: runs[0].path  # type: ignore[attr-defined]
    sys.modules["opt.plots.run_pictures"] = stand_in
    for algo in ALGORITHMS:
        for seed in range(1, n_seeds + 1):
            opt.minimize(get_problem(problem), algo, seed=seed, n_gen=N_GEN, pop_size=100, out=folder)


def check_equal(folder: Path) -> int:
    """Compare with moocore called directly; the number of runs compared."""
    (comparison,) = compare(find_runs([folder])).comparisons
    scale = comparison.scale
    names = [o.name for o in comparison.objectives]
    for m in comparison.runs:
        F = (m.run.front[names].to_numpy() - scale.ideal) / (scale.nadir - scale.ideal)
        inside = F[(scale.ref_point > F).all(axis=1)]
        assert m.hypervolume == moocore.hypervolume(inside, ref=scale.ref_point)
        assert m.igd_plus == moocore.igd_plus(F, ref=comparison.reference)
        assert m.epsilon == moocore.epsilon_additive(F, ref=comparison.reference)
        assert m.trace is not None
        np.testing.assert_allclose(m.trace.hypervolume[-1], m.hypervolume, rtol=1e-12)
    for group in comparison.groups:
        fronts = [np.ascontiguousarray(m.F[:, :2]) for m in comparison.of(group)]
        sets = np.repeat(np.arange(len(fronts)), [len(F) for F in fronts])
        theirs = moocore.eaf(np.concatenate(fronts), sets, percentiles=[50.0])[:, :2]
        ours = attainment_surfaces(fronts, (50.0,))[50.0]
        np.testing.assert_array_equal(ours, theirs[np.lexsort((theirs[:, 1], theirs[:, 0]))])
    return len(comparison.runs)


def time_command(folder: Path, out: Path) -> tuple[float, float]:
    """Seconds and bytes at the peak of the whole command."""
    began = time.perf_counter()
    command = [sys.executable, "-c", MEASURE, str(folder), "--out", str(out)]
    answer = subprocess.run(command, capture_output=True, text=True, check=True)
    seconds = time.perf_counter() - began
    return seconds, float(answer.stdout.rsplit("peak ", 1)[1])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the results to this file")
    parser.add_argument("--seeds", type=int, default=50, help="seeds of each of the four algorithms")
    options = parser.parse_args()
    results = []
    for problem in ("zdt1", "dtlz2"):
        with tempfile.TemporaryDirectory() as folder:
            runs = Path(folder) / "runs"
            make_runs(runs, options.seeds, problem=problem)
            n_runs = check_equal(runs)
            seconds, n_bytes = time_command(runs, Path(folder) / "out")
        print(f"{problem}: indicators and attainment equal moocore's for {n_runs} runs of {N_GEN} generations")
        print(f"{problem}: {seconds:.1f} s (at most {MOST_SECONDS:.0f}), {n_bytes / 1e6:.0f} MB (at most 1000)")
        results.append({"problem": problem, "n_runs": n_runs, "seconds": seconds, "peak_bytes": n_bytes})
    if options.json:
        about = {"versions": versions(), "processor": platform.processor() or platform.machine()}
        options.json.write_text(json.dumps({**about, "results": results}, indent=2) + "\n")
    return int(any(r["seconds"] > MOST_SECONDS or r["peak_bytes"] > MOST_BYTES for r in results))


if __name__ == "__main__":
    sys.exit(main())
