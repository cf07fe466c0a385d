"""Pictures of what a user named: every text is drawn letter by letter, and no number's formula is lost."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
import sample_problems as samples
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

import opt
from opt.compare import compare
from opt.comparison.output_files import draw
from opt.console.picture import rendered, without_formulas
from opt.plots.run_pictures import write_plots

NAMES = ("$\\frac{$", "a$b$c", "$$", "{", "\\", "%s", "\u65e5\u672c")


def with_names(run: opt.Run, name: str, folder: Path) -> opt.Run:
    """A copy of a run in which problem, algorithm and objectives bear a name."""
    shutil.copytree(run.path, folder)
    manifest = run.manifest | {"problem": run.manifest["problem"] | {"name": name}}
    manifest |= {"algo": manifest["algo"] | {"name": name}}
    manifest["objectives"] = [objective | {"unit": name} for objective in manifest["objectives"]]
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return opt.load_run(folder)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("opt.plots.run_pictures.plot_runs", lambda runs, *, out=None: runs[0].path)
        return [opt.minimize(samples.Slope(), "nsga2", n_gen=3, pop_size=8, seed=seed, out=out) for seed in (1, 2)]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_drawn_as_they_are(runs, name, tmp_path):
    named = [with_names(run, name, tmp_path / f"{name}-{k}") for k, run in enumerate(runs)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = write_plots(named, out=tmp_path / "plots" / "front.png")
        pictures = [rendered(figure, dpi=20) for figure in draw(compare(named)).values()]
    assert len(files) == 2 and all(file.stat().st_size > 1000 for file in files)
    assert len(pictures) >= 3 and all(picture.startswith(b"\x89PNG") for picture in pictures)


def test_title_of_a_formula_is_its_letters():
    figure = Figure()
    renderer = FigureCanvasAgg(figure).get_renderer()
    title = figure.suptitle("$x^2$")
    plain = title.get_window_extent(renderer).width
    without_formulas(figure)
    assert title.get_window_extent(renderer).width > 1.3 * plain


def test_powers_of_ten_at_ticks_stay_formulas():
    figure = Figure()
    ax = figure.add_subplot()
    ax.plot([1, 1e6], [1, 2])
    ax.set_xscale("log")
    ax.set_yticks([1, 2], ["$one$", "two"])
    figure.draw_without_rendering()
    rendered(figure, dpi=20)
    is_formula = {text.get_text(): text.get_parse_math() for text in figure.findobj(Text) if text.get_text()}
    assert [is_formula[text] for text in ("$one$", "two")] == [False, False]
    assert any(text.startswith("$\\mathdefault{10^") and formula for text, formula in is_formula.items())
