"""Many command lines in one process each after the other, and what came of them.

    python tests/conformance/command_fuzzer.py --n 5000 --seed 7

Every line must end with one of the exit codes 0, 1, 2 and 130, without a traceback, in time; with code 2, in one line
on stderr. Lines run in a process of their own under a limit of memory; one that hangs, or ends the process, is noted,
and a new process goes on behind it.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
SECONDS = 20.0
"""Most that a line may take of the processor; a machine that does other things too takes longer by the clock."""
CLOCK = 6 * SECONDS
MEMORY = 3_000_000_000
CODES = (0, 1, 2, 130)
# Words of a library, which a user cannot act on, in place of ours.
FOREIGN = ("Parser key", "Does not validate", "cannot be built:", "has no attribute", "memory does not suffice")


@dataclass(frozen=True)
class Outcome:
    """What came of a command line.

    Args:
        number: Of the line.
        line: As one would type it.
        code: Its exit code; None where it did not end by itself.
        fault: What is wrong with that, or an empty string.
        seconds: How long it took.
        error: What it said on stderr, cut.
        trace: The traceback of a fault.
    """

    number: int
    line: str
    code: int | None
    fault: str
    seconds: float
    error: str = ""
    trace: str = ""


def fuzz(*, n: int, seed: int, start: int = 0, folder: Path) -> list[Outcome]:
    """Run the lines `start` to `start + n - 1` of a seed; what came of each.

    Args:
        n: How many.
        seed: Of the lines.
        start: The first.
        folder: An empty folder, for what they make.
    """
    outcomes: list[Outcome] = []
    _worker(folder, "prepare")
    at, end = start, start + n
    while at < end:
        lines, code, errors = _worker(folder, f"{seed}", f"{at}", f"{end}")
        outcomes += lines
        at = lines[-1].number + 1 if lines else at
        if at < end:  # the process ended amid a line
            if not lines and "command:" not in errors:
                raise RuntimeError(f"the fuzzer itself ended with code {code}: {errors[-2000:]}")
            shown = errors.rpartition("command: ")[2].splitlines()[0] if "command: " in errors else "?"
            outcomes.append(
                Outcome(at, shown, None, f"hang or death of the process ({code})", SECONDS, trace=errors[-3000:])
            )
            at += 1
    return outcomes


def _worker(folder: Path, *arguments: str) -> tuple[list[Outcome], int, str]:
    """A process for some lines: (outcomes, exit code, stderr)."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)]),
        "OPT_CACHE_DIR": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    done = subprocess.run(
        [sys.executable, __file__, "--worker", str(folder), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env=environment,
        cwd=folder,
    )
    if arguments == ("prepare",) and done.returncode:
        raise RuntimeError(f"what the commands read could not be made: {done.stderr[-3000:]}")
    lines = [Outcome(**json.loads(text)) for text in done.stdout.splitlines() if text.startswith("{")]
    return lines, done.returncode, done.stderr


# -- inside the worker ------------------------------------------------------------------------------


def _work(folder: Path, seed: int, start: int, end: int) -> None:
    import command_lines

    _limit_memory()
    import opt.studies.cluster

    opt.studies.cluster.CONNECT_SECONDS = 0.2
    pool = json.loads((folder / "places.json").read_text())
    report = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a library prints past sys.stdout must not mix with the outcomes
    for number in range(start, end):
        line = command_lines.draw(seed, number, pool)
        print(f"command: {line.shown()}", file=sys.__stderr__, flush=True)
        workplace = folder / "work" / "a" / "b" / "c"
        shutil.rmtree(folder / "work", ignore_errors=True)
        workplace.mkdir(parents=True)
        for kind in ("runs",):
            shutil.copytree(folder / kind, folder / "work" / kind)
        os.chdir(workplace)
        outcome = run_line(number, line)
        print(json.dumps(asdict(outcome)), file=report, flush=True)
    os.chdir(folder)


def run_line(number: int, line: Any) -> Outcome:
    """Run one line in this process; the process ends, with a traceback, when it takes too long."""
    import importlib

    from opt.console.command import execute

    for name, text in line.files.items():
        Path(name).write_text(text, encoding="utf-8")
    main = importlib.import_module(line.command).main
    out, err, trace = io.StringIO(), io.StringIO(), ""
    code: Any = None
    began = time.perf_counter()
    try:
        with _watched(), _as_command(line, number), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            execute(main)
    except SystemExit as ended:
        code = ended.code
    except BaseException:
        trace = traceback.format_exc()
    seconds = time.perf_counter() - began
    fault = _fault(code, err.getvalue(), trace)
    if not fault and code == 0 and "--print-config" in line.arguments and out.getvalue().startswith("algo:"):
        fault = _config_fault(main, line, out.getvalue())
    return Outcome(number, line.shown(), code, fault, round(seconds, 2), err.getvalue()[-600:], trace)


def _fault(code: Any, err: str, trace: str) -> str:
    if trace:
        return trace.strip().splitlines()[-1][:200]
    if code not in CODES:
        return f"exit code {code!r}"
    if "Traceback" in err:
        return "a traceback on stderr"
    n_errors = sum(text.startswith("error: ") for text in err.splitlines())
    if code == 2 and n_errors != 1:
        return f"{n_errors} error lines"
    if words := next((words for words in FOREIGN if code == 2 and words in err), None):
        return f"not a user's words: {words}"
    return ""


def _config_fault(main: Any, line: Any, printed: str) -> str:
    """Why a printed config does not give the same config again, or an empty string."""
    from opt.console.command import execute

    Path("printed.yaml").write_text(printed, encoding="utf-8", errors="surrogateescape")
    target = next((a for a in line.arguments if ".py" in a and not a.startswith("-")), None)
    if target is None:
        return ""
    again = io.StringIO()
    complaint = io.StringIO()
    sys.argv = ["opt.solve", target, "--config=printed.yaml", "--print-config"]
    try:
        with contextlib.redirect_stdout(again), contextlib.redirect_stderr(complaint):
            execute(main)
    except SystemExit:
        pass
    return "" if again.getvalue() == printed else f"--print-config fed back differs: {complaint.getvalue()[:200]}"


@contextlib.contextmanager
def _as_command(line: Any, number: int) -> Iterator[None]:
    """The line in sys.argv; pictures and references for every fifth only, which would take most of the time."""
    import opt.execution.run_closing
    import opt.plots.run_pictures

    before = sys.argv, opt.plots.run_pictures.plot_runs, opt.execution.run_closing.write_references
    sys.argv = [line.command, *line.arguments]
    if number % 5:
        opt.plots.run_pictures.plot_runs = lambda runs, *, out=None: runs[0].path
        opt.execution.run_closing.write_references = lambda *given, **named: None
    try:
        yield
    finally:
        sys.argv, opt.plots.run_pictures.plot_runs, opt.execution.run_closing.write_references = before


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """End the process, with a traceback, when the code inside takes too long."""
    done, began = threading.Event(), time.process_time()

    def watch() -> None:
        while not done.wait(0.5):
            if time.process_time() - began > SECONDS:
                faulthandler.dump_traceback(file=sys.__stderr__)
                os._exit(1)

    faulthandler.dump_traceback_later(CLOCK, exit=True, file=sys.__stderr__)
    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        done.set()
        faulthandler.cancel_dump_traceback_later()


def _limit_memory() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, hard))


