"""Tables and pictures of trade-offs."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from problems.lowrank.retraining.retraining_plot import (
    differences_table,
    draw_amounts,
    draw_trade_off,
    interval,
    results_table,
)


@pytest.fixture
def frame():
    rows = [
        {"parent": p, "method": "parent", "compensation": "none", "limited": "parameters", "budget": 1.0,
         "parameters": 1000, "macs": 9000, "accuracy": 0.9 + 0.01 * p}
        for p in range(3)
    ]  # fmt: skip
    for p in range(3):
        for budget, lost in ((0.5, 0.1), (0.2, 0.3)):
            for method, compensation, bonus in (("ALDS", "none", 0.0), ("ALDS", "refit", 0.05)):
                rows.append(
                    {"parent": p, "method": method, "compensation": compensation, "limited": "parameters",
                     "budget": budget, "parameters": 1000 * budget, "macs": 8000 * budget,
                     "accuracy": 0.9 + 0.01 * p - lost + bonus}
                )  # fmt: skip
    return pd.DataFrame(rows)


def test_table_has_means_with_intervals(frame):
    lines = results_table(frame, "parameters", (0.5, 0.2, 0.1)).splitlines()
    assert lines[0] == "| method | 50 % | 20 % | 10 % |"
    half = stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)
    assert lines[2].startswith(f"| parent | .910 ± .{round(1000 * half):03d} |")
    assert lines[3] == f"| ALDS | .810 ± .{round(1000 * half):03d} | .610 ± .{round(1000 * half):03d} | - |"
    assert lines[4].startswith("| ALDS + refit | .860 ±")
    assert results_table(frame, "macs", (0.5,)).count("\n") == 2, "no method was limited in multiply-adds"


def test_interval_of_few_values():
    assert interval(pd.Series([], dtype=float)) == "-" and interval(pd.Series([0.5])) == ".500"
    assert interval(pd.Series([1.0, 1.0])) == "1.000 ± .000"


def test_picture_shows_every_method(frame, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    path = draw_trade_off(frame, tmp_path / "new" / "trade-off.png", title="three parents")
    assert path.stat().st_size > 10_000
    (legend,) = figures[0].legends
    assert [t.get_text() for t in legend.get_texts()] == ["parent", "ALDS", "ALDS + refit"]
    left, right = figures[0].axes
    assert left.get_xlabel().startswith("parameters") and right.get_xlabel().startswith("multiply-adds")


def test_picture_of_amounts_has_a_panel_for_each_budget(frame, tmp_path, monkeypatch):
    import matplotlib.pyplot as plt

    figures = []
    monkeypatch.setattr(plt, "close", figures.append)
    rows = frame[frame["method"] == "ALDS"]
    longer = rows.assign(epochs=2.0, accuracy=rows["accuracy"] + 0.04)
    path = draw_amounts(pd.concat([rows.assign(epochs=0.0), longer]), tmp_path / "amounts.png")
    assert path.stat().st_size > 10_000
    assert [axis.get_title() for axis in figures[0].axes] == ["50 % of parameters", "20 % of parameters"]
    (container,) = figures[0].axes[1].containers
    y = container.lines[0].get_ydata()
    assert len(y) == 2 and y[1] - y[0] == pytest.approx(0.04)
    (legend,) = figures[0].legends
    assert [t.get_text() for t in legend.get_texts()] == ["ALDS"]


def test_differences_are_paired_by_parent(frame):
    pairs = [(("ALDS", "refit"), ("ALDS", "none")), (("ALDS", "none"), ("PCA", "none"))]
    lines = differences_table(frame, pairs, (0.5, 0.2, 0.1)).splitlines()
    assert len(lines) == 3, "nothing is known of PCA"
    assert lines[2] == "| parameters: ALDS + refit against ALDS | +.050 ± .000 | +.050 ± .000 | - |"
    back = differences_table(frame, [pairs[0][::-1]], (0.5,)).splitlines()[2]
    assert back == "| parameters: ALDS against ALDS + refit | -.050 ± .000 |"
