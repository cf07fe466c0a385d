"""Kill runs of every algorithm and task at random moments, resume them, and compare them with runs never killed.

python tests/kill_runs.py --n 200 --seed 1                 # until so many kills, over all cases in turn
python tests/kill_runs.py --n 5000 --seconds 3600          # or for an hour
python tests/kill_runs.py --only masks                     # cases whose names have this in them
python tests/kill_runs.py --seed 1 --first 17 --n 1        # the 17th run of seed 1 once more

Each attempt is a fork of this process, which has everything imported: a process of its own, killed by SIGKILL,
that need not load Python's modules first. Each moment is drawn: by the clock, before an operation on a file of
the run, in the middle of writing a record, at a generation, also a replayed one. Exit code 1 when a resumed run
differs; its folder is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import types
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # before anything starts threads, of which a fork would have none
sys.path.insert(0, str(Path(__file__).parents[1]))

import pandas as pd
from kill_cases import Case, in_turn, not_among

import opt.plots.run_pictures
import opt.runs.journal
import opt.runs.run_directory
from opt.console.command import execute
from opt.solve import main as solve

MOST_KILLS = 4
"""So often one run is killed at most, before it may come to its end."""
LONGEST = 300.0
"""Seconds after which an attempt that should end by itself counts as hanging."""
TOTALS = (
    *("status", "stop_reason", "n_gen", "n_eval", "n_inner_eval", "n_failed", "failures", "hypervolume"),
    *("ref_point", "igd_plus", "n_solutions", "stationary"),
)
_COUNTED = ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree")


@dataclass
class Whole:
    """The run of a case that was never killed.

    Args:
        contents: What a resumed run must have in common with it.
        seconds: How long it took.
        n_operations: Operations on files under its folder.
        n_gen: Its generations.
    """

    contents: dict[str, object]
    seconds: float
    n_operations: int
    n_gen: int


@dataclass
class Tally:
    """What was done.

    Args:
        kills: Kills by the kind of their moment.
        cases: Names of the cases of which a run was killed.
        n_runs: Runs that were killed at least once.
        mismatches: A line for each run that differs.
    """

    kills: Counter[str] = field(default_factory=Counter)
    cases: set[str] = field(default_factory=set)
    n_runs: int = 0
    mismatches: list[str] = field(default_factory=list)


# -- one attempt ------------------------------------------------------------------------------------


def attempt(arguments: Sequence[str], log: Path, *, arm: Callable[[], None] | None, seconds: float | None) -> int:
    """Run the command in a fork of this process; its exit code, -9 when it was killed.

    Args:
        arguments: The command line.
        log: Where its output goes.
        arm: Called in the fork before the command; may have it killed at some moment.
        seconds: When to kill it from outside; None lets it come to its end.
    """
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(output, 1)
            os.dup2(output, 2)
            sys.argv = ["opt.solve", *arguments]
            if arm is not None:
                arm()
            execute(solve)
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 98
        finally:
            os._exit(code)
    end = time.monotonic() + (LONGEST if seconds is None else seconds)
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() >= end:
            os.kill(pid, signal.SIGKILL)
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            return code if seconds is not None else 97
        time.sleep(0.002)


def kill_oneself() -> None:
    """The moment has come."""
    os.kill(os.getpid(), signal.SIGKILL)


def at_operation(number: int, folder: Path) -> Callable[[], None]:
    """Arms a fork to be killed before the `number`-th operation on a file under a folder."""

    def arm() -> None:
        count_operations(folder, lambda n: kill_oneself() if n == number else None)

    return arm


def count_operations(folder: Path, seen: Callable[[int], None]) -> None:
    """Call `seen` with 1, 2, ... before each operation on a file under a folder, from here on."""
    n = 0

    def hook(event: str, arguments: tuple) -> None:
        nonlocal n
        if event in _COUNTED and isinstance(arguments[0], (str, os.PathLike)) and str(folder) in str(arguments[0]):
            n += 1
            seen(n)

    sys.addaudithook(hook)


def in_record(number: int, share: float) -> Callable[[], None]:
    """Arms a fork to be killed when a share of the `number`-th record that it appends is on disk."""

    def arm() -> None:
        append = opt.runs.journal.Journal.append
        n = 0

        def torn(self: opt.runs.journal.Journal, record: dict) -> None:
            nonlocal n
            n += 1
            if n == number:
                line = opt.runs.journal.encode(record)
                with open(self.path, "ab", buffering=0) as file:
                    file.write(line[: round(share * len(line))])
                kill_oneself()
            append(self, record)

        opt.runs.journal.Journal.append = torn  # type: ignore[method-assign]

    return arm


def at_generation(number: int) -> Callable[[], None]:
    """Arms a fork to be killed at its `number`-th generation, replayed ones counted."""

    def arm() -> None:
        history = opt.runs.run_directory.RunDirectory.history
        n = 0

        def counted(self: opt.runs.run_directory.RunDirectory, row: Sequence[float]) -> None:
            nonlocal n
            n += 1
            if n == number:
                kill_oneself()
            history(self, row)

        opt.runs.run_directory.RunDirectory.history = counted  # type: ignore[method-assign]

    return arm


# -- one run ----------------------------------------------------------------------------------------


def run_of(out: Path) -> Path | None:
    """The run directory under `out`, once there is one that can be resumed."""
    manifests = sorted(out.glob("*/manifest.json"))
    return manifests[0].parent if manifests else None


def contents(run: Path) -> dict[str, object]:
    """Everything that a resumed run must have in common with the one that was never killed."""
    files = sorted(p for p in run.rglob("*") if p.is_file())
    shown: dict[str, object] = {"files": [str(p.relative_to(run)) for p in files]}
    for path in files:
        if path.suffix in (".jsonl", ".csv", ".safetensors") and path.name != "history.csv":
            shown[str(path.relative_to(run))] = path.read_bytes()
    shown["history.csv"] = pd.read_csv(run / "history.csv").drop(columns="seconds").to_csv()
    manifest = json.loads((run / "manifest.json").read_text())
    return shown | {f"manifest {key}": manifest.get(key) for key in TOTALS}


def differences(first: dict[str, object], second: dict[str, object]) -> list[str]:
    """What two runs' contents do not have in common, by name."""
    names = [name for name in {**first, **second} if first.get(name) != second.get(name)]
    if "files" in names:
        names += sorted(set(first["files"]) ^ set(second["files"]))  # type: ignore[call-overload]
    return names


