"""A study on disk: many runs under one folder, what was asked, and an index of how they stand.

study.json   every planned run as it was asked
index.csv    one row a run: what it is, how it stands, what it reached, where it lies
NAME/        the run directory of that name
.tasks/      notes of the processes that carry runs out
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.execution.mending import damage
from opt.execution.named_code import function_digests
from opt.execution.request import SearchRequest
from opt.execution.trust import Recorded, check_code
from opt.files import atomic, csv_table
from opt.files.locking import LockedFile, this_process
from opt.files.new_folder import check_folder
from opt.files.plain_file import read_json
from opt.problem.provenance import file_digest
from opt.runs.run import Run, load_run
from opt.studies import study_file
from opt.studies.planned_run import PlannedRun

INDEX = "index.csv"
FINISHED = "finished"
_FILES = ("study.json", "index.csv")
_MEASURES = ("n_gen", "n_eval", "seconds", "hypervolume", "n_solutions")


class Study:
    """The planned runs of one study, in the order in which they are carried out.

    Args:
        path: The folder.
        planned_runs: Each with a name of its own, the name of its run directory.
        varying: By that name, the settings in which the study's runs differ.
        reasons: Why runs failed that have no run directory, by name.
        command: The command line that asked last.
    """

    def __init__(
        self,
        path: Path,
        planned_runs: Sequence[PlannedRun],
        varying: dict[str, dict[str, str]],
        reasons: dict[str, str] | None = None,
        command: str | None = None,
    ) -> None:
        self.path = path
        self.command = command
        self.planned_runs = list(planned_runs)
        self.varying = varying
        self._rows: dict[str, dict[str, Any]] = {}
        for planned in self.planned_runs:
            self.note(planned, (reasons or {}).get(str(planned.name), ""))

    @classmethod
    def open(
        cls, path: Path, *, trust: bool = False, is_forced: bool = False, typed: Sequence[PlannedRun] = ()
    ) -> Study:
        """A study that is on disk, to go on with: the problems' files are loaded.

        Args:
            path: The folder.
            trust: Import what its runs name, whatever it is.
            is_forced: Import what lies where it may though it has changed.
            typed: Runs asked by the same command: what they name is trusted.

        Raises:
            UsageError: The folder holds none, it cannot be read, a run has a name that leads elsewhere, or names
                code that is not trusted (`opt.execution.trust`).
        """
        content = study_file.read(path)
        if content.seal == "altered":
            raise UsageError(
                f"{path / study_file.NAME} was altered since it was written; restore it from a copy, or, where the "
                'change is meant, remove its last two lines "sealed" and "digest" with the comma before them'
            )
        data, file = content.fields, path / study_file.NAME
        untyped = [PlannedRun.untyped(entry | {"out": str(path)}, source=file) for entry in data["tasks"]]
        for planned in untyped:
            if check_name(planned.name, f"{file}: task") in _FILES:
                raise UsageError(f"{file} is altered: a task lacks a name of its own; restore it from a copy")
        codes, trusted = ([planned.code for planned in planned_runs] for planned_runs in (untyped, typed))
        recorded = Recorded(data.get("code", {}), data.get("functions", {}))
        check_code(path, codes, recorded, trust=trust, is_forced=is_forced, given=trusted)
        return cls._of(path, data, PlannedRun.typed(untyped))

    @classmethod
    def look_at(cls, path: Path) -> Study:
        """A study that is on disk, to see how it stands: parameters stay as they are written, no code is loaded.

        Raises:
            UsageError: The folder holds none, or it cannot be read.
        """
        data = study_file.read(path).fields
        planned_runs = [
            PlannedRun(**(entry | {"out": str(path), "request": SearchRequest.from_manifest(entry)}))
            for entry in data["tasks"]
        ]
        return cls._of(path, data, planned_runs)

    @classmethod
    def _of(cls, path: Path, data: dict[str, Any], planned_runs: Sequence[PlannedRun]) -> Study:
        return cls(path, planned_runs, data["varying"], data["reasons"], data["command"])

    @classmethod
    def holding(
        cls,
        path: Path,
        planned_runs: Sequence[PlannedRun],
        varying: Sequence[dict[str, str]],
        *,
        trust: bool = False,
        is_forced: bool = False,
    ) -> Study:
        """The study that is to hold these runs: new, or one that is on disk, with what it lacks of them.

        A run that the study on disk has already, by what is searched and how, keeps its name and its directory.
        Runs that are on disk and not asked stay.

        Args:
            path: The folder.
            planned_runs: What is asked, each once; each gets its name here, and shows no progress of its own.
            varying: For each of them, the settings in which they differ.
            trust: As in `open`.
            is_forced: Likewise.

        Raises:
            UsageError: The folder is a run's, or holds a study that cannot be read or names other code that is not
                trusted.
        """
        if (path / "manifest.json").exists():
            raise UsageError(f"{path} is one run, and several are asked; give another --name")
        before = cls(path, [], {})
        if (path / study_file.NAME).exists():
            before = cls.open(path, trust=trust, is_forced=is_forced, typed=planned_runs)
        names = {planned.digest: str(planned.name) for planned in before.planned_runs}
        settings = dict(before.varying)
        named_runs = []
        for planned, differing in zip(planned_runs, varying, strict=True):
            if planned.digest not in names:
                names[planned.digest] = _free_name(planned, differing, set(names.values()))
            name = names[planned.digest]
            settings[name] = differing
            named_runs.append(PlannedRun(**(vars(planned) | {"name": name, "out": str(path), "silent": True})))
        digests = {planned.digest for planned in named_runs}
        others = [planned for planned in before.planned_runs if planned.digest not in digests]
        return cls(path, [*named_runs, *others], settings, before._reasons())

    def save(self, *, command: str | None = None) -> None:
        """Write study.json and index.csv.

        Raises:
            UsageError: Nothing can be written there.
        """
        data = {
            "command": command,
            "tasks": [planned.as_dict() for planned in self.planned_runs],
            "varying": self.varying,
            "reasons": self._reasons(),
            "code": {named: {"problem": file_digest(file)} for named, file in self._files().items()},
            "functions": function_digests(planned.code for planned in self.planned_runs),
        }
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            study_file.write(self.path, data)
            self.save_index()
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}; give another --out") from None

    def save_index(self) -> None:
        """Write index.csv."""
        atomic.write_bytes(self.path / INDEX, self.index_bytes())

    def index_bytes(self) -> bytes:
        """What index.csv holds when it is written now."""
        return csv_table.encode(self.index)

    def note(self, planned: PlannedRun, reason: str = "") -> None:
        """Read how a run stands from its directory.

        Args:
            planned: One of the study's.
            reason: Why it failed, where it did.
        """
        self._rows[str(planned.name)] = _standing(planned, reason)

    @property
    def index(self) -> pd.DataFrame:
        """One row a run: name, problem, algo, what varies, seed, status, measures, and the reason of a failure."""
        columns = dict.fromkeys(key for planned in self.planned_runs for key in self.varying[str(planned.name)])
        rows = []
        for planned in self.planned_runs:
            differing = self.varying[str(planned.name)]
            rows.append(
                {"run": planned.name, "problem": planned.problem_name, "algo": planned.request.algo}
                | {key: differing.get(key, "") for key in columns}
                | {"seed": planned.request.seed}
                | self._rows[str(planned.name)]
            )
        return pd.DataFrame(rows)

    @property
    def counts(self) -> Counter[str]:
        """Number of runs by status."""
        return Counter(self._rows[str(planned.name)]["status"] for planned in self.planned_runs)

    def unfinished(self, planned_runs: Iterable[PlannedRun] | None = None) -> list[PlannedRun]:
        """The runs that are not finished, in order."""
        candidates = self.planned_runs if planned_runs is None else planned_runs
        return [planned for planned in candidates if self._rows[str(planned.name)]["status"] != FINISHED]

    def damaged(self, planned_runs: Iterable[PlannedRun]) -> list[PlannedRun]:
        """The finished runs that are not as they were when they ended, in order."""
        finished = [planned for planned in planned_runs if self._rows[str(planned.name)]["status"] == FINISHED]
        runs = [(planned, load_run(planned.path)) for planned in finished]
        return [planned for planned, run in runs if run.seal == "altered" or damage(run)]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from carrying out this study meanwhile.

        Raises:
            UsageError: One does so already, or nothing can be written there.
        """
        path = self.path / ".tasks" / "lock"
        check_folder(self.path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = LockedFile(path, noted=_noted(path), folder=self.path)
            file.cut(0)
            file.write(json.dumps(this_process()).encode())
        except OSError as error:
            raise UsageError(f"cannot write {self.path}: {error.strerror}; give another --out") from None
        with contextlib.closing(file):
            yield

    def _files(self) -> dict[str, Path]:
        """The problem files, by the names that the runs have for them."""
        codes = {planned.target: planned.code for planned in self.planned_runs}
        return {code.named: code.file for code in codes.values() if code.file is not None}

    def _reasons(self) -> dict[str, str]:
        return {name: row["reason"] for name, row in self._rows.items() if row["reason"]}


def is_study(path: Path) -> bool:
    """Whether a folder holds a study."""
    return (path / "study.json").is_file()


def _standing(planned: PlannedRun, reason: str) -> dict[str, Any]:
    row: dict[str, Any] = {"status": "failed" if reason else "waiting", **dict.fromkeys(_MEASURES), "reason": reason}
    if not (planned.path / "manifest.json").exists():
        return row
    try:
        run: Run = load_run(planned.path)
    except UsageError as error:
        return row | {"status": "failed", "reason": str(error)}
    # a run that another process is at is not for us to judge
    status = "failed" if reason and run.status not in (FINISHED, "running") else run.status
    row |= {name: run.manifest.get(name) for name in _MEASURES} | {"status": status}
    if status == FINISHED:
        row["reason"] = ""
    elif status == "failed" and not reason:
        row["reason"] = str(run.manifest.get("stop_reason", ""))
    return row


def _noted(path: Path) -> dict[str, Any] | None:
    """What the last process that held a study noted of itself."""
    with contextlib.suppress(OSError, ValueError):
        note = read_json(path)
        return note if isinstance(note, dict) else None
    return None


def _free_name(planned: PlannedRun, varying: dict[str, str], others: set[str]) -> str:
    """A name for a run directory: what it is in short, and a number where that is one of the others'."""
    settings = "-".join(f"{key.split('.')[-1]}={value}" for key, value in varying.items())
    stem = "-".join(filter(None, (planned.problem_name, planned.request.algo, settings)))
    plain = "".join(c if c.isalnum() or c in "+,._=-" else "-" for c in stem.lower()).lstrip(".")
    if len(plain.encode()) > 80:
        plain = f"{plain.encode()[:70].decode(errors='ignore')}-{planned.setting_digest[:6]}"
    name, number = f"{plain}-s{planned.request.seed}", 1
    while name in others:
        number += 1
        name = f"{plain}-s{planned.request.seed}-{number}"
    return name
