"""What a bundle carries beside its graphs: `reference.npz` for the device, `report.html` for people."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from edgebind import bundle, drawing, reference, utf8
from edgebind.calibration import qdq, ranges
from edgebind.calibration import reference as learning
from edgebind.calibration.batches import Material
from edgebind.calibration.report import evidence, report_page
from edgebind.export.original import Original
from edgebind.manifest import Manifest

REPORT = "report.json"

Files = dict[str, Path | bytes]
"""Name in the bundle -> its bytes, or the file that holds them."""
Stage = Callable[[str], None]


def reference_file(original: Original, windows: Material, files: Files, folder: Path, stage: Stage) -> Files:
    """What the device compares its sensor with, learnt with the graph that is right on every CPU."""
    if not windows.calibration or not windows.held_out:
        return {}
    stage("what the sensor looks like")
    graph = files.get(qdq.U8U8.file, files[bundle.ENCODER])
    assert isinstance(graph, Path)
    learnt = learning.learn(graph, original.graph, original.description, windows.calibration, windows.held_out)
    if learnt is None:
        return {}
    learnt.to_npz(folder / reference.FILE)
    return {reference.FILE: folder / reference.FILE}


def page(
    original: Original, windows: Material, files: Files, description: Manifest, folder: Path, stage: Stage
) -> Files:
    """`report.html`, where something was measured and matplotlib is there to draw it; `report.json` needs neither."""
    if description.precision == "fp32" or not drawing.is_there():
        return {}
    stage("draw the report")
    graphs = {name: path for name, path in files.items() if name.endswith(".onnx") and isinstance(path, Path)}
    if ranges.FILE in files:  # beside the graphs, which are compared with an FP32 graph that is scaled as they are
        (folder / ranges.FILE).write_bytes(_bytes(files[ranges.FILE]))
    found = evidence.gather(original.graph, graphs, windows.calibration, windows.held_out, original.bank)
    report = json.loads(_bytes(files.get(REPORT, b"{}")))
    with drawing.style():
        return {report_page.FILE: utf8.encoded(report_page.to_html(description, report, found))}


def _bytes(source: Path | bytes) -> bytes:
    return source if isinstance(source, bytes) else source.read_bytes()
