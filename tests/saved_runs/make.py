"""Runs of every task, finished and killed midway, as the program of the day writes them.

    python tests/saved_runs/make.py FOLDER

from the top of a checkout. What lies beside this file was made so once, and is kept as it is: it stands for the runs
that users have. See README.md.
"""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "conformance"))

from numeric_probe import probe

RUNS = {
    "ecomp": "--algo=nsga2 --algo.pop_size=8 --n-eval=56 --problem.hidden=8 --problem.parent_epochs=2 "
    "--problem.n_search=200 --problem.similarity_points=40 --problem.perplexity=10 --keep=2",
    "threshold": "--algo=nsga2 --algo.pop_size=8 --n-eval=48 --problem.epochs=2 --problem.n_search=200 --keep=2",
    "masks": "--algo=sa --algo.n_chains=2 --algo.n_proposals=3 --n-eval=48 --problem.width=0.1 --problem.n_images=150 "
    "--problem.final_epochs=1 --problem.references=magnitude,snip --keep=2",
    "alds": "--algo=alds --n-eval=40 --problem.epochs=1 --problem.n_search=200 --problem.rival_budgets=2 --keep=1",
    "cgp": "--algo=cgp-es --n-eval=40 --problem.epochs=1 --problem.rows=6 --problem.cols=6 --keep=1",
    "cgp_layers": "--algo=ga --algo.pop_size=8 --n-eval=40 --problem.epochs=1 --problem.generations=100 "
    "--problem.rows=8 --problem.cols=8 --problem.thresholds=0,20 --keep=0",
}
STARTED = f"{RUNS['ecomp']} --start=tests/saved_runs/ecomp/finished"
STUDY = (
    "--algo=nsga2,random --runs=2 --name=study --algo.pop_size=8 --n-eval=32 --problem.hidden=8 "
    "--problem.parent_epochs=2 --problem.n_search=200 --problem.similarity_points=40 --problem.perplexity=10 --keep=2"
)
STOP = {"killed": signal.SIGKILL, "interrupted": signal.SIGINT}


def begin(task: str, options: str, out: Path) -> subprocess.Popen:
    """Begin a run of a task under a folder."""
    words = [f"problems/{task}.py", "--seed=1", "--quiet", *options.split(), f"--out={out}"]
    return subprocess.Popen([sys.executable, "-m", "opt.solve", *words])


def n_records(run: Path) -> int:
    """Generations that a run has recorded, in its journal and in its history."""
    history = run / "history.csv"
    return max(history.read_bytes().count(b"\n") - 1, 0) if history.exists() else 0


def finished(task: str, options: str, out: Path) -> Path:
    """A whole run, without its pictures, which are large and may be drawn at any time."""
    process = begin(task, options, out)
    assert process.wait() == 0
    (run,) = out.iterdir()
    shutil.rmtree(run / "plots")
    return run


def stopped(task: str, options: str, out: Path, *, by: str, at: int) -> Path:
    """A run that was stopped once so many generations were on record."""
    for _ in range(20):
        shutil.rmtree(out, ignore_errors=True)
        process = begin(task, options, out)
        while process.poll() is None and not any(n_records(run) >= at for run in out.glob("*-s1-*")):
            time.sleep(0.0005)
        process.send_signal(STOP[by])
        process.wait()
        (run,) = out.iterdir()
        status = json.loads((run / "manifest.json").read_text())["status"]
        if status == ("running" if by == "killed" else "interrupted"):
            shutil.rmtree(run / "plots", ignore_errors=True)
            return run
    raise AssertionError(f"{task} is too quick to be {by}")


def killed_study(out: Path) -> Path:
    """A study killed in its third run."""
    process = begin("ecomp", STUDY, out)
    third = out / "study" / "ecomp-nsga2-s2"
    while process.poll() is None and n_records(third) < 2:
        time.sleep(0.0005)
    process.kill()
    process.wait()
    assert not (third / "front.csv").exists()
    for plots in out.glob("study/*/plots"):
        shutil.rmtree(plots)
    return out / "study"


def main(folder: Path) -> None:
    """Make all of them."""
    out = Path("runs") / "made"

    def keep(path: Path, name: str) -> Path:
        shutil.rmtree(folder / name, ignore_errors=True)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, folder / name)
        shutil.rmtree(out, ignore_errors=True)
        print(name, flush=True)
        return folder / name

    for task, options in RUNS.items():
        half = max(n_records(keep(finished(task, options, out), f"{task}/finished")) // 2, 1)
        keep(stopped(task, options, out, by="killed", at=half), f"{task}/killed")
    keep(stopped("ecomp", RUNS["ecomp"], out, by="interrupted", at=2), "ecomp/interrupted")
    keep(stopped("ecomp", STARTED, out, by="killed", at=3), "ecomp/started-killed")
    keep(killed_study(out), "study")
    (folder / "probe.json").write_text(json.dumps(probe("torch"), indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
