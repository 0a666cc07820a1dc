"""Plots of a report of `edgebind bench`: how latency spreads, throughput against batch size, the roof, energy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebind.benchmarks import table
from edgebind.drawing import COLOURS, INK, MARKS, RULE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Report = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]


def of(report: Report) -> Iterator[tuple[str, Figure]]:
    """(caption, figure) of everything that was measured."""
    rows: Rows = report["results"]
    named = table.names(report)
    batches = sorted({row["batch"] for row in rows})
    for batch in batches[:1] if len(batches) > 1 else batches:
        yield f"What a call takes, batch {batch}", _spread([row for row in rows if row["batch"] == batch], named)
    if len(batches) > 1:
        yield "Throughput against batch size", _throughput(rows, named)
    roofed = [row for row in rows if "bound_by" in row.get("roofline", {})]
    for roof in dict.fromkeys(_roof(row) for row in roofed):
        under = [row for row in roofed if _roof(row) == roof]
        yield f"How near the roof, {under[0]['precision']}", _roofline(under, named)
    metered = [row for row in rows if "energy" in row]
    if metered:
        yield f"Energy a window, {metered[0]['energy']['covers']}", _energy(metered, named)


def _figure(height: float) -> tuple[Figure, Axes]:
    """Inches; without pyplot, which keeps every figure it makes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, height))
    FigureCanvasAgg(figure)
    return figure, figure.subplots()


def _looks(named: Mapping[Any, str]) -> dict[str, dict[str, Any]]:
    """Contestant -> its colour and mark, the same in every picture."""
    return {
        name: {"color": COLOURS[at % len(COLOURS)], "marker": MARKS[at % len(MARKS)]}
        for at, name in enumerate(named.values())
    }


def _spread(rows: Rows, named: Mapping[Any, str]) -> Figure:
    """A line from the median to the 99th percentile, and marks for 90 % and 99.9 %."""
    figure, axes = _figure(1.2 + 0.4 * len(rows))
    for line, row in enumerate(rows):
        look = _looks(named)[_name(row, named)]
        axes.hlines(line, row["p50_ms"], row["p99_ms"], color=look["color"], linewidth=3)
        axes.scatter(row["p50_ms"], line, s=60, zorder=3, **look)
        axes.scatter([row["p90_ms"], row["p999_ms"]], [line] * 2, marker="|", s=90, color=look["color"])
    axes.set_yticks(range(len(rows)), [_name(row, named) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xscale("log")
    _plain(axes.xaxis)
    axes.set_xlabel("milliseconds: median, | 90 %, line to 99 %, | 99.9 %")
    axes.grid(axis="x")
    return figure


def _throughput(rows: Rows, named: Mapping[Any, str]) -> Figure:
    figure, axes = _figure(3.4)
    for name, mine in _by_contestant(rows, named):
        axes.plot(
            [row["batch"] for row in mine],
            [row["windows_per_second"] for row in mine],
            label=name,
            **_looks(named)[name],
        )
    batches = sorted({row["batch"] for row in rows})
    axes.set_xscale("log", base=2)
    axes.set_xticks(batches, [str(batch) for batch in batches])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("windows in a call")
    axes.set_ylabel("windows a second")
    axes.grid()
    axes.legend()
    return figure


def _roof(row: Mapping[str, Any]) -> tuple[float, float]:
    return row["roofline"]["peak_gops"], row["roofline"]["bandwidth_gbs"]


def _roofline(rows: Rows, named: Mapping[Any, str]) -> Figure:
    """Williams, Waterman and Patterson 2009: attainable work against the work that a byte of traffic brings."""
    figure, axes = _figure(3.6)
    peak, bandwidth = _roof(rows[0])
    reach = [row["roofline"]["intensity"] for row in rows] + [peak / bandwidth]
    span = np.array(
        [min(reach) / 4, peak / bandwidth, max(reach) * 4]
    )  # straight lines, where both axes are logarithms
    axes.plot(span, np.minimum(peak, span * bandwidth), color=INK, linewidth=1.5)
    for name, mine in _by_contestant(rows, named):
        found = [(row["roofline"]["intensity"], row["roofline"]["gops"]) for row in mine]
        axes.plot(*zip(*found, strict=True), label=name, linestyle=":", **_looks(named)[name])
    axes.annotate(f"{peak:.0f} Gop/s", (span[-1], peak), ha="right", va="bottom", color=INK)
    axes.axvline(peak / bandwidth, color=RULE, linewidth=0.8, linestyle="--")
    axes.set_xscale("log")
    axes.set_yscale("log")
    _plain(axes.yaxis)
    axes.set_xlabel("operations a byte of the least traffic")
    axes.set_ylabel("Gop/s")
    axes.grid()
    axes.legend()
    return figure


def _energy(rows: Rows, named: Mapping[Any, str]) -> Figure:
    figure, axes = _figure(1.0 + 0.4 * len(rows))
    labels = [f"{_name(row, named)}, batch {row['batch']}" for row in rows]
    drawn = axes.barh(labels, [row["energy"]["mj_per_embedding"] for row in rows], color=COLOURS[0])
    axes.bar_label(drawn, fmt="%.2f", padding=2)
    axes.invert_yaxis()
    axes.set_xlabel("millijoules a window")
    return figure


def _by_contestant(rows: Rows, named: Mapping[Any, str]) -> Iterator[tuple[str, Rows]]:
    for name in dict.fromkeys(_name(row, named) for row in rows):
        yield name, sorted((row for row in rows if _name(row, named) == name), key=lambda row: int(row["batch"]))


def _name(row: Mapping[str, Any], named: Mapping[Any, str]) -> str:
    return named[row["bundle"], row["backend"]]


def _plain(axis: Any) -> None:
    """Numbers without powers of ten."""
    from matplotlib.ticker import LogLocator, ScalarFormatter

    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(ScalarFormatter())
    axis.set_minor_formatter("")
