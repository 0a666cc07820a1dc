"""Pictures of a report: one plot with everything, and for each question what explains its number."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebind.drawing import COLOURS, INK, MARKS, RULE, blank
from edgebind.evaluate.report import Report, encoders_of, questions_of, title_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MANY = 14
"""Classes from which on a confusion matrix has no numbers in its cells."""
TOO_MANY = 60
"""Classes from which on it has no names beside it."""
PAPER_MARKS = {"imagebind": ("D", "ImageBind, published"), "supervised": ("*", "supervised, published")}

Result = Mapping[str, Any]


def _look(report: Report) -> dict[str, dict[str, Any]]:
    """Encoder -> its colour and mark, the same in every picture."""
    return {
        name: {"color": COLOURS[at % len(COLOURS)], "marker": MARKS[at % len(MARKS)]}
        for at, name in enumerate(encoders_of(report))
    }


# --- the one plot -----------------------------------------------------------------------------------------------------


def summary(report: Report) -> Figure:
    """Every question a line, every encoder a mark on it; what chance and the literature get stands beside."""
    questions, look = questions_of(report), _look(report)
    figure, (axes,) = blank(9.5, 1.3 + 0.36 * len(questions))
    named: dict[str, Any] = {}
    for line, together in enumerate(questions):
        first = together[0]
        metric = first["headline"]
        _reference_marks(axes, line, first, metric, named)
        for at, result in enumerate(together):
            nudge = 0.16 * (at - (len(together) - 1) / 2)
            named[result["encoder"]] = axes.scatter(
                100 * result["metrics"][metric], line + nudge, s=42, zorder=3, **look[result["encoder"]]
            )
    axes.set_yticks(range(len(questions)), [_line_title(together[0]) for together in questions])
    axes.set_ylim(len(questions) - 0.4, -0.6)
    axes.set_xlim(-1, 101)
    axes.set_xlabel("percent")
    axes.grid(axis="x")
    order = [name for name in look if name in named] + [name for name in named if name not in look]
    figure.legend([named[name] for name in order], order, loc="outside upper center", ncols=4)
    return figure


def _line_title(result: Result) -> str:
    about = f"{result['task']}, {title_of(result['headline'], result)}"
    between = ", " if len(result["subject"]) + len(about) < 50 else "\n"
    return f"{result['subject']}{between}{about}"


def _reference_marks(axes: Axes, line: int, result: Result, metric: str, named: dict[str, Any]) -> None:
    if metric in result["chance"]:
        at = 100 * result["chance"][metric]
        named["chance"] = axes.scatter(at, line, marker="|", s=160, color=RULE, zorder=2)
    for field, (mark, title) in PAPER_MARKS.items():
        value = _published(result, metric, field)
        if value is not None:
            named[title] = axes.scatter(value, line, marker=mark, s=46, facecolors="none", edgecolors=INK, zorder=2)


def _published(result: Result, metric: str, field: str) -> float | None:
    found = [one[field] for one in result["published"] if one["metric"].partition(" ")[0] == metric]
    return next((float(value) for value in found if value is not None), None)


# --- one question -----------------------------------------------------------------------------------------------------


def confusions(together: Sequence[Result]) -> Figure | None:
    """Confusion matrices of the encoders, side by side; rows are the truth and add up to one."""
    shown = [result for result in together if "confusion" in result["details"]][:4]
    if not shown:
        return None
    classes = shown[0]["details"]["classes"]
    side = min(5.2, 1.9 + 0.42 * len(classes)) if len(classes) < MANY else 5.2
    figure, all_axes = blank(side * len(shown) + (0.5 if len(classes) <= TOO_MANY else 0), side, len(shown))
    for axes, result in zip(all_axes, shown, strict=True):
        _confusion(axes, np.array(result["details"]["confusion"]), classes)
        axes.set_title(result["encoder"], fontsize=10)
    for axes in all_axes[1:]:
        axes.set_yticklabels([])
    all_axes[0].set_ylabel("truth")
    return figure


def _confusion(axes: Axes, counts: np.ndarray, classes: Sequence[str]) -> None:
    rows = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, rows, out=np.zeros(counts.shape), where=rows > 0)
    # Opacity carries the share, so that empty cells are the page's own ground.
    cells = np.zeros((*counts.shape, 4))
    cells[..., :3] = [int(COLOURS[0][at : at + 2], 16) / 255 for at in (1, 3, 5)]
    cells[..., 3] = np.sqrt(shares)
    axes.imshow(cells, interpolation="nearest")
    ticks = range(len(classes)) if len(classes) <= TOO_MANY else []
    names = [_short(name) for name in classes] if len(classes) <= TOO_MANY else []
    size = 9 if len(classes) < MANY else 6
    axes.set_xticks(ticks, names, rotation=40, ha="right", rotation_mode="anchor", fontsize=size)
    axes.set_yticks(ticks, names, fontsize=size)
    axes.set_xlabel("named")
    axes.tick_params(length=0)
    axes.spines[["left", "bottom"]].set_visible(False)
    if len(classes) < MANY:
        for row, column in np.argwhere(counts > 0):
            colour = "white" if shares[row, column] > 0.45 else INK
            axes.text(column, row, counts[row, column], ha="center", va="center", color=colour, fontsize=8.5)


def _short(name: str) -> str:
    return name.replace("_", " ") if len(name) <= 22 else f"{name[:20].replace('_', ' ')}…"


def few_shot_curves(report: Report, together: Sequence[Result], zero_shot: Sequence[Result]) -> Figure:
    """A probe's curve for each encoder, with the spread of its draws; dashed, what prompts alone get."""
    figure, (axes,) = blank(5.2, 3.4)
    look, lines = _look(report), {}
    for result in together:
        points = result["details"]["points"]
        shots, mean, spread = (np.array([point[key] for point in points]) for key in ("shots", "mean", "spread"))
        colour = look[result["encoder"]]["color"]
        (lines[result["encoder"]],) = axes.plot(shots, 100 * mean, **look[result["encoder"]])
        axes.fill_between(shots, 100 * (mean - spread), 100 * (mean + spread), color=colour, alpha=0.15, linewidth=0)
    metric = together[0]["details"]["metric"]
    for result in zero_shot:
        colour = look[result["encoder"]]["color"]
        axes.axhline(100 * result["metrics"][metric], linestyle="--", linewidth=1, color=colour)
    counts = sorted({point["shots"] for result in together for point in result["details"]["points"]})
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.set_xlabel(
        "examples of each class (dashed: zero-shot, no examples)" if zero_shot else "examples of each class"
    )
    axes.set_ylabel(f"{title_of(metric, {**together[0], 'task': ''})}, percent")
    axes.grid()
    axes.legend(list(lines.values()), list(lines))
    return figure


