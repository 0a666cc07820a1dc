"""`edgebind export`: an encoder becomes a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebind.cli.options import Finite, Output

if TYPE_CHECKING:
    from edgebind.calibration.gate import Bars
    from edgebind.export.road import Exported


MOST_HAZARDS = 3

LOW_SHARE = 0.8
"""Of the MACs in INT8, below which little is left of what INT8 is for."""

NAMED = 6
"""Layers in float that are named; the report has all of them."""


@click.command("export")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), help="ImageBind's weights, or a tower of `edgebind bind`."
)
@click.option(
    "--modality", "names", multiple=True, metavar="NAME", help="Only this tower; may be repeated. Default: all."
)
@click.option(
    "--precision", default="int8", show_default=True, metavar="fp32|fp16|int8", help="What the encoder computes in."
)
@click.option(
    "--calibration",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="Real recordings, folders of them, or a set of `edgebind calibrate collect`: INT8 is calibrated on some and "
    "judged on the others. May be repeated.",
)
@click.option(
    "--attention",
    default="float",
    show_default=True,
    metavar="float|int8",
    help="What attention's own two products (query by key, weights by value) are in an INT8 graph for TensorRT.",
)
@click.option(
    "--observer",
    metavar="NAME",
    help="Take this observer's ranges for INT8 and try no other, and no transform: quick for a large tower.",
)
@click.option(
    "--every-window",
    is_flag=True,
    help="Take ranges from every window that calibrates, however many, not from an even selection.",
)
@click.option(
    "--ranges",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="ranges.json of an INT8 bundle of the same encoder: use these ranges, do not calibrate again.",
)
@click.option(
    "--units",
    "units_text",
    default="",
    metavar="LIST",
    help="Units of the recordings, such as acc=g,depth=mm,thermal=cK.",
)
@click.option("--out", type=Output(), default=Path("bundles"), show_default=True, help="Folder for bundles.")
@click.option(
    "--triton",
    "repository",
    type=Output(),
    metavar="DIR",
    help="Also write the bundles into this model repository of a Triton Inference Server; see edgebind triton.",
)
@click.option("--min-cosine", type=Finite(0, 1), help="Least mean cosine to FP32.  [default: int8 0.99, fp16 0.999]")
@click.option(
    "--min-p1", type=Finite(0, 1), help="Least 1st percentile of the cosine.  [default: int8 0.97, fp16 0.998]"
)
@click.option(
    "--min-agreement", type=Finite(0, 1), help="Least share of equal labels.  [default: int8 0.98, fp16 0.99]"
)
def command(
    checkpoint: Path | None,
    names: tuple[str, ...],
    precision: str,
    calibration: tuple[Path, ...],
    attention: str,
    observer: str | None,
    every_window: bool,
    ranges: Path | None,
    units_text: str,
    out: Path,
    repository: Path | None,
    min_cosine: float | None,
    min_p1: float | None,
    min_agreement: float | None,
) -> None:
    """Turn encoders into bundles, OUT/<modality>-<precision>/.

    Without --checkpoint: the towers of the starter space, which brings its own recordings. INT8 that misses its bars returns
    the layers that hurt most to float; a search that was stopped goes on where it stood.

    \b
    edgebind export --precision int8
    edgebind export --checkpoint imagebind_huge.pth --modality imu --precision int8 --calibration recordings/
    """
    from edgebind.cli.progress import ProgressLine, StatusLine
    from edgebind.export import triton
    from edgebind.export.road import Request, export
    from edgebind.sources import units

    bars = _bars(precision, min_cosine, min_p1, min_agreement)
    said = units.parse(units_text)
    request = Request(
        precision, out, checkpoint, names, calibration, bars, said, every_window, attention, observer, ranges
    )
    status = StatusLine()

    def stage(modality: str, what: str) -> None:
        """One line that is rewritten in a terminal, one line a stage in a log."""
        status.show(f"{modality}: {what}") if status.is_terminal else click.echo(f"{modality}: {what}", err=True)

    for exported in export(request, stage, ProgressLine()):
        status.clear()
        rows = _rows(exported)
        if repository is not None:
            rows.append(("triton", f"{repository / triton.export(exported.folder, repository)[-1]}, an ensemble"))
        for title, value in rows:
            click.echo(f"{title:11} {value}")


def _bars(precision: str, mean: float | None, p1: float | None, agreement: float | None) -> Bars | None:
    """The bars the user named; the others keep the precision's own."""
    from edgebind.calibration import gate
    from edgebind.errors import OptionError

    if mean is None and p1 is None and agreement is None:
        return None
    if precision == "fp32":
        raise OptionError("FP32 is compared with nothing", where="--min-cosine, --min-p1, --min-agreement")
    own = gate.FP16 if precision == "fp16" else gate.INT8
    given = (mean, p1, agreement)
    kept = (own.cosine_mean, own.cosine_p1, own.agreement)
    return gate.Bars(*(mine if named is None else named for named, mine in zip(given, kept, strict=True)))


