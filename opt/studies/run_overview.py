"""One run in full for a reader: what was asked, what it reached, its front, its files and what is damaged."""

from __future__ import annotations

import contextlib
import shlex
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.tables import say
from opt.execution.mending import damage
from opt.runs.damage import altered_files
from opt.runs.front_table import number, print_front, print_front_so_far
from opt.runs.journal import read
from opt.runs.run import Run
from opt.search.progress import duration


def print_run(run: Run, console: Console) -> None:
    """Print what was asked, how it ended, the front and the files of a run.

    Raises:
        UsageError: Neither its front nor its journal can be read; all else is printed before.
    """
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in (_asked(run) | _reached(run)).items():
        if value not in (None, ""):
            table.add_row(name, str(value))
    console.print(table)
    _print_failures(run, console)
    say(console, "")
    unreadable = _print_front(run, console)
    say(console, "\nfiles")
    for name, size in _file_sizes(run.path):
        say(console, f"  {name:<18} {size}")
    _print_damage(run, console)
    say(console, "")
    if run.status in ("finished", "failed"):
        say(console, f"next: {spelled('plot')} {shlex.quote(str(run.path))}")
    else:
        say(console, f"next: {spelled('solve')} --resume {shlex.quote(str(run.path))}")
    if unreadable is not None:
        raise unreadable


def _asked(run: Run) -> dict[str, Any]:
    """What was asked, as rows; what is empty is not shown."""
    manifest = run.manifest
    problem, algorithm = manifest["problem"], manifest["algo"]
    return {
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
    }


def _reached(run: Run) -> dict[str, Any]:
    """How far it came and how it ended, likewise."""
    manifest, status = run.manifest, run.status
    progress = progress_of(run) | _counts(run)
    is_over = manifest["status"] != "running"  # what a part that was resumed ended with is no news
    return {
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


def _print_failures(run: Run, console: Console) -> None:
    failures = run.manifest.get("failures") or {}
    if failures:
        say(console, "\nfailed evaluations by reason")
        for reason, count in sorted(failures.items(), key=lambda item: -item[1]):
            say(console, f"  {count:>7}  {reason}")


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


def progress_of(run: Run) -> dict[str, Any]:
    """How far the run came: from its manifest once it ended, else from the last row of its history."""
    names = ("n_gen", "n_eval", "n_failed", "seconds", "hypervolume")
    ended = {name: run.manifest[name] for name in names if run.manifest.get(name) is not None}
    if len(ended) == len(names) and run.manifest["status"] != "running":
        return ended
    try:
        history = run.history
    except UsageError:
        return ended
    if not len(history):
        return ended
    last = history.iloc[-1]
    return ended | {name: last[name] for name in names if name in history and pd.notna(last[name])}


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


def _file_sizes(path: Path) -> list[tuple[str, str]]:
    sizes = []
    for entry in sorted(path.iterdir()):
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            n = sum(1 for _ in entry.iterdir())
            sizes.append((f"{entry.name}/", f"{n} file{'s' if n != 1 else ''}"))
        else:
            sizes.append((entry.name, _size(entry.stat().st_size)))
    return sizes


def _size(n_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if n_bytes < 1000 or unit == "GB":
            break
        n_bytes /= 1000
    return f"{n_bytes:.3g} {unit}"
