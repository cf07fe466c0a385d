"""Fixtures for the tests of the program's core."""

from __future__ import annotations

import sys
import types

import pytest


@pytest.fixture
def no_plots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs without their pictures, which would take most of the time."""
    stand_in = types.ModuleType("opt.plots.run_pictures")
    stand_in.plot_runs = lambda runs, *, out=None: runs[0].path  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "opt.plots.run_pictures", stand_in)
