"""What an evaluation found, as plain data and as one table with the encoders side by side.

    report.json    everything, to be read by programs and to be drawn again
    rows           subject, task, metric | items, chance | one cell an encoder | what the literature reports

The table in the terminal and the one in report.html are made of the same rows.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgebind import __version__, atomic, utf8
from edgebind.benchmarks import machine
from edgebind.evaluate.results import Context, Result, Source
from edgebind.preprocess.videos import PUBLISHED
from edgebind.text_table import aligned

FORMAT = "edgebind-evaluation/1"
FILE = "report.json"

TITLES = {
    "top1": "top-1",
    "top5": "top-5",
    "balanced": "balanced accuracy",
    "map": "mAP",
    "recall@1": "R@1",
    "recall@5": "R@5",
    "recall@10": "R@10",
    "nearer": "pairs nearer than random pairs",
    "cosine": "mean cosine",
    "p": "p",
}
"""Metric -> how people call it; others are called what they are."""
DECIMALS = {"median rank": 0, "cosine": 3, "p": 3}
"""Of metrics that are no percentages."""
SAME = "same as first"
LITERATURE = {"random": "random", "text_paired": "text-paired", "imagebind": "ImageBind", "supervised": "supervised"}
"""Field of `Published` -> title of its column."""

Report = dict[str, Any]


def to_dict(
    context: Context, sources: Sequence[Source], results: Sequence[Result], words: Mapping[str, str | None]
) -> Report:
    """All of it, as report.json has it; `words` says which files the words come from that classes were called by."""
    return {
        "format": FORMAT,
        "edgebind": __version__,
        "machine": machine.describe(),
        "options": {**asdict(context.options), "video": asdict(context.panel.where.video), **words},
        "encoders": [
            {
                "name": one.name,
                "model": utf8.shown(str(path)),
                **{key: getattr(one, key) for key in ("space", "modality", "dim", "precision", "runtime", "digest")},
            }
            for one, path in context.panel.used
        ],
        "datasets": [{"spec": one.spec, "name": one.dataset.name, "notes": one.dataset.notes} for one in sources],
        "results": [asdict(result) for result in results],
        "left_out": context.left_out,
    }


def write(path: Path, report: Report) -> None:
    """Write report.json, whole or not at all."""
    atomic.write_json(path, report)


# --- rows -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """One metric of one question, all encoders side by side."""

    subject: str
    task: str
    """With the metric that its numbers are of, where the titles do not say it."""
    title: str
    """Of the metric."""
    items: str
    chance: str
    cells: Mapping[str, str]
    """Encoder -> its number; encoders that were not asked are absent."""
    published: Mapping[str, str]
    """Column of the literature -> its number."""
    is_headline: bool
    best: tuple[str, ...]
    """Encoders with the best number, where there are several to compare."""


def encoders_of(report: Report) -> list[str]:
    """Columns: every encoder, or two together, that has a result."""
    return list(dict.fromkeys(result["encoder"] for result in report["results"]))


def questions_of(report: Report) -> list[list[Mapping[str, Any]]]:
    """Results of the same subject and task, together, in the order in which they came up; tasks of a subject follow each other."""
    subjects = {result["subject"]: at for at, result in reversed(list(enumerate(report["results"])))}
    ordered = sorted(enumerate(report["results"]), key=lambda one: (subjects[one[1]["subject"]], one[0]))
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for _, result in ordered:
        found.setdefault((result["subject"], result["task"]), []).append(result)
    return list(found.values())


def rows_of(report: Report) -> list[Row]:
    """The whole table."""
    return list(itertools.chain.from_iterable(_rows(together) for together in questions_of(report)))


def _rows(together: Sequence[Mapping[str, Any]]) -> list[Row]:
    first = together[0]
    names = list(dict.fromkeys(name for result in together for name in result["metrics"]))
    if first["task"] != "few-shot":  # whose points stay in order
        names.sort(key=lambda name: name != first["headline"])
    rows = [_row(together, name, is_first=name == names[0]) for name in names]
    kept = _kept(together)
    return [*rows, kept] if kept else rows


def _row(together: Sequence[Mapping[str, Any]], name: str, *, is_first: bool) -> Row:
    first = together[0]
    having = {result["encoder"]: result for result in together if name in result["metrics"]}
    values = {encoder: result["metrics"][name] for encoder, result in having.items()}
    guessed = [result["chance"][name] for result in having.values() if name in result["chance"]]
    return Row(
        subject=first["subject"],
        task=task_of(first),
        title=title_of(name, first),
        items=" / ".join(dict.fromkeys(str(result["items"]) for result in together)) if is_first else "",
        chance=_span(guessed, name),
        cells={encoder: _number(values[encoder], name) + _spread(having[encoder], name) for encoder in having},
        published=_published(first, name),
        is_headline=name == first["headline"],
        best=() if name in (SAME, "p") else _best(values, name),
    )


def _span(values: Sequence[float], name: str) -> str:
    """One number, or from the least to the largest where encoders were asked about different items."""
    ends = dict.fromkeys(_number(end(values), name) for end in (min, max)) if values else {}
    return " to ".join(ends)


def task_of(result: Mapping[str, Any]) -> str:
    """A task, with the metric that its numbers are of where their titles do not say it."""
    metric = result["details"].get("metric")
    seeds = result["details"].get("seeds")
    counted = "" if not seeds else ", one draw" if len(seeds) == 1 else f", mean and spread of {len(seeds)} draws"
    return f"{result['task']}, {TITLES.get(metric, metric)}{counted}" if metric else str(result["task"])


def title_of(name: str, result: Mapping[str, Any]) -> str:
    """A metric's title in a table."""
    if result["task"] == "few-shot":
        return name.replace("1 shots", "1 shot") if name.startswith("1 ") else name
    if name == SAME:
        return f"same answer as {result['encoder']}"
    metric, space, rest = name.partition(" ")
    return TITLES.get(name) or f"{TITLES.get(metric, metric)}{space}{rest}"


