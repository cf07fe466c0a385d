"""Runs and studies for a reader: lists of them, one in full, and what a check of their records found."""

from __future__ import annotations

import contextlib
import itertools
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.terminal import tell
from opt.execution.mending import damage
from opt.runs.damage import altered_files
from opt.runs.finding import Finding
from opt.runs.front_table import make_console, number, print_front, print_front_so_far, say
from opt.runs.journal import read
from opt.runs.run import Run, load_run
from opt.runs.run_check import check_run
from opt.runs.run_listing import list_runs, run_directories
from opt.search.progress import duration
from opt.studies.study import Study, is_study
from opt.studies.study_check import check_study


def show(names: Sequence[str], *, folder: Path, is_checked: bool) -> int:
    """Print the runs and studies that are named, or all in the folder; the exit code.

    Args:
        names: Run directories or studies, by path or by name in the folder; none for all.
        folder: Where the runs are.
        is_checked: Verify the records instead; the code is then 1 where something is wrong.

    Raises:
        UsageError: One is not found or cannot be read.
    """
    paths = [_find(name, folder) for name in names]
    console = make_console()
    if is_checked:
        if not paths:
            paths = run_directories(_existing(folder))
        checks = ((path, check_study(path)) for path in paths if is_study(path))
        runs = ((path, check_run(path)) for given in paths for path in _runs_of(given))
        return max((_check(path, findings) for path, findings in itertools.chain(checks, runs)), default=0)
    if not paths:
        print_studies(folder, console)
        print_runs(list_runs(folder), folder, console)
        return 0
    for path in paths:
        if is_study(path):
            print_study(path, console)
        else:
            print_run(load_run(path), console)
    return 0


