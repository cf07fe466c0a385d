"""A run on disk: creating, opening, listing and checking run directories.

manifest.json   what was asked: problem, algorithm, parameters, seed, budget, versions; how it ended
journal.jsonl   every objective value ever computed, one checked record a generation (opt.journal)
history.csv     one row a generation
trace.csv       one row a generation of an algorithm that tells what it does (annealing)
front.csv       one row per solution of the front
references.csv  known methods' solutions, in the same columns
solutions/      the front's solutions as safetensors
plots/          the front and the convergence as pictures
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from opt import atomic, csv_table, journal
from opt.errors import UsageError
from opt.locking import this_process
from opt.names import check_name
from opt.plain_file import check_regular, read_json
from opt.problem import Objective
from opt.row_file import RowFile
from opt.terminal import tell

MANIFEST_VERSION = 1
HISTORY_COLUMNS = ("n_gen", "n_eval", "seconds", "hypervolume", "archive_size", "n_failed")
REQUIRED = ("status", "problem", "objectives", "algo", "seed", "budget", "request")


def now() -> str:
    """The time in UTC, to the second, as ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunDirectory:
    """A run directory open for writing; what a Search records to.

    Args:
        path: An existing run directory with a manifest.
        manifest: Its manifest.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._journal = journal.Journal(path / "journal.jsonl", noted=manifest.get("process"))
        names = [o["name"] for o in manifest["objectives"]]
        columns = [*HISTORY_COLUMNS, *(f"{stat}_{n}" for n in names for stat in ("best", "mean", "worst"))]
        # rows of an earlier part of the run stay: a run killed while it replays loses no times
        self._history = RowFile(path / "history.csv", columns, at_most=len(self.records))
        self.seconds = {n: float(row.split(",")[2]) for n, row in enumerate(self._history.kept, start=1)}
        self._trace: RowFile | None = None

    @classmethod
    def create(cls, out: Path, stem: str, manifest: dict[str, Any], *, name: str | None = None) -> RunDirectory:
        """A new run directory under `out`, called `name`, or named after the run and the second it began.

        A folder of that name in which no manifest was written yet is taken over.

        Raises:
            UsageError: `out` cannot be created or written.
        """
        began = datetime.now().strftime("%Y%m%d-%H%M%S")
        made: Path | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            number = 1
            while True:
                path = out / (name or f"{stem}-{began}" + (f"-{number}" if number > 1 else ""))
                try:
                    path.mkdir(exist_ok=name is not None)
                    made = path
                    break
                except FileExistsError:
                    if name is not None:
                        raise
                    number += 1
            manifest = {"format": "opt-run", "version": MANIFEST_VERSION, **manifest, "created": now()}
            manifest |= {"status": "running", "process": this_process()}
            atomic.write_bytes(path / "manifest.json", _json(manifest))
            return cls(path, manifest)
        except OSError as error:
            if made is not None:
                shutil.rmtree(made, ignore_errors=True)
            raise UsageError(f"cannot write a run under {out}: {error.strerror}; give another --out") from None

    @property
    def records(self) -> list[dict[str, Any]]:
        """What the journal held when it was opened."""
        return self._journal.records

    @property
    def n_dropped(self) -> int:
        """Bytes of a torn last record that were dropped on opening."""
        return self._journal.n_dropped

    def append(self, record: dict[str, Any]) -> None:
        """Add one record to the journal."""
        self._journal.append(record)

    def history(self, row: Sequence[float]) -> None:
        """Add one row to history.csv, unless an earlier part of the run wrote that generation's."""
        self._history.add(row)

    def trace(self, row: Mapping[str, float | str]) -> None:
        """Add one row to trace.csv, whose columns are the names in the first row; as for the history."""
        if self._trace is None:
            self._trace = RowFile(self.path / "trace.csv", list(row), at_most=len(self.records))
        self._trace.add(list(row.values()))

    def update(self, **fields: Any) -> None:
        """Change fields of the manifest, atomically."""
        self.manifest |= fields
        atomic.write_bytes(self.path / "manifest.json", _json(self.manifest))

    def close(self) -> None:
        """Close the files and release the lock."""
        try:
            self._history.close()
            if self._trace is not None:
                self._trace.close()
        finally:
            self._journal.close()

    def replace_folder(self, name: str) -> Path:
        """An empty folder `name` inside the run; what an interrupted part left there is removed."""
        folder = self.path / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        return folder