def bars(report: Report, together: Sequence[Result], names: Sequence[str]) -> Figure:
    """Metrics of one question as bars, encoders side by side, beside chance and what ImageBind's authors report."""
    figure, (axes,) = blank(5.2, 3.2)
    look, width = _look(report), 0.8 / len(together)
    named: dict[str, Any] = {}
    for at, result in enumerate(together):
        places = np.arange(len(names)) + width * (at - (len(together) - 1) / 2)
        heights = [100 * result["metrics"].get(name, np.nan) for name in names]
        drawn = axes.bar(places, heights, 0.92 * width, color=look[result["encoder"]]["color"])
        axes.bar_label(drawn, fmt="%.1f", fontsize=8, padding=2)
        named[result["encoder"]] = drawn
    for place, name in enumerate(names):
        _beside_bar(axes, place, together[0], name, named)
    axes.set_xticks(range(len(names)), [title_of(name, together[0]) for name in names])
    axes.set_ylabel("percent")
    figure.legend(named.values(), named.keys(), loc="outside upper left", ncols=4, fontsize=9)
    return figure


def _beside_bar(axes: Axes, place: float, result: Result, name: str, named: dict[str, Any]) -> None:
    if name in result["chance"]:
        at, span = 100 * result["chance"][name], (place - 0.45, place + 0.45)
        named["chance"] = axes.hlines(at, *span, color=RULE, linestyle="--", linewidth=1)
    value = _published(result, name, "imagebind")
    if value is not None:
        hollow: dict[str, Any] = {"marker": "D", "facecolors": "none", "edgecolors": INK, "zorder": 3}
        named[PAPER_MARKS["imagebind"][1]] = axes.scatter(place, value, **hollow)