def _prepare(folder: Path) -> None:
    """Runs of every kind that a command reads, finished and not, and a study: under `runs`."""
    from command_lines import PROBLEMS, SMALLER

    from opt.console.command import execute
    from opt.solve import main

    samples = f"{ROOT}/tests/sample_problems.py"

    def solve(*arguments: str) -> None:
        sys.argv = ["opt.solve", *arguments]
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
            try:
                execute(main)
            except SystemExit as ended:
                if ended.code:
                    raise RuntimeError(f"{arguments}: {err.getvalue()}") from None

    import opt.plots.run_pictures

    opt.plots.run_pictures.plot_runs = lambda runs, *, out=None: runs[0].path  # type: ignore[assignment]
    made: dict[str, list[str]] = {}
    small = ("--algo.pop_size=4", "--n-gen=2", "--quiet")
    for name in ("Slope", "Bowl"):
        algo = "nsga2" if name == "Slope" else "ga"
        solve(f"{samples}:{name}", f"--algo={algo}", *small, "--out=runs")
    solve(f"{samples}:Slope", "--algo=nsga2,random", "--algo.pop_size=4", "--n-gen=2", "--quiet", "--name=study")
    for name, more in {
        "threshold": ("--algo=nsga2", *small),
        "masks": ("--algo=ga", *small),
        "cgp": ("--algo=cgp-es", "--algo.generations=20", "--algo.chunk=10", "--quiet"),
        "cgp_layers": ("--algo=random", *small),
    }.items():
        parameters = (f"--problem.{k}={v}" for k, v in SMALLER[name].items())
        solve(PROBLEMS[name], *parameters, *more, f"--out=runs/{name}")
        made[name] = [f"../../../runs/{name}/{p.name}" for p in Path("runs", name).iterdir()]
    made["mask_training"] = made["masks"]
    made["run"] = [f"../../../runs/{p.name}" for p in Path("runs").iterdir() if (p / "manifest.json").exists()]
    made["plot"] = made["show"] = made["compare"] = made["run"]
    half = Path("runs/half")
    shutil.copytree(min(p for p in Path("runs").iterdir() if p.name.startswith("slope")), half)
    manifest = json.loads((half / "manifest.json").read_text())
    (half / "manifest.json").write_text(json.dumps(manifest | {"status": "interrupted"}))
    lines = (half / "journal.jsonl").read_bytes().splitlines(keepends=True)
    (half / "journal.jsonl").write_bytes(b"".join(lines[:2]))
    made["run"].append("../../../runs/half")
    made["study"] = ["../../../runs/study"]
    solutions = list(Path("runs", "threshold").glob("*/solutions/*.safetensors"))
    made["sparse"] = [f"../../../{p}" for p in solutions[:2]]
    (folder / "places.json").write_text(json.dumps(made))


