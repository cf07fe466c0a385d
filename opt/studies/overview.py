"""The overview that `opt.show` prints: lists of runs and studies, and what a check of their records found."""

from __future__ import annotations

import itertools
import shlex
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.table import Table

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.tables import make_console, say
from opt.console.terminal import tell
from opt.runs.finding import Finding
from opt.runs.front_table import number
from opt.runs.run import Run, load_run
from opt.runs.run_check import check_run
from opt.runs.run_listing import list_runs, run_directories
from opt.studies.run_overview import print_run, progress_of
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
        runs = ((path, check_run(path)) for named in paths for path in _runs_of(named))
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
        progress = progress_of(run)
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
        for column, value in progress_of(load_run(study / str(name))).items():
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
