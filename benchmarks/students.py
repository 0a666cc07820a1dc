"""Students against the towers of ImageBind that they stand in for, one input at a time.

    student, ONNX Runtime, FP32      against      ImageBind's tower as published, PyTorch eager, FP32

All of one modality take turns, round by round in an order drawn anew, so that a drifting clock hits them alike. Weights are
random, from a seed: a multiplication takes as long whatever it multiplies. Our own model of the tower leaves out tokens of the
last block that nobody reads; it runs too, as a row of its own, but the students are measured against the published work.

python -m edgebind.benchmarks.students --out benchmarks/results/students-cpu.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from edgebind import cli
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.benchmarks import latency, machine
from edgebind.benchmarks.latency import Call
from edgebind.cli.options import Output
from edgebind.export import parity, simplify
from edgebind.export.torch_onnx import to_onnx
from edgebind.models import imagebind, students

DIM = 384
PEER, LEANER = "imagebind", "imagebind, one token in its last block"


def measure(modalities: Sequence[str], *, seconds: float, threads: int) -> dict[str, Any]:
    """Race every registered student of some modalities against ImageBind's tower of the same modality.

    Parameters
    ----------
    seconds: how long each modality's race lasts.
    threads: of both PyTorch and ONNX Runtime.

    Returns
    -------
    `machine`, `threads` and `results`: for each modality and contestant its parameters, MACs (of students), latency
    percentiles, and by what factor it takes less of the processor's time than ImageBind's tower.
    """
    torch.set_num_threads(threads)
    results = {modality: _race(modality, seconds, threads) for modality in modalities}
    return {"machine": machine.describe(), "batch": 1, "threads": threads, "results": results}


def _race(modality: str, seconds: float, threads: int) -> list[dict[str, Any]]:
    torch.manual_seed(0)
    facts: dict[str, dict[str, Any]] = {}
    calls: dict[str, Call] = {}
    for name, every_token in ((PEER, True), (LEANER, False)):
        facts[name], calls[name] = _peer(modality, every_token)
    with tempfile.TemporaryDirectory() as scratch:
        for name in students.names(modality):
            facts[name], calls[name] = _student(name, Path(scratch), threads)
    # In a new order each round: whoever always followed ImageBind's tower would find its caches full of it.
    rows = latency.rounds(calls, seconds=seconds, shuffle=True).latencies()
    # By the processor's time: on a busy machine a long call is always interrupted, which would flatter the students.
    slow = rows[0].cpu_ms
    return [{**row.to_dict(), **facts[row.name], "times_faster": round(slow / row.cpu_ms, 1)} for row in rows]


def _peer(modality: str, every_token: bool) -> tuple[dict[str, Any], Call]:
    tower = imagebind.build_tower(modality).eval()
    tower.trunk.every_token = every_token
    inputs = torch.from_numpy(parity.example_of(modality)[:1])

    def call() -> torch.Tensor:
        with torch.inference_mode():
            return tower(inputs)

    return {"parameters": _parameters(tower)}, call


def _student(name: str, scratch: Path, threads: int) -> tuple[dict[str, Any], Call]:
    shape = students.input_shape(name)
    tower, inputs = students.build(name, dim=DIM).eval(), parity.example(shape, "float32")
    raw, graph = scratch / f"{name}-exported.onnx", scratch / f"{name}.onnx"
    to_onnx(tower, inputs, raw)
    simplify.simplify(raw, graph)
    backend = OnnxRuntimeBackend(graph, threads=threads)
    feed = {backend.input_name: np.ascontiguousarray(inputs[:1])}
    facts = {"parameters": _parameters(tower), "macs": students.count_macs(tower, torch.from_numpy(inputs))}
    return facts, lambda: backend.infer(feed)


def _parameters(tower: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in tower.parameters())


@click.command()
@click.option("--modality", "modalities", multiple=True, default=("imu", "thermal"), show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=30.0, show_default=True, help="For each modality.")
@click.option("--threads", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--out", type=Output(dir_okay=False), help="Also write the numbers here, as JSON.")
def command(modalities: tuple[str, ...], seconds: float, threads: int, out: Path | None) -> None:
    """Race the students against ImageBind's own towers."""
    report = measure(modalities, seconds=seconds, threads=threads)
    for modality, rows in report["results"].items():
        click.echo(f"{modality}, {threads} thread(s)")
        for row in rows:
            click.echo(
                f"  {row['name']:38} {row['p50_ms']:9.3f} ms median {row['cpu_ms']:9.3f} ms of the processor {row['times_faster']:8.1f}x"
            )
    if out is not None:
        from edgebind import atomic

        atomic.write_json(out, report)


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.students"))
