"""The consistency check of a study: is its index what its runs give?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.files import atomic
from opt.runs.finding import Finding
from opt.runs.run_tables import read_table
from opt.studies import study_file
from opt.studies.study import FINISHED, INDEX, Study

_MOVING = {"status", "reason", "n_gen", "n_eval", "seconds", "hypervolume", "n_solutions"}
"""Columns that change while runs are under way; the rest is as it was asked."""


def check_study(path: Path) -> Iterator[Finding]:
    """Check the records of the study in the folder `path`, not those of its runs.

    Args:
        path: A folder with a study.json.
    """
    try:
        study, seal = Study.look_at(path), study_file.read(path).seal
    except UsageError as error:
        yield Finding("wrong", study_file.NAME, str(error))
        return
    if seal in ("altered", "rewritten"):
        yield Finding("wrong", study_file.NAME, "was altered since it was written: its digest differs")
    else:
        standing = ", ".join(f"{n} {status}" for status, n in study.counts.items())
        yield Finding("ok", study_file.NAME, f"readable, runs: {standing}")
    yield _check_index(study)
    yield from _check_lost(study)
    for file in atomic.stray_files([path, path / ".tasks"]):
        yield Finding("note", file.name, "left by a process that died while it wrote; --resume removes it")


def _check_lost(study: Study) -> Iterator[Finding]:
    """Runs that index.csv knows as finished and that are not there any more."""
    try:
        table = read_table(study.path / INDEX, text=["run", "status"])
        finished = table.loc[table["status"] == FINISHED, "run"].tolist()
    except (FileNotFoundError, UsageError, OSError, KeyError):
        return
    for planned in study.unfinished():
        if planned.name in finished:
            yield Finding("wrong", str(planned.name), "was finished, and its run is missing or cannot be read")


def _check_index(study: Study) -> Finding:
    """index.csv against the runs; while some are not finished it may be behind them."""
    file = study.path / INDEX
    again = f"; {spelled('solve')} --resume {study.path} writes it anew"
    try:
        if file.is_file() and file.read_bytes() == study.index_bytes():
            return Finding("ok", INDEX, f"rows: {len(study.planned_runs)}, as the runs give them")
        expected = study.index.astype(str)
        fixed = [name for name in expected if name not in _MOVING]
        table = read_table(file, text=[str(name) for name in expected])
        is_as_asked = list(table) == list(expected) and table[fixed].fillna("").equals(expected[fixed])
    except FileNotFoundError:
        return Finding("wrong", INDEX, f"is missing{again}")
    except (UsageError, OSError) as error:
        return Finding("wrong", INDEX, f"{error}{again}")
    if is_as_asked and set(study.counts) != {FINISHED}:
        return Finding("note", INDEX, f"is behind the runs, or altered{again}")
    return Finding("wrong", INDEX, f"is not what the runs give{again}")
