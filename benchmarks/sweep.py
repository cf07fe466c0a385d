"""A sweep with two jobs against the same sweep with one, one thread each: equal journals, then the throughput.

Wall-clock time of whole commands, so run it on a machine that has two cores to spare.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
OPTIONS = (
    *("problems/ecomp.py", "--algo", "nsga2,ga", "--runs", "6", "--n-eval", "6000"),
    *("--name", "sweep", "--keep", "0", "--quiet"),
)
REQUIRED = 1.7


def sweep(out: Path, jobs: int) -> tuple[float, dict[str, bytes], float]:
    """(wall-clock seconds, journals by run, seconds of search summed over runs)."""
    began = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "opt.solve", *OPTIONS, "--jobs", str(jobs), "--out", str(out)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
    )
    spent = time.perf_counter() - began
    journals = {path.parent.name: path.read_bytes() for path in sorted(out.glob("sweep/*/journal.jsonl"))}
    rows = np.genfromtxt(out / "sweep" / "index.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    return spent, journals, float(rows["seconds"].sum())


def main() -> None:
    load = os.getloadavg()[0]
    print(f"{' '.join(OPTIONS)}; load before {load:.1f}, {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        # the parent is trained and cached before anything is timed
        first = ("problems/ecomp.py", "--n-gen", "1", "--quiet", "--out", folder)
        subprocess.run([sys.executable, "-m", "opt.solve", *first], cwd=ROOT, check=True)
        one, alone, busy_one = sweep(Path(folder) / "one", 1)
        two, side_by_side, busy_two = sweep(Path(folder) / "two", 2)
    if alone != side_by_side or len(alone) != 12:
        sys.exit("the journals differ between one and two jobs")
    print(f"journals equal: {len(alone)} runs")
    print(f"one job {one:.1f} s (search {busy_one:.1f} s), two jobs {two:.1f} s (search {busy_two:.1f} s)")
    print(f"throughput of two jobs: {one / two:.2f} times that of one (required: {REQUIRED})")


if __name__ == "__main__":
    main()
