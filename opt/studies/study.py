"""A study on disk: many runs under one folder, what was asked, and an index of how they stand.

study.json   every task as it was asked
index.csv    one row a task: what it is, how it stands, what it reached, where its run lies
NAME/        the run directory of the task of that name
.tasks/      notes of the processes that carry tasks out
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
from opt.execution.request import Request
from opt.execution.trust import Recorded, check_code
from opt.files import atomic, csv_table
from opt.files.locking import LockedFile, this_process
from opt.files.new_folder import check_folder
from opt.files.plain_file import read_json
from opt.problem.provenance import file_digest
from opt.runs.run import Run, load_run
from opt.studies import study_file
from opt.studies.task import Task

INDEX = "index.csv"
FINISHED = "finished"
_FILES = ("study.json", "index.csv")
_MEASURES = ("n_gen", "n_eval", "seconds", "hypervolume", "n_solutions")


class Study:
    """Tasks of one study, in the order in which they are carried out.

    Args:
        path: The folder.
        tasks: Each with a name of its own, the name of its run directory.
        varying: By the task's name, the settings in which the study's tasks differ.
        reasons: Why tasks failed that have no run directory, by name.
        command: The command line that asked last.
    """

    def __init__(
        self,
        path: Path,
        tasks: Sequence[Task],
        varying: dict[str, dict[str, str]],
        reasons: dict[str, str] | None = None,
        command: str | None = None,
    ) -> None:
        self.path = path
        self.command = command
        self.tasks = list(tasks)
        self.varying = varying
        self._rows: dict[str, dict[str, Any]] = {}
        for task in self.tasks:
            self.note(task, (reasons or {}).get(str(task.name), ""))

    @classmethod
    def open(cls, path: Path, *, trust: bool = False, is_forced: bool = False, given: Sequence[Task] = ()) -> Study:
        """A study that is on disk, to go on with: the problems' files are loaded.

        Args:
            path: The folder.
            trust: Import what its tasks name, whatever it is.
            is_forced: Import what lies where it may though it has changed.
            given: Tasks asked by the same command: what they name is trusted.

        Raises:
            UsageError: The folder holds none, it cannot be read, a task has a name that leads elsewhere, or names
                code that is not trusted (`opt.execution.trust`).
        """
        content = study_file.read(path)
        if content.seal == "altered":
            raise UsageError(
                f"{path / study_file.NAME} was altered since it was written; restore it from a copy, or, where the "
                'change is meant, remove its last two lines "sealed" and "digest" with the comma before them'
            )
        data, file = content.fields, path / study_file.NAME
        untyped = [Task.untyped(task | {"out": str(path)}, source=file) for task in data["tasks"]]
        for task in untyped:
            if check_name(task.name, f"{file}: task") in _FILES:
                raise UsageError(f"{file} is altered: a task lacks a name of its own; restore it from a copy")
        codes, known = ([task.code for task in tasks] for tasks in (untyped, given))
        recorded = Recorded(data.get("code", {}), data.get("functions", {}))
        check_code(path, codes, recorded, trust=trust, is_forced=is_forced, given=known)
        return cls._of(path, data, Task.typed(untyped))

    @classmethod
    def look_at(cls, path: Path) -> Study:
        """A study that is on disk, to see how it stands: parameters stay as they are written, no code is loaded.

        Raises:
            UsageError: The folder holds none, or it cannot be read.
        """
        data = study_file.read(path).fields
        asked = [task | {"out": str(path), "request": Request.from_manifest(task)} for task in data["tasks"]]
        return cls._of(path, data, [Task(**task) for task in asked])

    @classmethod
    def _of(cls, path: Path, data: dict[str, Any], tasks: Sequence[Task]) -> Study:
        return cls(path, tasks, data["varying"], data["reasons"], data["command"])

    @classmethod
    def asked(
        cls,
        path: Path,
        tasks: Sequence[Task],
        varying: Sequence[dict[str, str]],
        *,
        trust: bool = False,
        is_forced: bool = False,
    ) -> Study:
        """The study that is to hold these tasks: new, or one that is on disk, with what it lacks of them.

        A task that the study on disk has already, by what is searched and how, keeps its name and
        its run. Tasks that are on disk and not asked stay.

        Args:
            path: The folder.
            tasks: What is asked, each once; each gets its name here, and shows no progress of its own.
            varying: For each task, the settings in which they differ.
            trust: As in `open`.
            is_forced: Likewise.

        Raises:
            UsageError: The folder is a run's, or holds a study that cannot be read or names other code that is not
                trusted.
        """
        if (path / "manifest.json").exists():
            raise UsageError(f"{path} is one run, and several are asked; give another --name")
        known = None
        if (path / "study.json").exists():
            known = cls.open(path, trust=trust, is_forced=is_forced, given=tasks)
        named = {task.digest: task for task in known.tasks} if known else {}
        taken = {str(task.name) for task in named.values()}
        settings = dict(known.varying) if known else {}
        found: list[Task] = []
        for task, differing in zip(tasks, varying, strict=True):
            if task.digest in named:
                before = named[task.digest]
                name = str(before.name)
            else:
                name = _free_name(task, differing, taken)
                taken.add(name)
            settings[name] = differing
            found.append(Task(**(vars(task) | {"name": name, "out": str(path), "silent": True})))
        asked = {task.digest for task in found}
        kept = [task for task in named.values() if task.digest not in asked]
        reasons = {name: row["reason"] for name, row in known._rows.items() if row["reason"]} if known else {}
        return cls(path, [*found, *kept], settings, reasons)

    def save(self, *, command: str | None = None) -> None:
        """Write study.json and index.csv.

        Raises:
            UsageError: Nothing can be written there.
        """
        data = {
            "command": command,
            "tasks": [task.as_dict() for task in self.tasks],
            "varying": self.varying,
            "reasons": self._reasons(),
            "code": {named: {"problem": file_digest(file)} for named, file in self._files().items()},
            "functions": function_digests(task.code for task in self.tasks),
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

    def note(self, task: Task, reason: str = "") -> None:
        """Read how a task stands from its run directory.

        Args:
            task: One of the study's.
            reason: Why it failed, where it did.
        """
        self._rows[str(task.name)] = _standing(task, reason)

    @property
    def index(self) -> pd.DataFrame:
        """One row a task: name, problem, algo, what varies, seed, status, measures, and the reason of a failure."""
        columns = dict.fromkeys(key for task in self.tasks for key in self.varying[str(task.name)])
        rows = []
        for task in self.tasks:
            differing = self.varying[str(task.name)]
            rows.append(
                {"run": task.name, "problem": task.problem_name, "algo": task.request.algo}
                | {key: differing.get(key, "") for key in columns}
                | {"seed": task.request.seed}
                | self._rows[str(task.name)]
            )
        return pd.DataFrame(rows)

    @property
    def counts(self) -> Counter[str]:
        """Number of tasks by status."""
        return Counter(self._rows[str(task.name)]["status"] for task in self.tasks)

    def unfinished(self, tasks: Iterable[Task] | None = None) -> list[Task]:
        """The tasks that are not finished, in order."""
        chosen = self.tasks if tasks is None else tasks
        return [task for task in chosen if self._rows[str(task.name)]["status"] != FINISHED]

    def damaged(self, tasks: Iterable[Task]) -> list[Task]:
        """The finished tasks whose runs are not as they were when they ended, in order."""
        finished = [task for task in tasks if self._rows[str(task.name)]["status"] == FINISHED]
        runs = [(task, load_run(task.path)) for task in finished]
        return [task for task, run in runs if run.seal == "altered" or damage(run)]

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
        """The problem files, by the names that the tasks have for them."""
        codes = {task.target: task.code for task in self.tasks}
        return {code.named: code.file for code in codes.values() if code.file is not None}

    def _reasons(self) -> dict[str, str]:
        return {name: row["reason"] for name, row in self._rows.items() if row["reason"]}


def is_study(path: Path) -> bool:
    """Whether a folder holds a study."""
    return (path / "study.json").is_file()


def _standing(task: Task, reason: str) -> dict[str, Any]:
    row: dict[str, Any] = {"status": "failed" if reason else "waiting", **dict.fromkeys(_MEASURES), "reason": reason}
    if not (task.path / "manifest.json").exists():
        return row
    try:
        run: Run = load_run(task.path)
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


def _free_name(task: Task, varying: dict[str, str], taken: set[str]) -> str:
    """A name for a task's run directory: what it is in short, and a number where that is taken."""
    settings = "-".join(f"{key.split('.')[-1]}={value}" for key, value in varying.items())
    stem = "-".join(filter(None, (task.problem_name, task.request.algo, settings)))
    plain = "".join(c if c.isalnum() or c in "+,._=-" else "-" for c in stem.lower()).lstrip(".")
    if len(plain.encode()) > 80:
        plain = f"{plain.encode()[:70].decode(errors='ignore')}-{task.setting_digest[:6]}"
    name, number = f"{plain}-s{task.request.seed}", 1
    while name in taken:
        number += 1
        name = f"{plain}-s{task.request.seed}-{number}"
    return name
