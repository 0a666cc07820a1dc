"""`report.html` of a bundle: what its `report.json` says, with plots. Works offline, and takes no more room than it must."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from edgebind import __version__, drawing
from edgebind.calibration.report import compare_page, pictures
from edgebind.calibration.report.evidence import Evidence
from edgebind.manifest import Manifest
from edgebind.page import document, figure, listing

FILE = "report.html"
MOST_ROWS = 40

Report = Mapping[str, Any]


def to_html(description: Manifest, report: Report, evidence: Evidence) -> str:
    """The whole page; called within `drawing.style()`."""
    title = f"{description.modality}, {description.precision}, space {description.space}"
    numbers = [(key, _said(value)) for key, value in description.gate.items() if not isinstance(value, (list, dict))]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="soft">How far this encoder is from FP32; edgebind {escape(__version__)}</p>',
        listing(("gate", ""), numbers, wraps=False),
        *_graphs(report),
        *_vectors(report, evidence),
        *_layers(report, evidence),
        *_clips(evidence),
        *_tried(report),
        *_recordings(report),
    ]
    return document(f"edgebind report: {title}", parts)


def _graphs(report: Report) -> Iterator[str]:
    graphs = report.get("graphs", {})
    if graphs:
        keys = list(next(iter(graphs.values())))
        lines = [(name, *(_said(of.get(key)) for key in keys)) for name, of in graphs.items()]
        yield "<h2>Graphs</h2>" + listing(("graph", *keys), lines, wraps=False)
    if "macs" in report:
        macs, speed = report["macs"], report["speed"]
        told = (
            f"{macs['int8_share']:.1%} of {macs['window'] / 1e6:.1f} million multiply-accumulates a window are INT8. "
            f"{speed['graph']} takes {speed['ratio']:.2f} times as long as FP32 on {speed['cpu']} "
            f"({speed['candidate_ms']:.3g} ms a window)."
        )
        yield f"<p>{escape(told)}</p>"


def _vectors(report: Report, evidence: Evidence) -> Iterator[str]:
    windows = len(next(iter(evidence.cosines.values())))
    some = f"{windows} of {evidence.of}" if windows < evidence.of else str(windows)
    bars = report.get("bars", {})
    lines = {"bar, mean": bars.get("cosine_mean", 1.0), "bar, p1": bars.get("cosine_p1", 1.0)}
    drawn = drawing.svg(pictures.cosines(evidence.cosines, lines), "cosines")
    yield f"<h2>Vectors</h2>{figure(drawn, f'Cosine to FP32 of {some} windows that were not used to calibrate')}"
    yield from _labels(evidence)
    yield f"<h3>The worst windows</h3>{compare_page.worst(evidence.worst)}"


def _labels(evidence: Evidence) -> Iterator[str]:
    graph, cosines = next(iter(evidence.cosines.items()))
    changed = evidence.relabelled
    if changed is None:
        return
    yield "<h3>Labels that changed</h3>"
    share = 1 - len(changed) / len(cosines)
    yield f"<p>{escape(graph)} gives {share:.2%} of these {len(cosines)} windows the label that FP32 gives them.</p>"
    if changed:
        heads = ("recording", "second", "cosine", "FP32", "now")
        rows = [(of.recording, _said(of.start_s), f"{of.cosine:.5f}", of.was, of.now) for of in changed[:MOST_ROWS]]
        yield listing(heads, rows, wraps=False)


def _layers(report: Report, evidence: Evidence) -> Iterator[str]:
    yield "<h2>Layers</h2>"
    layers = report.get("layers", {})
    kept = [one["layer"] for one in layers.get("float", [])]
    if layers:
        told = ", ".join(kept) if kept else "none"
        yield f"<p>{layers['quantised']} layers in INT8. In float: {escape(told)}.</p>"
    if layers.get("damage"):
        drawn = pictures.bars(layers["damage"], "1 - mean cosine when it alone is INT8 (orange: in float)", kept)
        yield figure(drawing.svg(drawn, "damage"), "What each layer costs")
    if evidence.depth is not None:
        drawn = pictures.depth(evidence.depth)
        caption = f"Error along the graph, on the {evidence.depth.windows} worst windows"
        yield figure(drawing.svg(drawn, "depth"), caption, "glance")
    else:
        yield '<p class="soft">Too large to compare every tensor unasked: see edgebind compare.</p>'
    hazards = report.get("kept_in_float32", [])
    if hazards:
        yield "<h3>What half cannot hold</h3>" + _table(hazards)


def _clips(evidence: Evidence) -> Iterator[str]:
    if not evidence.clips:
        return
    drawn = [
        figure(
            drawing.svg(pictures.clips(one.counts, one.limit, one.chosen, one.others), f"clip {place}"),
            f"{one.tensor}: {one.sqnr_db:.1f} dB above its quantisation noise",
        )
        for place, one in enumerate(evidence.clips)
    ]
    yield "<h2>Ranges</h2><p>The tensors that 8 bits blur most, and where each observer would have cut them off, on the windows drawn here.</p>"
    yield f'<div class="cards">{"".join(drawn)}</div>'


def _tried(report: Report) -> Iterator[str]:
    if "observer" in report:
        of = report["observer"]
        lines = [(name, _said(value)) for name, value in of["cosine_on_calibration"].items()]
        yield f"<h2>Tried</h2><p>Chosen: {escape(str(of['chosen']))} ranges.</p>"
        yield listing(("observer or scaling", "mean cosine on calibration windows"), lines, wraps=False)
    if report.get("transforms"):
        yield "<h3>Transforms and their gains</h3>" + _table(report["transforms"])


def _recordings(report: Report) -> Iterator[str]:
    parts = report.get("recordings", {})
    if parts:
        lines = [(part, name, str(windows)) for part, of in parts.items() for name, windows in of.items()]
        shown = lines[:MOST_ROWS]
        yield "<h2>Recordings</h2>" + listing(("for", "recording", "windows"), shown, wraps=False)
        if len(lines) > len(shown):
            yield f'<p class="soft">and {len(lines) - len(shown)} more, see report.json</p>'


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows of plain values; keys are the heads."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = [[_said(row.get(key)) for key in keys] for row in rows[:MOST_ROWS]]
    return listing(keys, lines, wraps=False)


def _said(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_said(one)}" for key, one in value.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.6g}" if isinstance(value, float) else str(value)
