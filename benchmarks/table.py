"""A report of `edgebind bench` for the terminal."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from edgebind.text_table import aligned

Report = Mapping[str, Any]
Result = Mapping[str, Any]

COLUMNS: dict[str, Callable[[Result], float | None]] = {
    "build s": lambda row: row.get("build_s"),
    "load ms": lambda row: row["load_ms"],
    "first ms": lambda row: row.get("first_ms"),
    "gpu ms": lambda row: row.get("device_ms"),
    "cpu ms": lambda row: row["cpu_ms"],
    "p50 ms": lambda row: row["p50_ms"],
    "p90 ms": lambda row: row["p90_ms"],
    "p99 ms": lambda row: row["p99_ms"],
    "p99.9 ms": lambda row: row["p999_ms"],
    "windows/s": lambda row: row["windows_per_second"],
    "ratio": lambda row: row["ratio"],
    "mJ/window": lambda row: row.get("energy", {}).get("mj_per_embedding"),
    "of peak %": lambda row: row.get("roofline", {}).get("of_peak_percent"),
}
"""Title -> its number in a result; a column without any number is left out."""
COLD = {
    "start to first ms": "start_to_first_ms",
    "host MB": "rss_mb",
    "at most MB": "peak_mb",
    "GPU MB": "device_mb",
}
UNSTEADY = 0.05


def names(report: Report) -> dict[tuple[str, str], str]:
    """(bundle, backend) -> the shortest name that tells it from the others."""
    pairs = list(dict.fromkeys((row["bundle"], row["backend"]) for row in report["results"]))
    bundles, backends = list(dict.fromkeys(p[0] for p in pairs)), {p[1] for p in pairs}
    stems = [Path(bundle).name for bundle in bundles]
    short = {bundle: stem if stems.count(stem) == 1 else bundle for bundle, stem in zip(bundles, stems, strict=True)}
    return {pair: short[pair[0]] if len(backends) == 1 else f"{short[pair[0]]} {pair[1]}" for pair in pairs}


def to_text(report: Report) -> str:
    """The whole report, as `edgebind bench` prints it."""
    rows, streams = report["results"], report["options"]["streams"]
    backends = ", ".join(dict.fromkeys(row["backend"] for row in rows))
    callers = f", {streams} callers at once" if streams > 1 else ""
    head = f"{report['machine']['cpu']}, {backends}{callers}"
    blocks = [head, *aligned(list(itertools.chain.from_iterable(races(report))))]
    fresh = cold(report)
    parts = ["\n".join(blocks), "\n".join(aligned(fresh) if fresh else []), "\n".join(notes(report))]
    return "\n\n".join(part for part in parts if part)


def races(report: Report) -> list[list[list[str]]]:
    """A table for each batch size, its head first."""
    named, rows = names(report), report["results"]
    columns = {title: read for title, read in COLUMNS.items() if any(read(row) is not None for row in rows)}
    tables = []
    for batch, race in itertools.groupby(rows, key=lambda row: row["batch"]):
        lines = [[_name(named, row), *(_number(read(row)) for read in columns.values())] for row in race]
        tables.append([[f"batch {batch}", *columns], *lines])
    return tables


def cold(report: Report) -> list[list[str]]:
    """Fresh processes: what the first embedding and the memory cost. Its head first; nothing if none was started."""
    rows = [row for row in report["results"] if "cold" in row]
    if not rows:
        return []
    named = names(report)
    columns = {title: key for title, key in COLD.items() if any(row["cold"].get(key) is not None for row in rows)}
    lines = [[_name(named, row), *(_number(row["cold"].get(key)) for key in columns.values())] for row in rows]
    return [["a fresh process", *columns], *lines]


def _name(named: Mapping[tuple[str, str], str], row: Result) -> str:
    return named[row["bundle"], row["backend"]]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def notes(report: Report) -> list[str]:
    """What a reader must know beside the numbers."""
    return [
        *_roof(report),
        *_over_device(report),
        *_unsteady(report),
        *_held_back(report),
        *_missing(report),
    ]


def _roof(report: Report) -> Iterator[str]:
    named = names(report)
    for row in report["results"]:
        roof = row.get("roofline", {})
        if "bound_by" in roof:
            yield (
                f"{_name(named, row)}, batch {row['batch']}: {roof['gmac_per_window']:.3f} GMAC a window, "
                f"{roof['intensity']:.0f} operations a byte; {roof['gops']:.1f} of {roof['attainable_gops']:.1f} Gop/s "
                f"within reach ({roof['of_attainable_percent']:.0f} %, bound by {roof['bound_by']}){_by_processor(roof)}"
            )


def _by_processor(roof: Mapping[str, Any]) -> str:
    share = roof.get("of_peak_by_processor_percent")
    return "" if share is None else f"; by the processor's time {share:.0f} % of the arithmetic limit"


def _over_device(report: Report) -> Iterator[str]:
    named = names(report)
    for row in report["results"]:
        if row.get("device_ms"):
            times = row["p50_ms"] / row["device_ms"]
            yield f"{_name(named, row)}, batch {row['batch']}: a call takes {times:.2f} times what the GPU itself is busy"


def _unsteady(report: Report) -> Iterator[str]:
    named = names(report)
    for row in report["results"]:
        if abs(row.get("drift", 1.0) - 1) > UNSTEADY:
            name = _name(named, row)
            yield f"note: not steady: {name}, batch {row['batch']}, ended at {row['drift']:.2f} times its first third"


def _held_back(report: Report) -> Iterator[str]:
    named = names(report)
    for name, count in report["machine"].get("held_back", {}).items():
        yield f"note: the machine was held back meanwhile: {name}, {count} times"
    for row in report["results"]:
        reasons = row.get("energy", {}).get("throttled", [])
        if reasons:
            yield f"note: the GPU was held back: {_name(named, row)}, batch {row['batch']}: {', '.join(reasons)}"


def _missing(report: Report) -> Iterator[str]:
    for what, why in report["not_measured"].items():
        yield f"no {what}: {why}"