def _rows(exported: Exported) -> list[tuple[str, str]]:
    from edgebind import extras

    rows = [("bundle", f"{exported.folder}, {exported.size / 1e6:.2f} MB")]
    if exported.comparison is not None:
        rows.append(("gate", f"{exported.comparison}, on {exported.comparison.windows} windows"))
    if exported.quantised is not None:
        rows += _int8_rows(exported)
    if exported.hazards:
        rows.append(("float32", _kept(exported)))
    if exported.comparison is not None and "report.html" not in exported.description.files:
        rows.append(("report", f"no page, for matplotlib is not installed: {extras.remedy('evaluate')}"))
    if "licence" in exported.description.provenance:
        rows.append(("licence", str(exported.description.provenance["licence"])))
    return rows


def _kept(exported: Exported) -> str:
    """What half could not hold: the first few, for a large tower may have a hundred; `report.json` has all."""
    shown = [str(hazard) for hazard in exported.hazards[:MOST_HAZARDS]]
    more = len(exported.hazards) - len(shown)
    return "kept in float32: " + "; ".join(shown) + (f"; and {more} more, see report.json" if more else "")


def _int8_rows(exported: Exported) -> list[tuple[str, str]]:
    made = exported.quantised
    assert made is not None
    rest = "FP16" if made.remainder == "float16" else "FP32"
    ranges = f"{made.ranges.method} ranges{_in_float(made.report)}; the rest in {rest} for TensorRT"
    attention = ", attention's products among them" if made.report["attention"] == "int8" else ""
    share = f"{made.mac_share:.1%} of the MACs{attention}, {ranges}"
    rows = [("int8", share), *_transform_rows(made.report), ("speed", str(made.speed))]
    if made.mac_share < LOW_SHARE:
        rows.append(("warning", f"only {made.mac_share:.1%} of the MACs in INT8: {_why_so_few(made.report)}"))
    return rows


def _why_so_few(report: Mapping[str, Any]) -> str:
    if not report["layers"]["float"]:
        return "the rest are products without weights"
    return "the bars sent the others back to float; ask for less, calibrate on more, or compare the speed with FP16's"


def _in_float(report: Mapping[str, Any]) -> str:
    """Layers that stay in float, as people know them."""
    names = [entry["layer"] for entry in report["layers"]["float"]]
    if not names:
        return ", no layer in float"
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f", in float: {', '.join(names[:NAMED])}{more}"


def _transform_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was done to weights and biases, and what it gained on the windows that calibrate."""
    kept = [trial for trial in report["transforms"] if trial["kept"]]
    gains = (f"{trial['name']} {trial['cosine_before']:.6f} -> {trial['cosine_after']:.6f}" for trial in kept)
    return [("transforms", ", ".join(gains))] if kept else []
