"""A run on disk: creating, opening, listing and checking run directories.

manifest.json   what was asked: problem, algorithm, parameters, seed, budget, versions; how it ended
journal.jsonl   every objective value ever computed, one checked record a generation (opt.runs.journal)
history.csv     one row a generation
trace.csv       one row a generation of an algorithm that tells what it does (annealing)
front.csv       one row per solution of the front
references.csv  known methods' solutions, in the same columns
solutions/      the front's solutions as safetensors
plots/          the front and the convergence as pictures
"""

from __future__ import annotations

import contextlib
import itertools
import math
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.console.terminal import tell
from opt.files import atomic
from opt.files.locking import this_process
from opt.files.new_folder import new_folder, remove_abandoned
from opt.files.plain_file import check_regular
from opt.files.row_file import RowFile
from opt.files.sealed import Seal
from opt.problem import Objective
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.damage import digests
from opt.runs.front_so_far import FrontSoFar, front_so_far
from opt.runs.run_tables import read_front, read_history, read_references, read_trace
from opt.search.recorded import check_records

HISTORY_COLUMNS = ("n_gen", "n_eval", "seconds", "hypervolume", "archive_size", "n_failed")


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
        self.files: dict[str, str] = {}
        self.resumed_with: dict[str, Any] | None = None
        self._journal = journal.Journal(path / "journal.jsonl", noted=manifest.get("process"))
        try:
            check_records(self.records, path / "journal.jsonl")
            # we hold the lock: what other writers left unfinished here is nobody's
            atomic.remove_stray_files([path, path / "solutions", path / "plots"])
            names = [o["name"] for o in manifest["objectives"]]
            columns = [*HISTORY_COLUMNS, *(f"{stat}_{n}" for n in names for stat in ("best", "mean", "worst"))]
            # rows of an earlier part of the run stay: a run killed while it replays loses no times
            history = path / "history.csv"
            self._history = RowFile(history, columns, at_most=len(self.records), measured="seconds")
        except BaseException:
            self._journal.close()
            raise
        self.seconds = self._history.times()
        if manifest.get("n_gen") and "seconds" in manifest:
            self.seconds.setdefault(manifest["n_gen"], float(manifest["seconds"]))
        self._trace: RowFile | None = None

    @classmethod
    def create(
        cls,
        out: Path,
        stem: str,
        manifest: dict[str, Any],
        *,
        name: str | None = None,
        fill: Callable[[Path], None] = lambda folder: None,
    ) -> RunDirectory:
        """A new run directory under `out`, called `name`, or named after the run and the second it began.

        It appears under its name with its manifest in it, and with what `fill` writes. A folder of that name in
        which no manifest was written yet is taken over.

        Raises:
            UsageError: `out` cannot be created or written.
        """
        began = datetime.now().strftime("%Y%m%d-%H%M%S")
        numbered = (f"{stem}-{began}" + (f"-{number}" if number > 1 else "") for number in itertools.count(1))
        manifest = {"format": manifests.FORMAT, "version": manifests.VERSION, **manifest, "created": now()}
        manifest |= {"status": "running", "process": this_process()}
        made: Path | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            remove_abandoned(out)
            names = numbered if name is None else [name]

            def write(folder: Path) -> None:
                fill(folder)
                manifests.write(folder, manifest)

            made = new_folder(out, names, write)
            if made is None:
                write(out / str(name))
            return cls(made or out / str(name), manifest)
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
        self._note_changes()
        self._journal.append(record)

    def _note_changes(self) -> None:
        """Note what the run goes on with once it does: one that does not replay is as it was."""
        if self.resumed_with is not None:
            entry, self.resumed_with = self.resumed_with, None
            self.update(resumed=[*(self.manifest.get("resumed") or []), entry])

    def history(self, row: Sequence[float]) -> None:
        """Add one row to history.csv, unless an earlier part of the run wrote that generation's.

        The time of a generation that an earlier part recorded and whose row is lost is not known: NaN.
        """
        number = int(row[0])
        if number <= len(self.records) and number not in self.seconds:
            at = HISTORY_COLUMNS.index("seconds")
            row = [*row[:at], math.nan, *row[at + 1 :]]
        self._history.add(row)

    def trace(self, row: Mapping[str, float | str]) -> None:
        """Add one row to trace.csv, whose columns are the names in the first row; as for the history."""
        if self._trace is None:
            self._trace = RowFile(self.path / "trace.csv", list(row), at_most=len(self.records))
        self._trace.add(list(row.values()))

    def update(self, **fields: Any) -> None:
        """Change fields of the manifest, atomically."""
        self.manifest |= fields
        manifests.write(self.path, self.manifest, self.files)

    def forget(self, *names: str) -> None:
        """Leave fields out of the manifest from its next writing on: they are of an earlier part of the run."""
        for name in names:
            self.manifest.pop(name, None)

    def finish(self, **fields: Any) -> None:
        """Close the tables, and note in the manifest how the run ended and the digests of all its files."""
        self._note_changes()
        self._close_tables()
        self.files = digests(self.path)
        self.forget("plots", "complaints")
        self.update(**fields)

    def close(self) -> None:
        """Close the files and release the lock."""
        try:
            self._close_tables()
        finally:
            self._journal.close()

    def replace_folder(self, name: str) -> Path:
        """An empty folder `name` inside the run; what an interrupted part left there is removed."""
        folder = self.path / name
        if folder.is_dir() and not folder.is_symlink():
            shutil.rmtree(folder, ignore_errors=True)
        else:
            folder.unlink(missing_ok=True)
        folder.mkdir(exist_ok=True)
        return folder

    def _close_tables(self) -> None:
        self._history.close()
        if self._trace is not None:
            self._trace.close()


