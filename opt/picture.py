"""A matplotlib figure as the bytes of a picture, whatever the names in it are made of."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter

from opt.terminal import printable


def encode(figure: Figure, kind: str, *, dpi: int, metadata: dict[str, Any] | None = None) -> bytes:
    """Draw a figure; what no font can draw, such as half a character, is written escaped.

    Args:
        figure: The figure; its texts are changed.
        kind: A format of matplotlib's, such as "png".
        dpi: Resolution.
        metadata: As `Figure.savefig` takes it.
    """
    for axes in figure.get_axes():
        for axis in (axes.xaxis, axes.yaxis):
            formatter = axis.get_major_formatter()
            if isinstance(formatter, FuncFormatter):  # also what names given for ticks become
                formatter.func = _printable_answers(formatter.func)
    for artist in figure.findobj(Text):
        assert isinstance(artist, Text)
        if (shown := printable(artist.get_text())) != artist.get_text():
            artist.set_text(shown)
    buffer = io.BytesIO()
    figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def _printable_answers(write: Callable[..., str]) -> Callable[..., str]:
    return lambda *given: printable(write(*given))
