"""The pictures of computed weights, from runs; and what is refused."""

from __future__ import annotations

import sys
import types

import pytest

from opt import UsageError, minimize
from problems.cgp import CGP
from problems.cgp_layers import CGPLayers
from problems.circuits.saved import saved_genome
from problems.figures.cgp import circuit_figure, front_figure, sensitivity_figure, write_plots


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("runs")
        patch.setenv("OPT_CACHE_DIR", str(folder / "cache"))
        # the runs' own pictures would take most of the time
        stand_in = types.ModuleType("opt.plots.run_pictures")
        stand_in.plot_runs = lambda runs, *, out=None: runs[0].path
        patch.setitem(sys.modules, "opt.plots.run_pictures", stand_in)
        circuit = CGP(epochs=2)
        layers = CGPLayers(epochs=2, generations=300, rows=8, cols=8, thresholds="0,10", layers="conv*")
        yield (
            minimize(circuit, "cgp-es", n_gen=3, chunk=1000, out=folder),
            minimize(layers, "nsga2", n_gen=3, pop_size=8, out=folder),
            minimize(layers, "random", n_gen=1, pop_size=2, out=folder),
        )


def test_pictures_are_written(runs, tmp_path):
    files = write_plots(runs, tmp_path / "figures")
    assert {f.name for f in files} == {"circuit.png", "front.png", "sensitivity.png"}
    assert all(f.read_bytes().startswith(b"\x89PNG") for f in files)


def test_front_says_whether_it_is_exact_and_legends_are_full(runs):
    labels = [t.get_text() for t in front_figure(runs[1]).axes[0].get_legend().get_texts()]
    assert labels[:2] == ["all weights loaded", "one threshold everywhere"] and "exact front" in labels[2]
    other = [t.get_text() for t in front_figure(runs[2]).axes[0].get_legend().get_texts()]
    assert "exact front" not in other[2], "two random choices are not the exact front"
    texts = [t.get_text() for t in sensitivity_figure([runs[0]]).axes[0].get_legend().get_texts()]
    assert len(texts) == 2 and texts[0].endswith("reading 16 B") and "pJ, mse" in texts[1]


def test_circuit_shows_every_output(runs):
    texts = {t.get_text() for t in circuit_figure(runs[0]).axes[0].texts}
    genome = saved_genome(runs[0], runs[0].front.sort_values(["mse", "circuit_pj"])["id"].iloc[0])
    assert {f"y{i}" for i in range(genome.grid.n_outputs)} <= texts


def test_runs_of_other_problems_are_refused(runs, tmp_path, no_plots):
    from problems.threshold import Threshold

    run = minimize(Threshold(epochs=1), "random", n_gen=1, pop_size=3, out=tmp_path)
    with pytest.raises(UsageError, match=r"no run of problems/cgp\.py"):
        write_plots([run], tmp_path / "figures")
