"""Saved runs for Python: what `opt.runs` reads from disk, with everything that can be done with one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from opt.runs import run as stored
from opt.runs import run_listing


class Run(stored.Run):
    """A saved run: its manifest, tables and solutions, and its pictures."""

    @classmethod
    def of(cls, run: stored.Run) -> Run:
        """The same run, as read from its directory."""
        return cls(run.path, run.manifest, run.files, run.seal)

    def plot(self, out: str | Path | None = None) -> Path:
        """Plot the front and the convergence; the path of the front's picture."""
        from opt.plots.run_pictures import plot_runs

        return plot_runs([self], out=None if out is None else Path(out))


def load_run(path: str | Path) -> Run:
    """Open a saved run.

    Raises:
        UsageError: The path is no run directory, or its manifest is corrupt or of another version.
    """
    return Run.of(stored.load_run(path))


def list_runs(folder: str | Path) -> list[Run]:
    """Every run directly under `folder`, oldest first; folders that are no runs are passed over.

    Raises:
        UsageError: It is no folder.
    """
    return [Run.of(run) for run in run_listing.list_runs(folder)]


def find_runs(paths: str | Path | Sequence[str | Path]) -> list[Run]:
    """The runs that the paths name: run directories, and folders that hold runs at any depth of two.

    Raises:
        UsageError: A path is neither.
    """
    return [Run.of(run) for run in run_listing.find_runs(paths)]
