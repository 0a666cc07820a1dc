"""report.html: a report as one page that needs nothing else, no network, no script; for light and dark screens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import atomic
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

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE, PLOT = "report.html", "plot.png"

STYLE = """
:root { color-scheme: light dark; --ground: #fbfbfa; --ink: #1b1d21; --soft: #5d636e; --line: #d9dbe0; --card: #ffffff; --best: #0f6b45; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #15171b; --ink: #e6e7ea; --soft: #a2a8b3; --line: #33373f; --card: #1c1f25; --best: #6fd3a4; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 78rem; padding: 2rem 1.25rem 4rem; background: var(--ground); color: var(--ink);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.6rem 0 .6rem; } h3 { font-size: 1rem; margin: 0 0 .4rem; }
p { margin: .3rem 0; } .soft { color: var(--soft); }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .9rem; }
th, td { padding: .28rem .55rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--line); }
th { color: var(--soft); font-weight: 600; } th:first-child, td:first-child, .left { text-align: left; }
td:first-child, th:first-child { position: sticky; left: 0; background: var(--ground); }
tr.question td { padding-top: .9rem; font-weight: 600; } td.headline { font-weight: 600; } td.best { color: var(--best); }
td.wrap { white-space: normal; min-width: 14rem; }
.cards { display: flex; flex-wrap: wrap; gap: 1rem; align-items: flex-start; }
.note { border-left: 3px solid #d9822b; padding-left: .6rem; }
figure { margin: 0; padding: .9rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: .5rem; max-width: 100%; }
figure svg { display: block; max-width: 100%; height: auto; color: var(--ink); } figcaption { font-weight: 600; margin-bottom: .5rem; }
figure.glance { margin-top: 1rem; } figure.glance svg { width: 100%; }
svg text { font-family: inherit !important; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""


def write(folder: Path, report: Report) -> None:
    """Draw a report: report.html, and plot.png with the one plot.

    Raises
    ------
    MissingDependencyError: matplotlib is not installed.
    StorageError: the disk is full or cannot be written.
    """
    with plots.style():
        page, picture = to_html(report), plots.png(plots.summary(report))
    with atomic.file(folder / FILE) as scratch:
        scratch.write_text(page, encoding="utf-8")
    with atomic.file(folder / PLOT) as scratch:
        scratch.write_bytes(picture)


def to_html(report: Report) -> str:
    """The whole page; called within `plots.style()`."""
    names = ", ".join(dict.fromkeys(one["name"] for one in report["datasets"]))
    title = f"Encoders side by side: {', '.join(encoders_of(report))}"
    parts = [
        "<h1>Encoders side by side</h1>",
        f'<p class="soft">On {escape(names)}; edgebind {escape(report["edgebind"])}, {escape(str(report["machine"]["cpu"]))}</p>',
        *(f'<p class="note">{escape(line)}</p>' for line in warnings_of(report)),
        _figure(plots.svg(plots.summary(report), "summary"), "Everything at a glance", "glance"),
        f'<h2>Side by side</h2><div class="wide">{_table(report)}</div>',
        '<p class="soft">Percent, but for ranks, cosines and p. Coloured: the best of several encoders.</p>',
        *_questions(report),
        *_about(report),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    body = "\n".join(parts)
    return f'<!doctype html>\n<html lang="en"><head>{head}<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n{body}\n</body></html>\n'


def _figure(svg: str, caption: str, kind: str = "") -> str:
    return f"<figure class='{kind}'><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


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
    figure = _drawn(report, together)
    if figure is not None:
        way = first["subject"].partition(": ")[2]
        about = (
            "zero-shot, what was named what" if first["task"] == "zero-shot" else task_of(first).partition(", mean")[0]
        )
        caption = f"{way}, {about}" if way else about
        yield _figure(plots.svg(figure, f"{first['subject']} {first['task']}"), caption)


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
    yield "<h2>Encoders</h2>" + _listing(columns, [[str(one[key]) for key in columns] for one in report["encoders"]])
    notes = [
        [one["name"], one["spec"], "; ".join(f"{key}: {value}" for key, value in one["notes"].items())]
        for one in report["datasets"]
    ]
    yield "<h2>Data sets</h2>" + _listing(("name", "given as", "notes"), notes)
    if report["left_out"]:
        lines = "".join(f"<li>{escape(line)}</li>" for line in report["left_out"])
        yield f"<h2>Left out</h2><ul>{lines}</ul>"


def _listing(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th class="left">{escape(text)}</th>' for text in heads)
    body = "".join(
        "<tr>" + "".join(f'<td class="left wrap">{escape(cell)}</td>' for cell in line) + "</tr>" for line in lines
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'
