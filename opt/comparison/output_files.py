"""The files of a comparison: tables, pictures and the page, all written to one folder."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from matplotlib.figure import Figure

from opt.comparison.attainment_plot import attainment_figure
from opt.comparison.group_plots import box_figure, growth_figure, rank_figure
from opt.comparison.joint_front_plot import joint_front_figure
from opt.comparison.page import page
from opt.comparison.verdict import Verdict, file_names
from opt.console.errors import UsageError
from opt.console.picture import rendered
from opt.console.terminal import printable
from opt.files import atomic, csv_table

DPI = 110


def write_comparison(verdict: Verdict, out: Path, *, command: str | None = None) -> list[Path]:
    """Write the tables, the pictures and the page.

    Args:
        verdict: What to write.
        out: The folder; made where it is missing.
        command: The command line, for the page.

    Returns:
        Every file written, the page first.

    Raises:
        UsageError: Nothing can be written there.
    """
    pictures = {name: _png(figure) for name, figure in draw(verdict).items()}
    files = {"index.html": page(verdict, pictures, command=command).encode()}
    files["warnings.txt"] = "".join(printable(text) + "\n" for text in verdict.all_warnings).encode()
    for field in fields(verdict.tables):
        files[f"{field.name}.csv"] = csv_table.encode(getattr(verdict.tables, field.name))
    files |= {f"{name}.png": data for name, data in pictures.items()}
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, data in files.items():
            atomic.write_bytes(out / name, data)
    except OSError as error:
        raise UsageError(f"cannot write {out}: {error.strerror}; give another --out DIR") from None
    return [out / name for name in files]


def draw(verdict: Verdict) -> dict[str, Figure]:
    """Every picture, by the name of its file."""
    names = file_names([c.problem for c in verdict.comparisons])
    figures = {}
    for c in verdict.comparisons:
        name = names[c.problem]
        if len(c.objectives) > 1:
            figures[f"{name}-attainment"] = attainment_figure(c)
            figures[f"{name}-joint-front"] = joint_front_figure(c)
        figures[f"{name}-growth"] = growth_figure(c)
        figures[f"{name}-indicators"] = box_figure(c)
    groups = verdict.comparisons[0].all_groups
    for measure, test in verdict.ranks.items():
        figures[f"ranks-{measure}"] = rank_figure(measure, test, groups)
    return figures


def _png(figure: Figure) -> bytes:
    # without the date and version that a PNG would carry, the same runs give the same file
    return rendered(figure, dpi=DPI, metadata={"Software": None})