def run_whole(case: Case, folder: Path) -> Whole | str:
    """The case's run, never killed; or why there is none."""
    out, log, count = folder / "whole", folder / "whole.log", folder / "count"

    def arm() -> None:
        def note(n: int) -> None:
            with open(count, "w") as file:
                file.write(str(n))

        count_operations(out, note)

    began = time.monotonic()
    code = attempt([*case.arguments, f"--out={out}"], log, arm=arm, seconds=None)
    if code:
        return f"exit code {code}: {' '.join(log.read_text().split())[-300:]}"
    run = run_of(out)
    assert run is not None
    shown = contents(run)
    return Whole(shown, time.monotonic() - began, int(count.read_text()), int(str(shown["manifest n_gen"])))


MOMENTS = ("clock", "file operation", "generation", "record")


def moment(
    rng: random.Random, whole: Whole, out: Path, kinds: Sequence[str]
) -> tuple[str, Callable[[], None] | None, float | None]:
    """One of the kinds of moments, what arms the fork for it, and the seconds after which it is killed from outside."""
    run = run_of(out)
    journal = run / "journal.jsonl" if run else None
    lines = len(journal.read_bytes().splitlines()) if journal is not None and journal.exists() else 0
    left = whole.n_gen + 1 - lines  # a line is the header
    # once all is recorded, no kill comes in the middle of a record: the run comes to its end
    kind = rng.choice([kind for kind in kinds if kind != "record" or left > 0] or ["generation"])
    if kind == "file operation":
        return kind, at_operation(rng.randint(1, whole.n_operations), out), None
    if kind == "generation":
        return kind, at_generation(rng.randint(1, whole.n_gen)), None
    if kind == "record":
        return kind, in_record(rng.randint(1, left), rng.choice([0.0, 1.0, rng.random()])), None
    return kind, None, rng.uniform(0.0, whole.seconds)