def print_runs(runs: Sequence[Run], folder: Path, console: Console) -> None:
    """Print one line per run."""
    if not runs:
        if any(_studies(folder)):
            return
        say(console, f"no runs in {folder}; `{spelled('solve')} --help` shows how to start one")
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("run", overflow="fold")
    for name in ("problem", "algorithm"):
        table.add_column(name, overflow="fold")
    table.add_column("seed", justify="right", no_wrap=True)
    table.add_column("status", no_wrap=True)
    for name in ("n_gen", "n_eval", "hypervolume"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("began (UTC)")
    for run in runs:
        manifest = run.manifest
        progress = _progress(run)
        table.add_row(
            str(run.path),
            str(manifest["problem"]["name"]),
            str(manifest["algo"]["name"]),
            str(manifest["seed"]),
            run.status,
            *(number(progress.get(name)) for name in ("n_gen", "n_eval", "hypervolume")),
            str(manifest.get("created", "")).replace("T", " ")[:16],
        )
    console.print(table)


def print_run(run: Run, console: Console) -> None:
    """Print what was asked, how it ended, the front and the files of a run."""
    manifest, status = run.manifest, run.status
    progress = _progress(run) | _counts(run)
    is_over = manifest["status"] != "running"  # what a part that was resumed ended with is no news
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    problem, algorithm = manifest["problem"], manifest["algo"]
    rows = {
        "run": run.path,
        "problem": f"{problem['name']} ({problem.get('class', '')}, {problem.get('file') or 'no file'})",
        "problem's parameters": _settings(problem.get("parameters")),
        "objectives": ", ".join(f"{o.sense} {o.label}" for o in run.objectives),
        "algorithm": algorithm["name"],
        "algorithm's parameters": _settings(algorithm.get("parameters")),
        "seed": manifest["seed"],
        "budget": _settings(manifest.get("budget")),
        "scalarisation": _scalarisation(manifest),
        "command": manifest.get("command"),
        "began": manifest.get("created"),
        "ended": manifest.get("ended") if is_over else None,
        "status": f"{status}: {manifest['stop_reason']}" if manifest.get("stop_reason") and is_over else status,
        "generations": number(progress.get("n_gen")),
        "evaluations": number(progress.get("n_eval")),
        "failed evaluations": number(progress.get("n_failed")),
        "time": duration(float(progress["seconds"])) if progress.get("seconds") is not None else None,
        "hypervolume": number(progress.get("hypervolume"), digits=8),
        "IGD+": number(manifest.get("igd_plus"), digits=8),
        "versions": ", ".join(f"{name} {version}" for name, version in (manifest.get("versions") or {}).items()),
    }
    for name, value in rows.items():
        if value not in (None, ""):
            table.add_row(name, str(value))
    console.print(table)
    failures = manifest.get("failures") or {}
    if failures:
        say(console, "\nfailed evaluations by reason")
        for reason, count in sorted(failures.items(), key=lambda item: -item[1]):
            say(console, f"  {count:>7}  {reason}")
    say(console, "")
    trouble = _print_front(run, console)
    say(console, "\nfiles")
    for name, about in _files(run.path):
        say(console, f"  {name:<18} {about}")
    _print_damage(run, console)
    say(console, "")
    if status in ("finished", "failed"):
        say(console, f"next: {spelled('plot')} {shlex.quote(str(run.path))}")
    else:
        say(console, f"next: {spelled('solve')} --resume {shlex.quote(str(run.path))}")
    if trouble is not None:
        raise trouble


def _print_front(run: Run, console: Console) -> UsageError | None:
    """Print the front, from the journal where front.csv cannot be read; the reason where there is none at all."""
    try:
        print_front(run, console)
        return None
    except UsageError as error:
        say(console, f"front: {error}")
        reason = error
    if run.has_front:
        try:
            print_front_so_far(run, console)
            return None
        except UsageError as error:
            say(console, f"journal: {error}")
    return reason


def _print_damage(run: Run, console: Console) -> None:
    """Say which files are not as the run left them."""
    reasons = damage(run) if run.status == "finished" else altered_files(run)
    if run.seal in ("altered", "rewritten"):
        reasons["manifest.json"] = "was altered since it was written: what is shown may be wrong"
    with contextlib.suppress(UsageError):
        n_bytes = read(run.path / "journal.jsonl")[2]
        if n_bytes and run.status != "running":  # a record that is being written is whole in a moment
            reasons["journal.jsonl"] = f"ends with {n_bytes} bytes that fail their check, torn or altered: left out"
    if reasons:
        say(console, f"\ndamaged, {spelled('solve')} --resume mends what it can")
        for name, reason in reasons.items():
            say(console, f"  {name} {reason}")


def print_studies(folder: Path, console: Console) -> None:
    """Print one line per study in a folder."""
    for path in _studies(folder):
        try:
            how = ", ".join(f"{n} {status}" for status, n in Study.look_at(path).counts.items())
            say(console, f"study {path}: {how}; `{spelled('show')} {path}` lists its runs")
        except UsageError as error:
            tell(f"passed over: {error}", file=sys.stderr)
    if any(_studies(folder)):
        say(console, "")


def print_study(path: Path, console: Console) -> None:
    """Print a study's index and what to do next."""
    index = _refreshed(Study.look_at(path).index, path)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in index.columns:
        is_text = name in ("run", "problem", "algo", "status", "reason")
        table.add_column(name, justify="left" if is_text else "right", overflow="fold")
    for row in index.itertuples(index=False):
        table.add_row(*("" if pd.isna(value) else number(value) for value in row))
    console.print(table)
    unfinished = int((index["status"] != "finished").sum())
    quoted = shlex.quote(str(path))
    command = f"{spelled('solve')} --resume {quoted}" if unfinished else f"{spelled('compare')} {quoted}"
    say(console, f"\n{len(index)} runs, {unfinished} of them not finished\nnext: {command}")


def _refreshed(index: pd.DataFrame, study: Path) -> pd.DataFrame:
    """The index with how far those runs came that are under way, or were when their command was killed."""
    index = index.astype(object)
    for i, name in index.loc[index["status"].isin(["running", "interrupted"]), "run"].items():
        for column, value in _progress(load_run(study / str(name))).items():
            if column in index:
                index.at[i, column] = value
    return index


def _studies(folder: Path) -> list[Path]:
    return sorted(file.parent for file in folder.glob("*/study.json")) if folder.is_dir() else []


def _runs_of(path: Path) -> list[Path]:
    """The run directories that a path names: itself, or a study's."""
    return run_directories(path) if is_study(path) else [path]


def _check(path: Path, findings: Iterable[Finding]) -> int:
    """Print one line per check of the run or study at `path`; 1 when something is wrong."""
    tell(path)
    code = 0
    for finding in findings:
        tell(f"  {finding.verdict:<6} {finding.subject:<14} {' '.join(finding.text.split())}")
        code = max(code, int(finding.verdict == "wrong"))
    return code


def _find(name: str, folder: Path) -> Path:
    """The run called `name`: a path, or a name inside the folder of runs."""
    for path in (Path(name), folder / name):
        if (path / "manifest.json").exists() or is_study(path):
            return path
    return load_run(name).path


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the folder that holds the runs with --runs DIR")
    return folder


def _progress(run: Run) -> dict[str, Any]:
    """How far the run came: from its manifest once it ended, else from the last row of its history."""
    names = ("n_gen", "n_eval", "n_failed", "seconds", "hypervolume")
    known = {name: run.manifest[name] for name in names if run.manifest.get(name) is not None}
    if len(known) == len(names) and run.manifest["status"] != "running":
        return known
    try:
        history = run.history
    except UsageError:
        return known
    if not len(history):
        return known
    last = history.iloc[-1]
    return known | {name: last[name] for name in names if name in history and pd.notna(last[name])}


def _counts(run: Run) -> dict[str, int]:
    """How far a run that has not ended came by its journal, which is ahead of its history."""
    if run.has_front:
        return {}
    try:
        records = run.journal()
    except UsageError:
        return {}
    n_failed = sum(len(record.get("failed", {})) for record in records)
    return {"n_gen": len(records), "n_eval": sum(record["new"] for record in records), "n_failed": n_failed}


def _scalarisation(manifest: dict[str, Any]) -> str:
    request = manifest.get("request") or {}
    kind = manifest.get("scalarise", request.get("scalarise"))
    settings = {name: request.get(name) for name in ("weights", "ref") if request.get(name)}
    if not settings and kind in (None, "sum"):
        return ""
    return " ".join([str(kind), _settings(settings)]).strip()


def _settings(settings: dict[str, Any] | None) -> str:
    return ", ".join(f"{name}={value}" for name, value in (settings or {}).items() if value is not None)


def _files(path: Path) -> list[tuple[str, str]]:
    found = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            n = sum(1 for _ in entry.iterdir())
            found.append((f"{entry.name}/", f"{n} file{'s' if n != 1 else ''}"))
        else:
            found.append((entry.name, _size(entry.stat().st_size)))
    return found


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            break
        n_bytes /= 1000
    return f"{n_bytes:.3g} {unit}"
