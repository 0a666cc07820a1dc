"""The report of `edgebind bench` as one page that needs nothing else, no network, no script; for light and dark screens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from edgebind import drawing
from edgebind.benchmarks import pictures, table
from edgebind.page import document

Report = Mapping[str, Any]
TITLE = "Encoders against the clock"


def write(path: Path, report: Report) -> None:
    """Draw a report.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    StorageError: the disk is full or cannot be written.
    """
    drawing.write(path, partial(to_html, report))


def to_html(report: Report) -> str:
    """The whole page; called within `drawing.style()`."""
    machine, named = report["machine"], table.names(report)
    about = f"{machine['cpu']}, {machine['cpus']} processors; edgebind {report['edgebind']}"
    parts = [
        f"<h1>{TITLE}</h1>",
        f'<p class="soft">{escape(about)}</p>',
        *(f'<p class="note">{escape(line)}</p>' for line in table.notes(report)),
        f'<div class="cards">{"".join(_figures(report))}</div>',
        "<h2>Calls in turn</h2>",
        *(listing(lines) for lines in table.races(report)),
        *_fresh(report),
        *_roads(report),
        "<h2>The machine</h2>",
        listing([["", ""], *_described(machine)]),
    ]
    title = f"{TITLE}: {', '.join(named.values())}"
    return document(title, parts)


def _figures(report: Report) -> Iterator[str]:
    for caption, figure in pictures.of(report):
        yield f"<figure><figcaption>{escape(caption)}</figcaption>{drawing.svg(figure, caption)}</figure>"


def _fresh(report: Report) -> Iterator[str]:
    lines = table.cold(report)
    if lines:
        yield "<h2>A fresh process</h2>" + listing(lines)


def _roads(report: Report) -> Iterator[str]:
    measured = report.get("end_to_end", [])
    if measured:
        yield "<h2>From samples to labels</h2>"
    for one in measured:
        lines = [[f"{Path(one['bundle']).name}, batch {one['batch']}", "ms a window", "ratio"]]
        lines += [[row["name"], f"{row['ms_a_window']:.3f}", f"{row['ratio']:.2f}"] for row in one["results"]]
        yield listing(lines)


def listing(lines: Sequence[Sequence[str]]) -> str:
    """A table whose first line is its head."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in lines[0])
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>" for line in lines[1:])
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def _described(values: Mapping[str, Any], prefix: str = "") -> Iterator[list[str]]:
    """Nested data as lines of two cells."""
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _described(value, f"{prefix}{key} ")
        elif value not in (None, ""):
            yield [f"{prefix}{key}", str(value)]