class Run:
    """A saved run, read from its directory.

    Attributes:
        path: The directory.
        manifest: What was asked and how it ended.
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r}, {self.label}, {self.status})"

    @property
    def status(self) -> str:
        """finished, interrupted, failed or running; a run whose process is gone counts as interrupted."""
        status = self.manifest["status"]
        if status == "running" and not _is_locked(self.path / "journal.jsonl"):
            return "interrupted"
        return status

    @property
    def is_stationary(self) -> bool:
        """Whether objective values kept their meaning, so that those of different generations can be compared."""
        return bool(self.manifest.get("stationary", True))

    @property
    def label(self) -> str:
        """Problem, algorithm and seed in short, for legends."""
        return f"{self.manifest['problem']['name']} {self.manifest['algo']['name']} seed {self.manifest['seed']}"

    @property
    def objectives(self) -> list[Objective]:
        """The problem's objectives."""
        return [Objective(**o) for o in self.manifest["objectives"]]

    @property
    def front(self) -> pd.DataFrame:
        """front.csv: one row per solution."""
        return self._table("front.csv")

    @property
    def references(self) -> pd.DataFrame:
        """references.csv: known methods' solutions, `reference` names the method; empty when there are none."""
        path = self.path / "references.csv"
        return self._table("references.csv") if path.exists() else pd.DataFrame({"reference": []})

    @property
    def history(self) -> pd.DataFrame:
        """history.csv: one row per generation."""
        return self._table("history.csv")

    @property
    def trace(self) -> pd.DataFrame | None:
        """trace.csv: one row per generation; None where the algorithm writes none."""
        return self._table("trace.csv") if (self.path / "trace.csv").exists() else None

    def journal(self) -> list[dict[str, Any]]:
        """Every record of the journal."""
        return journal.read(self.path / "journal.jsonl")[0]

    def solution(self, solution_id: str) -> dict[str, Any]:
        """The arrays of one saved solution of the front, by name."""
        path = self.path / "solutions" / f"{check_name(solution_id, f'{self.path}: solution')}.safetensors"
        try:
            return read_arrays(path)
        except FileNotFoundError:
            text = f"{self.path} has no saved solution {solution_id!r}; see the column id of its front.csv"
            raise UsageError(text) from None

    def plot(self, out: str | Path | None = None) -> Path:
        """Plot the front and the convergence; the path of the front's picture."""
        from opt.plot import plot_runs

        return plot_runs([self], out=None if out is None else Path(out))

    def _table(self, name: str) -> pd.DataFrame:
        path = self.path / name
        try:
            return csv_table.read(path)
        except FileNotFoundError:
            hint = f"python -m opt.solve --resume {self.path}"
            raise UsageError(f"{path} is missing: the run is {self.status}; finish it with {hint}") from None
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError, OSError) as error:
            raise UsageError(f"{path} is not a readable table ({error}); resume or repeat the run") from None


