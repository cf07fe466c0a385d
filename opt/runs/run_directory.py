"""A run on disk while it is written: its directory, and what stands in it.

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

import itertools
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opt.console.errors import UsageError
from opt.files import atomic
from opt.files.locking import this_process
from opt.files.new_folder import new_folder, remove_abandoned
from opt.files.row_file import RowFile
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.file_digests import digests
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
        folder: Path | None = None
        try:
            out.mkdir(parents=True, exist_ok=True)
            remove_abandoned(out)
            names = numbered if name is None else [name]

            def write(waiting: Path) -> None:
                fill(waiting)
                manifests.write(waiting, manifest)

            folder = new_folder(out, names, write)
            if folder is None:  # one of that name is there, without a manifest: it is taken over
                write(out / str(name))
            return cls(folder or out / str(name), manifest)
        except OSError as error:
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)
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
