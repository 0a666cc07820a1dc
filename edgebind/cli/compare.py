"""`edgebind compare`: two bundles, graphs or backends on the same windows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebind.cli.options import Finite, Output, require_other
from edgebind.cli.progress import StatusLine

if TYPE_CHECKING:
    from edgebind.calibration.report.compare import Compared
    from edgebind.calibration.report.layers import Departure

SAME = 1 - 1e-6
"""Least cosine of vectors that are the same to float32, of which none is worst."""


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path), metavar="A")
@click.argument("b", type=click.Path(path_type=Path), metavar="B")
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="RECORDING...")
@click.option("--backend-a", default="auto", show_default=True, help="Where to run A.")
@click.option("--backend-b", default="auto", show_default=True, help="Where to run B.")
@click.option(
    "--like", type=click.Path(path_type=Path), metavar="DIR", help="Bundle whose windows two bare graphs read."
)
@click.option("--units", "units_text", default="", metavar="LIST", help="Units, such as acc=g,depth=mm,thermal=cK.")
@click.option(
    "--windows",
    type=click.IntRange(1),
    default=512,
    show_default=True,
    help="About so many windows at most, evenly spread, and one of each recording at least.",
)
@click.option(
    "--threshold", type=Finite(0, min_open=True), metavar="X",
    help="Relative error from which on a layer has departed.  [default: fp32 0.001, fp16 0.02, int8 0.1]",
)  # fmt: skip
@click.option("--no-layers", is_flag=True, help="Compare vectors only.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
@click.option("--html", type=Output(dir_okay=False), metavar="FILE", help="Also write a page with plots.")
def command(
    a: Path,
    b: Path,
    inputs: tuple[Path, ...],
    backend_a: str,
    backend_b: str,
    like: Path | None,
    units_text: str,
    windows: int,
    threshold: float | None,
    no_layers: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    """Run A and B, bundles or .onnx graphs, on the windows of RECORDING..., and say how far apart they are.

    Where both are ONNX graphs every tensor that both name alike is compared on the worst windows, and the first that
    departs is named.

    \b
    edgebind compare bundles/imu-fp32 bundles/imu-int8 walks/
    edgebind compare bundles/imu-int8 bundles/imu-int8 walks/ --backend-b tensorrt
    edgebind compare encoder.onnx edited.onnx walks/ --like bundles/imu-fp32 --html compared.html
    """
    from edgebind import drawing
    from edgebind.calibration.report import compare
    from edgebind.sources import units

    require_other(html, a, b, *inputs)
    if html is not None:
        drawing.require()
    said = units.parse(units_text)
    options = compare.Options((backend_a, backend_b), like, windows, threshold, not no_layers, said)
    status = StatusLine()
    found = compare.compare(a, b, inputs, options, status.show)
    status.clear()
    if html is not None:
        from edgebind.calibration.report import compare_page

        compare_page.write(html, found)
    if as_json:
        click.echo(json.dumps(found.to_dict(), indent=1, ensure_ascii=False))
        return
    for title, value in _rows(found):
        click.echo(f"{title:11} {value}")


def _rows(found: Compared) -> list[tuple[str, str]]:
    vectors = found.comparison
    rows = [
        ("a", f"{found.a} ({found.runtimes[0]})"),
        ("b", f"{found.b} ({found.runtimes[1]})"),
        ("vectors", f"{vectors}, least {vectors.cosine_min:.5f}, on {vectors.windows} windows"),
    ]
    for place, one in enumerate(found.worst if vectors.cosine_min < SAME else ()):
        at = "" if one.start_s is None else f" at {one.start_s:g} s"
        rows.append(("" if place else "worst", f"{one.cosine:.5f}  {one.recording}{at}"))
    depth = found.depth
    if depth is None:
        return [*rows, ("layers", f"not compared: {found.why_no_depth}")]
    rows.append(("layers", f"{len(depth.tensors)} tensors that both have, on {depth.windows} windows"))
    if depth.scaled:
        told = f"calibration scaled channels of {', '.join(depth.scaled)} in one of the two: these differ by design"
        rows.append(("", told))
    first, step = depth.first, depth.largest_step
    told = (
        f"none: {depth.why_none_departs}" if first is None else f"first {_told(first)}; threshold {depth.threshold:g}"
    )
    rows.append(("departs", told))
    return rows if step is None else [*rows, ("grows", f"most {_told(step)}")]


def _told(of: Departure) -> str:
    name = of.layer if of.layer == of.tensor else f"{of.layer} (tensor {of.tensor})"
    return f"at {name}, {of.op}: relative error {of.error:.3g} from {of.inherited:.3g}, cosine {of.cosine:.5f}"