class Run:
    """A saved run, read from its directory.

    Attributes:
        path: The directory.
        manifest: What was asked and how it ended.
        files: Digests of its files by their paths in it, once it ended.
        seal: Whether manifest.json is as it was written; see `opt.files.sealed`.
    """

    def __init__(
        self, path: Path, manifest: dict[str, Any], files: dict[str, str] | None = None, seal: Seal = "unsealed"
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.files = files or {}
        self.seal = seal

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
    def has_front(self) -> bool:
        """Whether the run ended with a front.csv; one of a part that ended before the last is none."""
        status = self.manifest["status"]
        is_last = "front.csv" in self.files or self.seal == "unsealed"
        return status == "finished" or (status != "running" and is_last and (self.path / "front.csv").exists())

    @property
    def front(self) -> pd.DataFrame:
        """front.csv: one row per solution.

        Raises:
            UsageError: The run has not ended with one, `front_so_far` has what is known; or it cannot be read.
        """
        if not self.has_front:
            raise UsageError(
                f"{self.path} has no front.csv yet: the run is {self.status}; run.front_so_far has the front of what "
                f"it has recorded, python -m opt.solve --resume {self.path} ends it"
            )
        return self._table("front.csv", lambda: read_front(self.path / "front.csv", self.objectives))

    @property
    def front_so_far(self) -> FrontSoFar:
        """The front of everything that the journal holds, of a run that has ended or not: ids and objectives."""
        return front_so_far(self.journal(), self.objectives, is_stationary=self.is_stationary)

    @property
    def references(self) -> pd.DataFrame:
        """references.csv: known methods' solutions, `reference` names the method; empty when there are none."""
        path = self.path / "references.csv"
        if not path.exists():
            return pd.DataFrame({"reference": []})
        return self._table("references.csv", lambda: read_references(path, self.objectives))

    @property
    def history(self) -> pd.DataFrame:
        """history.csv: one row per generation; while the run is under way without a row that is half written."""
        path, whole = self.path / "history.csv", self.manifest["status"] == "finished"
        return self._table("history.csv", lambda: read_history(path, self.objectives, HISTORY_COLUMNS, whole=whole))

    @property
    def trace(self) -> pd.DataFrame | None:
        """trace.csv: one row per generation; None where the algorithm writes none."""
        path, whole = self.path / "trace.csv", self.manifest["status"] == "finished"
        return self._table("trace.csv", lambda: read_trace(path, whole=whole)) if path.exists() else None

    def journal(self) -> list[dict[str, Any]]:
        """Every record of the journal; none of a run that was killed before it began one.

        Raises:
            UsageError: It cannot be read, or is altered before its last record.
        """
        path = self.path / "journal.jsonl"
        if self.manifest["status"] == "running" and not path.exists():
            return []
        records = journal.read(path)[0]
        check_records(records, path)
        return records

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

    def _table(self, name: str, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        try:
            return read()
        except FileNotFoundError:
            hint = f"python -m opt.solve --resume {self.path}"
            raise UsageError(f"{self.path / name} is missing: the run is {self.status}; {hint} writes it") from None


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
    manifest = manifests.read(path)
    return Run(path, manifest.fields, manifest.files, manifest.seal)


def record_failure(path: Path, reason: str) -> None:
    """Note in a run's manifest that it failed, unless it is finished, another process holds it, or there is none.

    Args:
        path: The run directory.
        reason: Why, in one line.
    """
    with contextlib.suppress(UsageError, OSError):
        run = load_run(path)
        if run.status not in ("finished", "running"):
            manifests.write(path, run.manifest | {"status": "failed", "stop_reason": reason, "ended": now()}, run.files)


def list_runs(folder: str | Path) -> list[Run]:
    """Every run directly under `folder`, oldest first; folders that are no runs are passed over."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder; give the folder that holds the runs (--out of opt.solve)")
    runs = []
    for path in run_directories(folder):
        try:
            runs.append(load_run(path))
        except UsageError as error:
            tell(f"passed over: {' '.join(str(error).split())}", file=sys.stderr)
    return sorted(runs, key=lambda r: (r.manifest.get("created", ""), r.path.name))


def run_directories(folder: Path) -> list[Path]:
    """The folders directly under `folder` that hold a manifest, by name; hidden ones are not complete yet."""
    paths = [manifest.parent for manifest in folder.glob(f"*/{manifests.NAME}")]
    return sorted(path for path in paths if not path.name.startswith("."))


def find_runs(paths: str | Path | Sequence[str | Path]) -> list[Run]:
    """The runs that the paths name: run directories, and folders that hold runs at any depth of two.

    Raises:
        UsageError: A path is neither.
    """
    found = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if (path / "manifest.json").exists() or not path.is_dir():
            found.append(load_run(path))
            continue
        inside = list_runs(path)
        folders = (p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        for folder in sorted(p for p in folders if not (p / "manifest.json").exists()):
            inside += list_runs(folder)
        if not inside:
            raise UsageError(f"{path} holds no runs; give run directories or the folder that holds them")
        found += inside
    return found


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
