"""What `edgebind compare` found as one page that works offline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from html import escape
from pathlib import Path

from edgebind import __version__, drawing
from edgebind.calibration.report import pictures
from edgebind.calibration.report.compare import Compared, Worst
from edgebind.calibration.report.layers import Departure, Depth
from edgebind.page import document, figure, listing

ROWS = 20
"""Tensors in the table."""


def write(path: Path, found: Compared) -> None:
    """Draw a comparison.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    StorageError: the disk is full or cannot be written.
    """
    drawing.write(path, partial(to_html, found))


def to_html(found: Compared) -> str:
    """The whole page; called within `drawing.style()`."""
    sides = [["A", found.a, found.runtimes[0]], ["B", found.b, found.runtimes[1]]]
    least = found.comparison.cosine_min
    parts = [
        "<h1>Two encoders on the same windows</h1>",
        f'<p class="soft">edgebind {escape(__version__)}</p>',
        listing(("", "encoder", "runs on"), sides, wraps=False),
        f"<p>{escape(str(found.comparison))}, least {least:.5f}, on {found.comparison.windows} windows</p>",
        figure(drawing.svg(pictures.cosines({"B": found.cosines}), "cosines"), "How far the vectors are apart"),
        *_depth(found),
        "<h2>The worst windows</h2>",
        worst(found.worst),
        "<h2>Recordings</h2>",
        listing(
            ("recording", "windows", "cosine mean", "least"),
            [(name, str(n), f"{mean:.5f}", f"{low:.5f}") for name, (n, mean, low) in found.by_recording.items()],
            wraps=False,
        ),
    ]
    return document(f"{found.a} and {found.b}", parts)


def worst(windows: Sequence[Worst]) -> str:
    """Windows as their encoder reads them, with where they are from."""
    drawn = []
    for place, one in enumerate(windows):
        at = "" if one.start_s is None else f" at {one.start_s:g} s"
        caption = f"{one.cosine:.5f}, {one.recording}{at}"
        picture = pictures.window(one.inputs)
        drawn.append(figure("" if picture is None else drawing.svg(picture, f"worst {place}"), caption))
    return f'<div class="cards">{"".join(drawn)}</div>'


def _depth(found: Compared) -> Iterator[str]:
    yield "<h2>Layer by layer</h2>"
    of = found.depth
    if of is None:
        yield f'<p class="note">Not compared: {escape(found.why_no_depth)}</p>'
        return
    yield f"<p>{escape(_told(of))}</p>"
    yield figure(drawing.svg(pictures.depth(of), "depth"), f"Error along the graph, on {of.windows} windows", "glance")
    growing = [tensor for tensor in of.tensors if tensor.error > tensor.inherited]
    rows = sorted(growing, key=lambda tensor: tensor.inherited - tensor.error)[:ROWS]
    heads = ("layer", "tensor", "operator", "relative error", "of what it reads", "cosine")
    yield "<p>Where the error grows most:</p>" + listing(heads, map(_row, rows), wraps=False)


def _told(of: Depth) -> str:
    if of.first is None:
        return f"No layer departs: {of.why_none_departs}."
    first = of.first
    return f"First departs {first.layer} ({first.op}, tensor {first.tensor}): relative error {first.error:.3g}, threshold {of.threshold:g}."


def _row(of: Departure) -> tuple[str, ...]:
    return of.layer, of.tensor, of.op, f"{of.error:.3g}", f"{of.inherited:.3g}", f"{of.cosine:.5f}"
