"""How plots of reports look, and how they get into a page. Needs matplotlib (extra: evaluate).

SVG for a page that may be light or dark: what is ink in the picture takes the colour of the page's text.
"""

from __future__ import annotations

import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import atomic, extras
from edgebind.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = ("#3b7dd8", "#e08a1e", "#2a9d74", "#c0569b", "#7a6fd0", "#b5762a", "#4aa3c0", "#d1495b")
"""Of the encoders, in their order; told apart by the colour-blind, and on light and dark ground alike."""
MARKS = ("o", "s", "^", "D", "v", "P", "X", "*")
INK, RULE = "#111213", "#8a8f98"
"""Stands for the page's own ink in an SVG; lines that may be faint on any ground."""


def is_there() -> bool:
    """Whether anything can be drawn."""
    return importlib.util.find_spec("matplotlib") is not None


def require() -> None:
    """Find out before hours of work, not after.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("matplotlib is not installed", remedy=extras.remedy("evaluate")) from error


@contextmanager
def style() -> Iterator[None]:
    """Everything is drawn inside of it.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    """
    require()
    import matplotlib

    inked: dict[Any, Any] = dict.fromkeys(
        ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color", "axes.titlecolor"), INK
    )
    look: dict[Any, Any] = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a class may be called "$5 bill"
        "font.family": "sans-serif",
        "font.size": 9.5,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": RULE,
        "grid.alpha": 0.3,
        "legend.frameon": False,
        "figure.constrained_layout.use": True,
    }
    with matplotlib.rc_context({**look, **inked}), warnings.catch_warnings():
        # A name in letters that the font lacks: the page has it as text, and a picture shows boxes.
        warnings.filterwarnings("ignore", r"Glyph .* missing from")
        yield


def write(path: Path, page: Callable[[], str]) -> None:
    """Write the page that `page` draws, whole or not at all.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    StorageError: the disk is full or cannot be written.
    """
    with style():
        text = page()
    atomic.write_text(path, text)


def svg(figure: Figure, name: str) -> str:
    """A figure as an element of a page; `name` keeps its ids apart from those of other figures."""
    import matplotlib

    stream = io.StringIO()
    _label_without_formulae(figure)
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = stream.getvalue()
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S).replace(
        INK, "currentColor"
    )


def png(figure: Figure) -> bytes:
    """A figure on white, for slides and issues."""
    stream = io.BytesIO()
    _label_without_formulae(figure)
    figure.savefig(stream, format="png", dpi=160, facecolor="white")
    return stream.getvalue()


def _label_without_formulae(figure: Figure) -> None:
    """Logarithmic axes say 1e-03: what matplotlib writes there by itself is a formula, and no text here is one, see `style`."""
    from matplotlib.scale import LogTransform
    from matplotlib.ticker import LogFormatter, LogFormatterMathtext

    for axis in (axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)):
        transform = axis.get_transform()
        if not isinstance(transform, LogTransform):
            continue
        if isinstance(axis.get_major_formatter(), LogFormatterMathtext):
            axis.set_major_formatter(LogFormatter(transform.base))
        if isinstance(axis.get_minor_formatter(), LogFormatterMathtext):
            axis.set_minor_formatter(LogFormatter(transform.base))


def blank(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure of so many inches and its axes; without pyplot, which keeps every figure it makes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, columns, squeeze=False)
    return figure, list(axes[0])