def read_arrays(path: Path) -> dict[str, Any]:
    """The arrays in a safetensors file, by name.

    Raises:
        FileNotFoundError: There is none.
        UsageError: It cannot be read, or is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        check_regular(path)
        # the library opens no path that is not UTF-8
        return load(path.read_bytes())
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}; restore it from a copy") from None
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, MemoryError) as error:
        # a header that lies, or numbers of a kind that NumPy has not
        raise UsageError(f"{path} is damaged or no solution ({error}); restore it from a copy") from None


def load_run(path: str | Path) -> Run:
    """Open a saved run.

    Raises:
        UsageError: The path is no run directory, or its manifest is corrupt or of another version.
    """
    path = Path(path)
    file = path / "manifest.json"
    try:
        manifest = read_json(file)
    except (FileNotFoundError, NotADirectoryError):
        reason = "has no manifest.json" if path.is_dir() else "does not exist" if not path.exists() else "is a file"
        raise UsageError(f"{path} is not a run directory: it {reason}; `python -m opt.show` lists the runs") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}; give another, or restore it from a copy") from None
    except ValueError as error:
        raise UsageError(f"{file} cannot be read ({error}); restore it from a copy, or start a new run") from None
    if not isinstance(manifest, dict) or manifest.get("format") != "opt-run":
        raise UsageError(f"{path} is not a run directory of this program: manifest.json has no format opt-run")
    missing = [name for name in REQUIRED if name not in manifest]
    if manifest.get("version") == MANIFEST_VERSION and missing:
        raise UsageError(f"{file} lacks {', '.join(missing)}; restore it from a copy, or start a new run")
    if manifest.get("version") != MANIFEST_VERSION:
        raise UsageError(
            f"{path} is of run version {manifest.get('version')} and this program reads version {MANIFEST_VERSION}; "
            "open it with the release that wrote it"
        )
    return Run(path, manifest)


def record_failure(path: Path, reason: str) -> None:
    """Note in a run's manifest that it failed, unless it is finished, another process holds it, or there is none.

    Args:
        path: The run directory.
        reason: Why, in one line.
    """
    with contextlib.suppress(UsageError, OSError):
        run = load_run(path)
        if run.status not in ("finished", "running"):
            run.manifest |= {"status": "failed", "stop_reason": reason, "ended": now()}
            atomic.write_bytes(path / "manifest.json", _json(run.manifest))


def list_runs(folder: str | Path) -> list[Run]:
    """Every run directly under `folder`, oldest first; folders that are no runs are passed over."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the folder that holds the runs (--out of opt.solve)")
    runs = []
    for manifest in sorted(folder.glob("*/manifest.json")):
        try:
            runs.append(load_run(manifest.parent))
        except UsageError as error:
            tell(f"passed over: {error}", file=sys.stderr)
    return sorted(runs, key=lambda r: (r.manifest.get("created", ""), r.path.name))


def find_runs(paths: Sequence[str | Path]) -> list[Run]:
    """The runs that the paths name: run directories, and folders that hold runs at any depth of two.

    Raises:
        UsageError: A path is neither.
    """
    found = []
    for path in map(Path, paths):
        if (path / "manifest.json").exists() or not path.is_dir():
            found.append(load_run(path))
            continue
        inside = list_runs(path)
        for folder in sorted(p for p in path.iterdir() if p.is_dir() and not (p / "manifest.json").exists()):
            inside += list_runs(folder)
        if not inside:
            raise UsageError(f"{path} holds no runs; give run directories or the folder that holds them")
        found += inside
    return found


def check_folder(out: Path) -> None:
    """Check that runs can be made in a folder, before a problem is built that may take long to build.

    Raises:
        UsageError: The folder cannot be made, or nothing can be written in it.
    """
    try:
        nearest = next(folder for folder in (out, *out.absolute().parents) if folder.exists())
        reason = "" if os.access(nearest, os.W_OK | os.X_OK) else "permission denied"
        if not nearest.is_dir():
            reason = f"{nearest} is a file"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise UsageError(f"cannot write a run under {out}: {reason}; give another --out")


def _json(manifest: dict[str, Any]) -> bytes:
    text = json.dumps(manifest, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # half a character, as in a path that is not UTF-8, becomes the escape that JSON has for it
    return text.encode("utf-8", "backslashreplace")


def _is_locked(path: Path) -> bool:
    import fcntl

    try:
        check_regular(path)
        with open(path, "rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False
