"""Picture of an evolved circuit from a saved run."""

from __future__ import annotations

from matplotlib.figure import Figure

from opt.run import Run


def circuit_figure(run: Run, solution: str) -> Figure:
    raise NotImplementedError
