"""A finished figure as the bytes of a picture; names in it are drawn letter by letter, whatever they hold."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import Any

from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogFormatter, ScalarFormatter

from opt.console.terminal import printable


def rendered(figure: Figure, *, kind: str = "png", dpi: int, metadata: dict[str, Any] | None = None) -> bytes:
    """Draw a figure.

    A user's names, paths and parameters may hold what matplotlib takes for a formula, such as two dollar signs:
    they are drawn as they are. A letter that the font lacks becomes a box, without a warning for each; what no
    font can draw, such as half a character, is written escaped.

    Args:
        figure: What to draw; its texts are changed.
        kind: A format that matplotlib writes.
        dpi: Dots an inch.
        metadata: As `Figure.savefig` takes it.
    """
    without_formulas(figure)
    _make_printable(figure)
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format=kind, dpi=dpi, metadata=metadata)
    return buffer.getvalue()


def without_formulas(figure: Figure) -> None:
    """Let every text in a figure be drawn as it is; ticks' numbers alone may be formulas, which matplotlib makes."""
    numbers = {
        id(text)
        for axis in figure.findobj(Axis)
        if isinstance(axis.get_major_formatter(), (LogFormatter, ScalarFormatter))
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for text in (tick.label1, tick.label2)
    }
    for text in figure.findobj(Text):
        if id(text) not in numbers:
            text.set_parse_math(False)


def _make_printable(figure: Figure) -> None:
    for axis in figure.findobj(Axis):
        assert isinstance(axis, Axis)
        formatter = axis.get_major_formatter()
        if isinstance(formatter, FuncFormatter):  # also what names given for ticks become
            formatter.func = _printable_answers(formatter.func)
    for text in figure.findobj(Text):
        assert isinstance(text, Text)
        if (shown := printable(text.get_text())) != text.get_text():
            text.set_text(shown)


def _printable_answers(write: Callable[..., str]) -> Callable[..., str]:
    return lambda *given: printable(write(*given))
