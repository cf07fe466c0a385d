"""A saved run, read from its directory; see `opt.runs.run_directory` for what stands in one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.names import check_name
from opt.files.plain_file import check_regular
from opt.files.sealed import Seal
from opt.problem import Objective
from opt.runs import journal
from opt.runs import manifest as manifests
from opt.runs.front_so_far import FrontSoFar, front_so_far
from opt.runs.run_directory import HISTORY_COLUMNS
from opt.runs.run_tables import read_front, read_history, read_references, read_trace
from opt.search.recorded import check_records


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
                f"it has recorded, {spelled('solve')} --resume {self.path} ends it"
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

    def _table(self, name: str, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        try:
            return read()
        except FileNotFoundError:
            hint = f"{spelled('solve')} --resume {self.path}"
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
