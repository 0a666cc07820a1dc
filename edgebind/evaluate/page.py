"""report.html: a report as one page that needs nothing else, no network, no script; for light and dark screens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import atomic, drawing
from edgebind.evaluate import plots
from edgebind.evaluate.report import (
    DECIMALS,
    LITERATURE,
    Report,
    Row,
    encoders_of,
    questions_of,
    rows_of,
    task_of,
    warnings_of,
)
from edgebind.evaluate.retrieval import DEPTHS
from edgebind.page import document, figure, listing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE, PLOT = "report.html", "plot.png"


def write(folder: Path, report: Report) -> None:
    """Draw a report: report.html, and plot.png with the one plot.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    StorageError: the disk is full or cannot be written.
    """
    with drawing.style():
        page, picture = to_html(report), drawing.png(plots.summary(report))
    atomic.write_text(folder / FILE, page)
    with atomic.file(folder / PLOT) as scratch:
        scratch.write_bytes(picture)


def to_html(report: Report) -> str:
    """The whole page; called within `drawing.style()`."""
    names = ", ".join(dict.fromkeys(one["name"] for one in report["datasets"]))
    title = f"Encoders side by side: {', '.join(encoders_of(report))}"
    parts = [
        "<h1>Encoders side by side</h1>",
        f'<p class="soft">On {escape(names)}; edgebind {escape(report["edgebind"])}, {escape(str(report["machine"]["cpu"]))}</p>',
        *(f'<p class="note">{escape(line)}</p>' for line in warnings_of(report)),
        figure(drawing.svg(plots.summary(report), "summary"), "Everything at a glance", "glance"),
        f'<h2>Side by side</h2><div class="wide">{_table(report)}</div>',
        '<p class="soft">Percent, but for ranks, cosines and p. Coloured: the best of several encoders.</p>',
        *_questions(report),
        *_about(report),
    ]
    return document(title, parts)


# --- the table --------------------------------------------------------------------------------------------------------


def _table(report: Report) -> str:
    encoders, rows = encoders_of(report), rows_of(report)
    literature = [title for title in LITERATURE.values() if any(title in row.published for row in rows)]
    heads = ["", "items", "chance", *encoders, *literature]
    lines = ["".join(f"<th>{escape(head)}</th>" for head in heads)]
    for (subject, task), group in itertools.groupby(rows, key=lambda row: (row.subject, row.task)):
        about = f'{escape(subject)} <span class="soft">{escape(task)}</span>'
        lines.append(f'</tr><tr class="question"><td colspan="{len(heads)}">{about}</td>')
        lines += [_line(row, encoders, literature) for row in group]
    return "<table><tr>" + "</tr>\n<tr>".join(lines) + "</tr></table>"


def _line(row: Row, encoders: Sequence[str], literature: Sequence[str]) -> str:
    numbers = [_cell(row.cells.get(name, ""), _classes(row, name)) for name in encoders]
    published = [_cell(row.published.get(title, ""), "soft") for title in literature]
    return "".join([_cell(row.title, ""), _cell(row.items, "soft"), _cell(row.chance, "soft"), *numbers, *published])


def _classes(row: Row, encoder: str) -> str:
    return " ".join(["headline"] * row.is_headline + ["best"] * (encoder in row.best))


def _cell(text: str, classes: str) -> str:
    return f'<td class="{classes}">{escape(text)}</td>' if classes else f"<td>{escape(text)}</td>"


# --- question by question ---------------------------------------------------------------------------------------------


def _questions(report: Report) -> Iterator[str]:
    by_name: dict[str, list[list[Mapping[str, Any]]]] = {}
    for together in questions_of(report):
        by_name.setdefault(together[0]["subject"].partition(": ")[0], []).append(together)
    for name, questions in by_name.items():
        figures = [one for together in questions for one in _pictures(report, together)]
        if figures:
            yield f'<h2>{escape(name)}</h2><div class="cards">{"".join(figures)}</div>'


def _pictures(report: Report, together: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """What explains the numbers of one question; nothing where there is no more to say."""
    first = together[0]
    drawn = _drawn(report, together)
    if drawn is not None:
        way = first["subject"].partition(": ")[2]
        about = (
            "zero-shot, what was named what"
            if first["task"] == "zero-shot"
            else ", ".join(task_of(first).split(", ")[:2])
        )
        caption = f"{way}, {about}" if way else about
        yield figure(drawing.svg(drawn, f"{first['subject']} {first['task']}"), caption)


def _drawn(report: Report, together: Sequence[Mapping[str, Any]]) -> Figure | None:
    first = together[0]
    if first["task"] == "zero-shot":
        return plots.confusions(together)
    if first["task"] == "few-shot":
        prompts = [one for one in report["results"] if (one["subject"], one["task"]) == (first["subject"], "zero-shot")]
        return plots.few_shot_curves(report, together, prompts)
    if first["task"] == "retrieval":
        return plots.bars(report, together, [f"recall@{depth}" for depth in DEPTHS])
    if first["task"] == "fusion":
        return plots.bars(report, together, [name for name in first["metrics"] if name.startswith(first["headline"])])
    return plots.bars(report, together, [name for name in first["metrics"] if name not in DECIMALS])


# --- who and what -----------------------------------------------------------------------------------------------------


def _about(report: Report) -> Iterator[str]:
    columns = ("name", "model", "space", "modality", "dim", "precision", "runtime")
    yield "<h2>Encoders</h2>" + listing(columns, [[str(one[key]) for key in columns] for one in report["encoders"]])
    notes = [
        [one["name"], one["spec"], "; ".join(f"{key}: {value}" for key, value in one["notes"].items())]
        for one in report["datasets"]
    ]
    yield "<h2>Data sets</h2>" + listing(("name", "given as", "notes"), notes)
    if report["left_out"]:
        lines = "".join(f"<li>{escape(line)}</li>" for line in report["left_out"])
        yield f"<h2>Left out</h2><ul>{lines}</ul>"
