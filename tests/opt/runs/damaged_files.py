"""Damage to the files of runs and studies, and what the commands say to it.

`python tests/opt/runs/damaged_files.py --seconds 600` tries damage drawn at random for so long, and prints every
command that ends in another way than it may; the property test draws from the same.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

from opt import compare, load_run, plot, show, solve
from opt.console.command import execute

SAMPLES = str(Path(__file__).parents[2] / "sample_problems.py")
COMMANDS: dict[str, Callable[[Path], tuple[Callable[[Sequence[str]], int | None], list[str]]]] = {
    "show": lambda path: (show.main, [str(path)]),
    "list": lambda path: (show.main, ["--runs", str(path.parent)]),
    "check": lambda path: (show.main, [str(path), "--check"]),
    "plot": lambda path: (plot.main, [str(path), "--out", str(path.parent / "out.png")]),
    "compare": lambda path: (compare.main, [str(path), "--out", str(path.parent / "compared")]),
    "resume": lambda path: (solve.main, ["--resume", str(path)]),
}
KINDS = ("flip", "cut", "remove", "folder", "empty", "line")
SLOWEST_SECONDS = 60.0


@dataclass(frozen=True)
class Damage:
    """One file damaged in one way.

    Args:
        subject: The run or study.
        file: Its path in it.
        kind: One of KINDS.
        at: Where, as a share of the file.
        value: What a byte becomes, 0 to 255, another one where it is that already.
    """

    subject: str
    file: str
    kind: str
    at: float = 0.0
    value: int = 0

    def apply(self, folder: Path) -> None:
        """Damage the file of the subject in `folder`."""
        path = folder / self.file
        data = path.read_bytes()
        at = min(int(self.at * len(data)), max(len(data) - 1, 0))
        if self.kind in ("remove", "folder"):
            path.unlink()
            if self.kind == "folder":
                path.mkdir()
        elif self.kind == "flip" and data:
            value = self.value if data[at] != self.value else self.value ^ 1
            path.write_bytes(data[:at] + bytes([value]) + data[at + 1 :])
        elif self.kind == "line":
            lines = data.splitlines(keepends=True)
            gap = int(self.at * len(lines))
            lines = lines[:gap] + lines[gap + 1 :]
            path.write_bytes(b"".join(lines))
        else:
            path.write_bytes(data[: at if self.kind == "cut" else 0])


@dataclass(frozen=True)
class Answer:
    """How a command ended: its exit code, what it printed, and why that may not be, "" where it may."""

    code: int | None
    out: str
    err: str
    fault: str


def ask(command: str, path: Path) -> Answer:
    """Give a command on `path` in this process, as a user gives it."""
    main, arguments = COMMANDS[command](path)
    out, err = io.StringIO(), io.StringIO()
    code: int | None = None
    fault = ""
    began = time.monotonic()
    with (
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        mock.patch.object(sys, "argv", [command, *arguments]),
    ):
        try:
            execute(main)
        except SystemExit as ended:
            code = ended.code  # type: ignore[assignment]
        except BaseException:
            fault = traceback.format_exc()
    n_errors = sum(line.startswith("error:") for line in err.getvalue().splitlines())
    if not fault and code not in ((0, 1, 2) if command == "check" else (0, 2)):
        fault = f"exit code {code}"
    elif not fault and (n_errors > 1 or (code == 2) != (n_errors == 1)):
        fault = f"exit code {code} with {n_errors} error lines: {err.getvalue()}"
    elif "Traceback" in out.getvalue() + err.getvalue():
        fault = err.getvalue()
    elif time.monotonic() - began > SLOWEST_SECONDS:
        fault = f"took {time.monotonic() - began:.0f} s"
    return Answer(code, out.getvalue(), err.getvalue(), fault)


def make_subjects(folder: Path) -> dict[str, Path]:
    """Runs and a study of every kind, each in a folder of its own, made quickly."""

    def made(name: str, *arguments: str) -> Path:
        with contextlib.redirect_stdout(io.StringIO()), mock.patch.object(sys, "argv", ["solve", *arguments]):
            assert solve.main([*arguments, "--out", str(folder / name), "--quiet"]) == 0
        (path,) = (folder / name).iterdir()
        return path

    slope, bowl = f"{SAMPLES}:Slope", f"{SAMPLES}:Bowl"
    small = ("--algo.pop_size", "6", "--n-gen", "4")
    subjects = {
        "finished": made("finished", slope, *small),
        "traced": made("traced", bowl, "--algo", "sa", "--n-gen", "6", "--algo.n_chains", "3"),
        "killed": made("killed", slope, "--seed", "3", *small),
        "old": made("old", slope, "--seed", "4", *small),
        "study": made("study", slope, "--n-gen", "2", "--runs", "2", "--name", "mine", "--algo.pop_size", "6"),
    }
    kill(subjects["killed"], n_records=3)
    for name in ("old",):
        # as a release without digests left it
        manifest = {k: v for k, v in load_run(subjects[name]).manifest.items() if k != "plots"}
        (subjects[name] / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    (subjects["study"] / ".tasks" / "mine.begun").write_text("host 12\n")
    return subjects


def kill(path: Path, *, n_records: int) -> None:
    """Leave of a finished run what is there when its process dies behind so many generations."""
    from opt.runs import manifest

    run = load_run(path)
    for name, n_lines in (("journal.jsonl", n_records + 1), ("history.csv", n_records)):
        lines = (path / name).read_bytes().splitlines(keepends=True)
        torn = lines[n_lines][:7] if n_lines < len(lines) else b""
        (path / name).write_bytes(b"".join(lines[:n_lines]) + torn)
    for name in ("front.csv", "references.csv"):
        (path / name).unlink(missing_ok=True)
    for name in ("solutions", "plots"):
        shutil.rmtree(path / name)
    results = ("ended", "stop_reason", "n_gen", "n_eval", "n_failed", "failures", "seconds", "hypervolume", "plots")
    fields = {k: v for k, v in run.manifest.items() if k not in (*results, "ref_point", "igd_plus", "n_solutions")}
    manifest.write(path, fields | {"status": "running"})


def files_of(path: Path) -> list[str]:
    """Every file of a run or study, by its path in it."""
    return sorted(str(file.relative_to(path)) for file in path.rglob("*") if file.is_file())


def trial(subject: Path, damage: Damage, command: str) -> Answer:
    """The answer to a command on a damaged copy of the subject."""
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(shutil.copytree(subject, Path(folder) / subject.name))
        damage.apply(copied)
        return ask(command, copied)


def main() -> int:
    """Try damage at random."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--commands", default=",".join(COMMANDS))
    parser.add_argument("--subjects", default="")
    options = parser.parse_args()
    draw = random.Random(options.seed)
    commands = options.commands.split(",")
    faults = 0
    codes: Counter[tuple[str, int | None]] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        subjects = make_subjects(Path(folder))
        names = options.subjects.split(",") if options.subjects else list(subjects)
        began = time.monotonic()
        while time.monotonic() - began < options.seconds:
            name = draw.choice(names)
            file = draw.choice(files_of(subjects[name]))
            kind = draw.choice(KINDS + ("flip",) * 6 + ("cut",) * 2)
            value = draw.choice([draw.randrange(256), *b'0e-.,"\n{}[]\xff'])
            damage = Damage(name, file, kind, draw.random(), value)
            command = draw.choice(commands)
            answer = trial(subjects[name], damage, command)
            codes[command, answer.code] += 1
            if not answer.fault and command == "check" and kind != "line":
                path = subjects[name]
                whole = (path / file).read_bytes() if damage else b""
                is_noticed = answer.code != 0 or "note " in answer.out
                if name != "killed" and whole and not is_noticed and ".tasks" not in file:
                    answer = Answer(answer.code, answer.out, answer.err, "not noticed\n" + answer.out)
            if answer.fault:
                faults += 1
                print(f"\n{command} after {damage}:\n{answer.fault}", flush=True)
    for (command, code), n in sorted(codes.items(), key=str):
        print(f"{command:<8} exit code {code}: {n}")
    print(f"{codes.total()} trials, {faults} faults")
    return int(faults > 0)


if __name__ == "__main__":
    sys.exit(main())
