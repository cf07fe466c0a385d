"""Integrity of a run's files: what is missing or altered, and the leftovers of writers that died."""

from __future__ import annotations

import zlib
from pathlib import Path

from opt.files import atomic
from opt.runs.file_digests import PLOTS, SOLUTIONS, digest_of, entries
from opt.runs.run import Run

_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def altered_files(run: Run) -> dict[str, str]:
    """The files that differ from the digests in the manifest, each with how; none where there are no digests."""
    differing = {}
    for name, digest in run.files.items():
        try:
            if digest_of(run.path / name) != digest:
                differing[name] = "was altered since the run ended"
        except FileNotFoundError:
            differing[name] = "is missing"
        except OSError as error:
            differing[name] = f"cannot be read: {error.strerror}"
    for name in entries(run.path / SOLUTIONS) if run.files else ():
        if f"{SOLUTIONS}/{name}" not in run.files:
            differing[f"{SOLUTIONS}/{name}"] = "is not one of the run's solutions"
    return differing


def damaged_plots(run: Run) -> dict[str, str]:
    """The pictures that a run drew at its end, or was about to, and that are missing or altered, each with how."""
    folder = run.path / PLOTS
    if "plots" not in run.manifest:
        # killed before it noted its pictures, whichever are there; or of a release that noted none, nor digests
        is_of_old = not run.files and _is_whole(folder / "front.png")
        is_drawn = not run.manifest.get("n_solutions") or is_of_old
        return {} if is_drawn else {f"{PLOTS}/front.png": "was not drawn"}
    differing = {}
    for name in run.manifest["plots"]:
        if not (folder / name).exists():
            differing[f"{PLOTS}/{name}"] = "is missing"
        elif not _is_whole(folder / name):
            differing[f"{PLOTS}/{name}"] = "is altered"
    return differing


def is_whole_picture(data: bytes) -> bool:
    """Whether PNG data is whole: every chunk passes its check, and the last one ends the file."""
    if not data.startswith(_SIGNATURE):
        return False
    at, kind = len(_SIGNATURE), b""
    while kind != b"IEND":
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        end = at + 8 + length
        if data[end : end + 4] != zlib.crc32(data[at + 4 : end]).to_bytes(4, "big"):
            return False
        at = end + 4
    return at == len(data)


def stray_files(path: Path) -> list[Path]:
    """Temporary files of writers that died, in the folder of a run."""
    return list(atomic.stray_files([path, path / SOLUTIONS, path / PLOTS]))


def _is_whole(path: Path) -> bool:
    try:
        return path.is_file() and is_whole_picture(path.read_bytes())
    except OSError:
        return False
