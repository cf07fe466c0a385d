"""Finding saved runs in folders, and noting that one failed."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

from opt.console.errors import UsageError
from opt.console.terminal import tell
from opt.runs import manifest as manifests
from opt.runs.run import Run, load_run
from opt.runs.run_directory import now


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
    runs: list[Run] = []
    for path in map(Path, [paths] if isinstance(paths, (str, Path)) else paths):
        if (path / "manifest.json").exists() or not path.is_dir():
            runs.append(load_run(path))
            continue
        inside = list_runs(path)
        folders = (p for p in path.iterdir() if p.is_dir() and not p.name.startswith("."))
        for folder in sorted(p for p in folders if not (p / "manifest.json").exists()):
            inside += list_runs(folder)
        if not inside:
            raise UsageError(f"{path} holds no runs; give run directories or the folder that holds them")
        runs += inside
    return runs