def _kept(together: Sequence[Mapping[str, Any]]) -> Row | None:
    """What share of the first encoder's headline the others keep."""
    first, *others = together
    base = first["metrics"].get(first["headline"], 0)
    if not others or not base or first["task"] not in ("zero-shot", "retrieval", "fusion"):
        return None
    cells = {one["encoder"]: f"{100 * one['metrics'][first['headline']] / base:.1f}" for one in others}
    title = f"{title_of(first['headline'], first)} kept of {first['encoder']}'s"
    return Row(first["subject"], task_of(first), title, "", "", cells, {}, False, ())


def _number(value: float, name: str) -> str:
    return f"{value:.{DECIMALS[name]}f}" if name in DECIMALS else f"{100 * value:.1f}"


def _spread(result: Mapping[str, Any], name: str) -> str:
    """±, of the curve's point that `name` stands for; nothing of a single draw."""
    if len(result["details"].get("seeds", ())) < 2:
        return ""
    points = result["details"].get("points", ())
    return next((f" ±{100 * point['spread']:.1f}" for point in points if name == f"{point['shots']} shots"), "")


def _published(result: Mapping[str, Any], name: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in result["published"]:
        if one["metric"].partition(" ")[0] == name:
            found |= {title: _printed(one[field]) for field, title in LITERATURE.items() if one[field] is not None}
    return found


def _printed(percent: float) -> str:
    """A published number with the decimals it was published with: 0.25, 5.26, 97.0."""
    return f"{percent:.2f}".removesuffix("0")


def _best(values: Mapping[str, float], name: str) -> tuple[str, ...]:
    """Of what is shown: a difference that rounding hides is none."""
    shown = {encoder: float(_number(value, name)) for encoder, value in values.items()}
    if len(set(shown.values())) < 2:
        return ()
    best = (min if name == "median rank" else max)(shown.values())
    return tuple(encoder for encoder, value in shown.items() if value == best)


def warnings_of(report: Report) -> list[str]:
    """What would be wrong to read out of the numbers."""
    found = [f"{one['name']}: {one['notes']['training']}" for one in report["datasets"] if "training" in one["notes"]]
    limit = report["options"]["limit"]
    if limit is not None:
        counted = "one clip" if limit == 1 else f"{limit} clips"
        found.append(f"at most {counted} of each question: published numbers are of all of them")
    for what in ("prompts", "templates"):
        if report["options"].get(what):
            found.append(f"classes are called by the {what} of {report['options'][what]}")
    video = report["options"]["video"]
    if video != asdict(PUBLISHED) and any(one["modality"] == "vision" for one in report["encoders"]):
        shown = "videos are seen with --clips {clips} --frames {frames} --crops {crops}".format(**video)
        found.append(f"{shown}: published numbers are of {PUBLISHED.clips}, {PUBLISHED.frames} and {PUBLISHED.crops}")
    return found


# --- terminal ---------------------------------------------------------------------------------------------------------

WIDEST = 118
"""Characters; where names of encoders need more, the columns are lettered and a legend stands above."""


def as_text(report: Report) -> str:
    """The one table."""
    encoders, rows = encoders_of(report), rows_of(report)
    heads, legend = dict(zip(encoders, encoders, strict=True)), []
    if sum(max(len(name), 9) + 2 for name in encoders) > WIDEST - 60:
        heads = dict(zip(encoders, _letters(len(encoders)), strict=True))
        legend = [f"{letter}  {name}" for name, letter in heads.items()]
    literature = [title for title in LITERATURE.values() if any(title in row.published for row in rows)]
    table = [["", "items", "chance", *heads.values(), *literature]]
    for (subject, task), group in itertools.groupby(rows, key=lambda row: (row.subject, row.task)):
        table.append([f"{subject} · {task}"])
        table += [_cells(row, encoders, literature) for row in group]
    warned = [f"note: {line}" for line in warnings_of(report)]
    return "\n".join([*legend, *aligned(table), *warned, *(f"left out: {line}" for line in report["left_out"])])


def _letters(count: int) -> list[str]:
    return [chr(ord("A") + at) if at < 26 else f"A{at - 25}" for at in range(count)]


def _cells(row: Row, encoders: Iterable[str], literature: Iterable[str]) -> list[str]:
    numbers = [row.cells.get(encoder, "") for encoder in encoders]
    return [f"  {row.title}", row.items, row.chance, *numbers, *(row.published.get(title, "") for title in literature)]