def kill_and_compare(
    case: Case, whole: Whole, folder: Path, rng: random.Random, tally: Tally, kinds: Sequence[str]
) -> str:
    """Kill one run some times, let it come to its end, and say how it differs; nothing when it does not."""
    out, log = folder / "killed", folder / "killed.log"
    n_kills = 0
    for n_left in reversed(range(rng.randint(1, MOST_KILLS) + 1)):
        run = run_of(out)
        arguments = ["--resume", str(run), "--quiet"] if run else [*case.arguments, f"--out={out}"]
        kind, arm, seconds = moment(rng, whole, out, kinds) if n_left else ("", None, None)
        code = attempt(arguments, log, arm=arm, seconds=seconds)
        if code == -signal.SIGKILL and n_left:
            n_kills += 1
            tally.kills[kind] += 1
            tally.cases.add(case.name)
        elif code:
            return f"exit code {code}: {' '.join(log.read_text().split())[-300:]}"
    tally.n_runs += n_kills > 0
    run = run_of(out)
    return "there is no run" if run is None else ", ".join(differences(whole.contents, contents(run)))


def main(argv: Sequence[str]) -> int:
    """Kill, resume, compare, tell; 1 when a run differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="kills")
    parser.add_argument("--seed", type=int, default=1, help="of the moments and of the order of cases")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="longest time")
    parser.add_argument("--first", type=int, default=1, help="number of the first run; those before are passed over")
    parser.add_argument("--only", default="", help="text that the names of cases must have in them")
    parser.add_argument("--moments", default=",".join(MOMENTS), help="kinds of moments: %(default)s")
    parser.add_argument("--without-plots", action="store_true", help="runs draw nothing: quicker by far")
    parser.add_argument("--out", type=Path, help="folder of all runs; a temporary one when not given")
    asked = parser.parse_args(argv)
    kinds = asked.moments.split(",")
    if unknown := set(kinds) - set(MOMENTS):
        parser.error(f"--moments must be among {', '.join(MOMENTS)}, got {', '.join(unknown)}")
    if asked.without_plots:
        sys.modules["opt.plots.run_pictures"] = types.SimpleNamespace(plot_runs=lambda runs: None)  # type: ignore[assignment]
    out = asked.out or Path(tempfile.mkdtemp(prefix="killed-runs-"))
    out.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("OPT_CACHE_DIR", str(out.absolute() / "cache"))
    tally, wholes = Tally(), {}
    began = time.monotonic()
    for number, case in enumerate(in_turn(asked.seed, asked.only), start=1):
        if number < asked.first:
            continue
        if tally.kills.total() >= asked.n or time.monotonic() - began > asked.seconds:
            break
        folder = out.absolute() / f"{number}-{case.name.replace(' ', '-')}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if case.name not in wholes:
            wholes[case.name] = run_whole(case, folder)
        whole, before = wholes[case.name], tally.kills.total()
        if isinstance(whole, str):
            # such as an algorithm of the task's own on a setting that it does not fit
            print(f"{number} {case.name}: passed over, {whole}", flush=True)
            continue
        difference = kill_and_compare(case, whole, folder, random.Random(f"{asked.seed}/{number}"), tally, kinds)
        print(f"{number} {case.name}: {tally.kills.total() - before} kills, {difference or 'equal'}", flush=True)
        if difference:
            tally.mismatches.append(f"{number} {case.name}: {difference} ({folder})")
        else:
            shutil.rmtree(folder)
    _tell(tally, wholes, time.monotonic() - began)
    if not tally.mismatches and asked.out is None:
        shutil.rmtree(out)
    return 1 if tally.mismatches or not tally.n_runs else 0


def _tell(tally: Tally, wholes: dict[str, Whole | str], seconds: float) -> None:
    passed_over = sum(isinstance(whole, str) for whole in wholes.values())
    moments = ", ".join(f"{n} at a {kind}" for kind, n in tally.kills.most_common())
    algos = {name.split()[1] for name in tally.cases}
    problems = {name.split()[0].partition("-")[0] for name in tally.cases}
    print(f"{tally.kills.total()} kills ({moments})")
    print(f"of {tally.n_runs} runs, {len(algos)} algorithms, {len(problems)} problems, {passed_over} cases passed over")
    print(f"not reached: {', '.join(not_among(tally.cases)) or 'nothing'}")
    print(f"in {seconds:.0f} s: {len(tally.mismatches)} of the resumed runs differ")
    for line in tally.mismatches:
        print(f"differs: {line}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
