"""Every encoder in three precisions, built by TensorRT-RTX for GPUs that are not here: does it build, how long, how large?

Each is built twice, and the two engines must be the same bytes. ImageBind's towers have random weights from a seed and, for
INT8, ranges of synthetic signals: a compiler takes as long whatever they are, and no such engine is kept.

python -m edgebind.benchmarks.builds --out benchmarks/results/builds-rtx.json
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgebind import atomic, bundle, cli, starter
from edgebind.benchmarks import machine
from edgebind.calibration import qdq, ranges
from edgebind.calibration.batches import Batch
from edgebind.cli.options import Output
from edgebind.cuda import Sm
from edgebind.engines.builder import Job, Plan, build, target_name
from edgebind.engines.flavour import Flavour, load_flavour
from edgebind.engines.key import Profile
from edgebind.export import parity
from edgebind.export.precision import to_fp16

if TYPE_CHECKING:
    from edgebind.models.imagebind import Architecture

SMS: tuple[Sm, ...] = ((8, 0), (8, 6), (8, 9), (12, 0))
"""A100, RTX 30, RTX 40, RTX 50."""
LIVE = Profile(1, 1, 1)
SOURCES = ("starter", "imagebind")


def starter_graphs(modality: str, scratch: Path) -> dict[str, Path]:
    """The graphs of the starter's bundles; precision -> file. FP16, which does not ship, is made from FP32."""
    graphs = {precision: starter.folder(modality, precision) / bundle.ENCODER for precision in ("fp32", "int8")}
    graphs["fp16"] = scratch / "starter-fp16.onnx"
    to_fp16(graphs["fp32"], graphs["fp16"])
    return graphs


def imagebind_graphs(modality: str, scratch: Path, size: Architecture | None = None) -> dict[str, Path]:
    """ImageBind's tower in three precisions, at its own size or at another."""
    import torch

    from edgebind.export import simplify
    from edgebind.export.torch_onnx import to_onnx
    from edgebind.models import imagebind

    torch.manual_seed(0)
    example = parity.example_of(modality)
    to_onnx(imagebind.build_tower(modality, architecture=size), example, scratch / "exported.onnx")
    graphs = {precision: scratch / f"imagebind-{precision}.onnx" for precision in ("fp32", "fp16", "int8")}
    simplify.simplify(scratch / "exported.onnx", graphs["fp32"])
    to_fp16(graphs["fp32"], graphs["fp16"])
    found = ranges.collect(graphs["fp32"], [Batch("synthetic signals", example)])["minmax"]
    qdq.write(graphs["fp32"], found, qdq.TENSORRT, scratch / "in-float.onnx")
    to_fp16(scratch / "in-float.onnx", graphs["int8"])  # what is not INT8 is FP16, as in a bundle
    return graphs


def measure(
    modalities: Sequence[str], sources: Sequence[str] = SOURCES, sms: Sequence[Sm] = SMS
) -> Iterator[dict[str, Any]]:
    """One row for each encoder, precision and GPU, as soon as it is known.

    Raises
    ------
    MissingDependencyError: TensorRT-RTX is not installed.
    BackendError: a graph does not build.
    """
    flavour = load_flavour("rtx")
    for source in sources:
        for modality in modalities:
            with tempfile.TemporaryDirectory() as folder:
                make = starter_graphs if source == "starter" else imagebind_graphs
                for precision, graph in sorted(make(modality, Path(folder)).items()):
                    for sm in sms:
                        row = {"source": source, "modality": modality, "precision": precision}
                        yield {**row, **_twice(graph, flavour, sm)}


def _twice(graph: Path, flavour: Flavour, sm: Sm) -> dict[str, Any]:
    began = time.process_time()
    first = compile_for(graph, flavour, sm)
    cpu_s = time.process_time() - began
    same = compile_for(graph, flavour, sm).data == first.data
    numbers = {"seconds": round(first.seconds, 2), "cpu_s": round(cpu_s, 2), "mb": round(len(first.data) / 1e6, 2)}
    return {"gpu": target_name(sm), **numbers, "same_bytes_twice": same}


def compile_for(graph: Path, flavour: Flavour, *sms: Sm) -> Plan:
    """Build `graph` for one window at a time, on each of these GPUs."""
    return build(Job(graph, flavour, (LIVE,), sms))


@click.command()
@click.option("--modality", "modalities", multiple=True, default=("imu", "thermal"), show_default=True)
@click.option("--source", "sources", multiple=True, default=SOURCES, show_default=True)
@click.option("--out", type=Output(dir_okay=False), help="JSON file for the results.")
def main(modalities: tuple[str, ...], sources: tuple[str, ...], out: Path | None) -> None:
    """Build everything twice and print one line a build."""
    rows = []
    for row in measure(modalities, sources):
        rows.append(row)
        click.echo("  ".join(str(value) for value in row.values()))
    if out is not None:
        report = {"machine": machine.describe(), "tensorrt": str(load_flavour("rtx")), "results": rows}
        atomic.write_json(out, report)


if __name__ == "__main__":
    sys.exit(cli.main(command=main, name="python -m edgebind.benchmarks.builds"))
