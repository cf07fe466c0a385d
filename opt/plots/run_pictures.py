"""The pictures of runs as files: fronts, convergence and traces, several runs overlaid."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from opt.console.command import spelled
from opt.console.errors import UsageError
from opt.console.picture import rendered
from opt.console.terminal import tell
from opt.files import atomic
from opt.plots.convergence import convergence_figure
from opt.plots.front_picture import front_figure
from opt.plots.series import check_comparable, in_order, labels, series_of
from opt.plots.trace import trace_figure
from opt.runs.damage import altered_files
from opt.runs.run import Run

DPI = 130
LONGEST_NAME = 80


def plot_runs(runs: Sequence[Run], *, out: Path | None = None) -> Path:
    """Draw the fronts and the convergence of runs of one problem, and the trace of each that has one.

    Args:
        runs: One run or several; several are overlaid.
        out: File of the front's picture, in any format that matplotlib writes, by its suffix; the
            convergence goes beside it, as `NAME-convergence`, and a trace as `NAME-trace`, with the run's
            name behind it where there are several. None: `plots/front.png` and so on in the run's folder,
            or files named after the runs in `plots/` beside the folders of several.

    Returns:
        The path of the front's picture.

    Raises:
        UsageError: The runs are of different problems or objectives, one has no front, or `out`
            cannot be written.
    """
    return write_plots(runs, out=out)[0]


def write_plots(runs: Sequence[Run], *, out: Path | None = None) -> list[Path]:
    """As `plot_runs`; returns every file written, the front's picture first."""
    runs = in_order(runs)
    check_comparable(runs)
    files = _files(runs, out)
    series = series_of(runs)
    for file, figure in zip(files, (front_figure(series), convergence_figure(series)), strict=True):
        _save(figure, file)
    for run in runs:
        trace = run.trace
        if trace is not None and len(trace):
            convergence = files[1]
            tail = "trace" if len(runs) == 1 else f"trace-{run.path.resolve().name}"
            stem = convergence.stem.removesuffix("convergence") + tail
            files.append(convergence.with_name(stem + convergence.suffix))
            _save(trace_figure(run), files[-1])
    return files


def begun_runs(runs: Sequence[Run]) -> list[Run]:
    """The runs of which something is recorded; tells what is drawn of those that have not ended, or are damaged.

    Raises:
        UsageError: Nothing is recorded of any.
    """
    begun = []
    for run in runs:
        for name, reason in altered_files(run).items():
            again = f"{spelled('solve')} --resume {run.path}"
            tell(f"warning: {run.path / name} {reason}; {again} mends what it can", file=sys.stderr)
        if run.has_front:
            begun.append(run)
        elif n_gen := run.front_so_far.n_gen:
            tell(f"{run.path} is {run.status}: its front so far, of {n_gen} generations")
            begun.append(run)
        else:
            tell(f"{run.path} is {run.status}: nothing is recorded yet, left out")
    if runs and not begun:
        raise UsageError(f"nothing to plot: {runs[0].path} has no generation yet; wait for it or resume it")
    return begun


def _files(runs: Sequence[Run], out: Path | None) -> list[Path]:
    if out is not None:
        formats = sorted(FigureCanvasAgg.get_supported_filetypes())
        if out.suffix[1:].lower() not in formats:
            suffix = f"got {out.suffix!r}" if out.suffix else "got none"
            raise UsageError(f"--out {out} needs a suffix that names a format ({', '.join(formats)}); {suffix}")
        files = [out, out.with_name(f"{out.stem}-convergence{out.suffix}")]
        for file in files:
            if file.is_dir():
                raise UsageError(f"cannot write {file}: it is a folder; give another --out FILE")
        return files
    if len(runs) == 1:
        folder = runs[0].path / "plots"
        return [folder / "front.png", folder / "convergence.png"]
    folder = runs[0].path.resolve().parent / "plots"
    if runs[0].path.parent != runs[0].path:
        folder = runs[0].path.parent / "plots"
    name = _slug("-".join([str(runs[0].manifest["problem"]["name"]), *labels(runs)]))
    if len(name) > LONGEST_NAME:
        problem = _slug(str(runs[0].manifest["problem"]["name"]))[:LONGEST_NAME]
        name = f"{problem}-{len(runs)}-runs-{runs[0].path.name[:LONGEST_NAME]}"
    return [folder / f"{name}-front.png", folder / f"{name}-convergence.png"]


def _save(figure: Figure, file: Path) -> None:
    picture = rendered(figure, kind=file.suffix[1:].lower(), dpi=DPI)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_bytes(file, picture)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}; give another --out FILE") from None


def _slug(name: str) -> str:
    return "".join(c if c.isalnum() or c in "+,._=-" else "-" for c in name.lower())