def summary(outcomes: Sequence[Outcome]) -> str:
    """Counts of the exit codes and of faults, and each kind of fault with one of its lines."""
    codes = {code: sum(o.code == code for o in outcomes) for code in dict.fromkeys(o.code for o in outcomes)}
    faults: dict[str, list[Outcome]] = {}
    for o in outcomes:
        if o.fault:
            faults.setdefault(o.fault, []).append(o)
    text = [f"{len(outcomes)} command lines; exit codes: {codes}; faults: {sum(map(len, faults.values()))}"]
    for fault, those in sorted(faults.items(), key=lambda item: -len(item[1])):
        text.append(f"  {len(those)} x {fault}\n      {those[0].number}: {those[0].line[:600]}")
    return "\n".join(text)


def main() -> int:
    """Run lines and print what came of them; 1 where there are faults."""
    if sys.argv[1:2] == ["--worker"]:
        folder = Path(sys.argv[2])
        if sys.argv[3] == "prepare":
            _prepare(folder)
        else:
            _work(folder, *map(int, sys.argv[3:]))
        return 0
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=200, help="how many lines")
    parser.add_argument("--seed", type=int, default=1, help="of the lines")
    parser.add_argument("--start", type=int, default=0, help="number of the first")
    parser.add_argument("--out", type=Path, help="file for the outcomes, a JSON line each")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fuzzer-") as folder:
        outcomes = fuzz(n=asked.n, seed=asked.seed, start=asked.start, folder=Path(folder))
    if asked.out:
        asked.out.write_text("".join(json.dumps(asdict(o)) + "\n" for o in outcomes))
    print(summary(outcomes))
    slow = sorted(outcomes, key=lambda o: -o.seconds)[:5]
    print("slowest: " + ", ".join(f"{o.number} {o.seconds:.1f} s" for o in slow))
    return int(any(o.fault for o in outcomes))


if __name__ == "__main__":
    sys.exit(main())
