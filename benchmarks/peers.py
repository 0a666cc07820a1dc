"""Our backend against what else runs the same tower: ONNX Runtime as it comes, PyTorch, and on a GPU their faster ways.

    edgebind                   the bundle that `edgebind export` makes, through our backend
    onnxruntime defaults       torch's own export of the tower as published, InferenceSession without an option
    ... on our graph           the same of the graph that we run
    torch eager, compiled      the tower as published in PyTorch; on a GPU also FP16, BF16 and CUDA graphs
    ... one token              the same of our model of it
    trtexec, polygraphy        the graph that we run, where they are installed (alone, not in turns)

ImageBind as published makes every token of its last block; our model of it makes the one that is read, for the same vector.

All take turns in one run, in an order drawn anew each round, and each begins when no thread of the others is awake: those of ONNX
Runtime's defaults spin for some 35 ms after a call, on a processor that the next contestant needs. Weights are random, from a seed: a product takes as long whatever it multiplies.

python -m edgebind.benchmarks.peers --out benchmarks/results/peers-cpu.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import click
import numpy as np
import torch
from numpy.typing import NDArray

from edgebind import atomic, backends, bundle, cli, cuda
from edgebind.backends.base import Backend
from edgebind.benchmarks import compare, latency, machine, outside, roofline
from edgebind.benchmarks.latency import Call
from edgebind.cli.options import Output
from edgebind.export import parity, precision, simplify
from edgebind.export.torch_onnx import to_onnx
from edgebind.manifest import Manifest, WindowSpec
from edgebind.models import imagebind, students

OURS, DEFAULTS, EAGER = "edgebind", "onnxruntime defaults", "torch eager fp32"
ON_OURS = f"{DEFAULTS} on our graph"
LEANER = f"{EAGER}, one token"
BARS = {DEFAULTS: 1.0, ON_OURS: 1.0, EAGER: 1.3}
"""On a CPU: how many times as long they must take as we do."""
PAUSE_S = 0.02
Module = TypeVar("Module", bound=torch.nn.Module)


@dataclass(frozen=True, slots=True)
class Tower:
    """What is raced: a module, an input for it, and how it is called."""

    name: str
    modality: str
    module: torch.nn.Module
    """As we export it."""
    published: torch.nn.Module
    """As its authors run it."""
    inputs: NDArray[Any]
    """(batch, ...)"""


def build(name: str, batch: int) -> Tower:
    """`imagebind-imu`, one of ImageBind's towers at its full size, or a student's name.

    Raises
    ------
    OptionError: neither of them.
    """
    torch.manual_seed(0)
    if name.startswith("imagebind-"):
        modality = name.removeprefix("imagebind-")
        module: torch.nn.Module = imagebind.build_tower(modality)
        like = parity.example_of(modality)
    else:
        module, modality = students.build(name, dim=384), name.partition("-")[0]
        like = parity.example(students.input_shape(name), "float32")
    rows = np.concatenate([like] * batch)[:batch]
    module = module.eval().requires_grad_(False)
    return Tower(name, modality, module, _published(module), np.ascontiguousarray(rows))


def _published(module: torch.nn.Module) -> torch.nn.Module:
    if not isinstance(module, imagebind.Tower):
        return module
    whole = _copied(module)
    whole.trunk.every_token = True
    return whole


def race(name: str, *, seconds: float, batch: int, threads: int | None, compiled: bool) -> dict[str, Any]:
    """All contestants on one tower.

    Returns
    -------
    `results`: latencies, `times_faster` (theirs by ours, median over the rounds, with its 95 % interval by blocks of rounds) and
    `cpu_times_faster`; `bars`: what had to be reached and whether it was; `outside`: NVIDIA's programs; `roofline` of ours;
    `published_gmac_per_window`: what the tower as published multiplies.
    """
    tower = build(name, batch)
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        raw = Path(scratch) / "raw.onnx"
        to_onnx(tower.published, _two(tower.inputs), raw)
        written = _bundles(tower, Path(scratch))
        ours = {
            kind: stack.enter_context(backends.open_backend("auto", folder, described, threads=threads))
            for kind, (folder, described) in written.items()
        }
        graph = written["fp32"][0] / bundle.ENCODER
        calls = dict(_contestants(tower, ours, raw, graph, threads, compiled))
        raced = latency.rounds(calls, seconds=seconds, warmup=3, pause_s=PAUSE_S, shuffle=True)
        there = cuda.driver().is_there
        told = outside.measure(graph, ours["fp32"].input_name, tower.inputs.shape) if there else {}
        roof = _roof(tower, ours["fp32"], written["fp32"][1], graph, raced)
        published = roofline.count_graph(raw, raw, tower.inputs[:1], written["fp32"][1].dim)
    results = _results(raced)
    return {
        "tower": name,
        "batch": batch,
        "results": results,
        "bars": _bars(results),
        "outside": told,
        "roofline": roof,
        "published_gmac_per_window": round(published.macs / 1e9, 4),
    }


def _bundles(tower: Tower, scratch: Path) -> dict[str, tuple[Path, Manifest]]:
    """Precision -> a bundle as the export makes it, FP32 and on a GPU FP16."""
    exported, graph, half = (scratch / f"{name}.onnx" for name in ("exported", "graph", "half"))
    reference = to_onnx(tower.module, _two(tower.inputs), exported)
    simplify.simplify(exported, graph)
    window = WindowSpec.of_imagebind(tower.modality)
    like = Manifest("peers", tower.modality, reference.shape[1], "fp32", 1.0, window, {"kind": tower.modality})
    found = {"fp32": (scratch / "fp32", bundle.write(scratch / "fp32", like, _files(graph)))}
    if cuda.driver().is_there:
        precision.to_fp16(graph, half)
        of_half = replace(like, precision="fp16")
        found["fp16"] = (scratch / "fp16", bundle.write(scratch / "fp16", of_half, _files(half)))
    return found


def _two(inputs: NDArray[Any]) -> NDArray[Any]:
    """An export takes a batch of one for a constant."""
    return np.concatenate([inputs, inputs])[:2]


def _files(graph: Path) -> dict[str, Path | bytes]:
    data = graph.with_name(graph.name + ".data")
    files: dict[str, Path | bytes] = {bundle.ENCODER: graph}
    return files | {data.name: data} if data.exists() else files


def _contestants(
    tower: Tower, ours: Mapping[str, Backend], raw: Path, graph: Path, threads: int | None, compiled: bool
) -> Iterator[tuple[str, Call]]:
    for kind, backend in ours.items():
        yield OURS if kind == "fp32" else f"{OURS} {kind}", partial(backend.infer, {backend.input_name: tower.inputs})
    yield DEFAULTS, _defaults(raw, tower.inputs)
    yield ON_OURS, _defaults(graph, tower.inputs)
    if threads is not None:
        torch.set_num_threads(threads)
    kinds = {"fp32": torch.float32}
    if torch.cuda.is_available():
        kinds |= {"fp16": torch.float16, "bf16": torch.bfloat16}
    for kind, dtype in kinds.items():
        yield from _torch(tower, kind, dtype, compiled)


def _defaults(graph: Path, inputs: NDArray[Any]) -> Call:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(graph), providers=onnxruntime.get_available_providers())
    feed = {session.get_inputs()[0].name: inputs}
    return lambda: session.run(None, feed)


def _torch(tower: Tower, kind: str, dtype: torch.dtype, compiled: bool) -> Iterator[tuple[str, Call]]:
    """Eager, compiled, and on a GPU compiled into CUDA graphs. The vectors come back to the host, as ours do."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    module = tower.published.to(device, dtype) if kind == "fp32" else _copied(tower.published).to(device, dtype)
    yield f"torch eager {kind}", _torch_call(module, tower.inputs, device, dtype)
    if kind == "fp32" and tower.module is not tower.published:
        yield LEANER, _torch_call(tower.module.to(device), tower.inputs, device, dtype)
    if compiled:
        yield f"torch compiled {kind}", _torch_call(torch.compile(module), tower.inputs, device, dtype)
        if device == "cuda":
            graphs = torch.compile(module, mode="reduce-overhead")
            yield f"torch CUDA graphs {kind}", _torch_call(graphs, tower.inputs, device, dtype)


def _copied(module: Module) -> Module:
    import copy

    return copy.deepcopy(module)


def _torch_call(module: Callable[..., Any], inputs: NDArray[Any], device: str, dtype: torch.dtype) -> Call:
    host = torch.from_numpy(inputs)
    kind = dtype if host.is_floating_point() else host.dtype

    def call() -> NDArray[Any]:
        with torch.inference_mode():
            return module(host.to(device, kind)).float().cpu().numpy()

    return call


# --- what came of it --------------------------------------------------------------------------------------------------


def _results(raced: latency.Rounds) -> list[dict[str, Any]]:
    rows = []
    for at, row in enumerate(raced.latencies()):
        wall, cpu = raced.wall_ms[:, at], raced.cpu_ms[:, at]
        low, high = compare.paired_interval(wall / raced.wall_ms[:, 0])
        faster = {"times_faster": row.ratio, "interval": [round(low, 4), round(high, 4)]}
        cpu_faster = round(float(np.median(cpu / raced.cpu_ms[:, 0])), 4)
        rows.append({**row.to_dict(), **faster, "cpu_times_faster": cpu_faster})
    return rows


def _bars(results: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {row["name"]: row for row in results}
    return [
        {"against": name, "wanted": bar, "got": found[name]["times_faster"], "met": found[name]["times_faster"] >= bar}
        for name, bar in BARS.items()
        if name in found
    ]


def _roof(tower: Tower, ours: Backend, described: Manifest, graph: Path, raced: latency.Rounds) -> dict[str, Any]:
    work, roof = (
        roofline.count_graph(graph, graph, tower.inputs[:1], described.dim),
        roofline.Roof.measure(ours, described),
    )
    call, spent = float(np.median(raced.wall_ms[:, 0])), float(np.median(raced.cpu_ms[:, 0]))
    return roof.place(work, len(tower.inputs), call, spent)


# --- the command ------------------------------------------------------------------------------------------------------


@click.command()
@click.option("--tower", "towers", multiple=True, default=("imagebind-imu", "imagebind-thermal"), show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 36000), default=60.0, show_default=True, help="For each tower.")
@click.option("--batch", type=click.IntRange(1, 256), default=1, show_default=True)
@click.option("--threads", type=click.IntRange(1, 256), help="Of ours and PyTorch.  [default: each one's own choice]")
@click.option("--compile/--no-compile", "compiled", default=True, help="Also torch.compile.  [default: compile]")
@click.option("--out", type=Output(dir_okay=False), help="Also write the numbers here, as JSON.")
def command(
    towers: tuple[str, ...], seconds: float, batch: int, threads: int | None, compiled: bool, out: Path | None
) -> None:
    """Race our backend against its peers on one tower after the other."""
    report: dict[str, Any] = {"machine": machine.describe(), "threads": threads, "towers": []}
    for name in towers:
        found = race(name, seconds=seconds, batch=batch, threads=threads, compiled=compiled)
        report["towers"].append(found)
        click.echo("\n".join(_lines(found)))
        if out is not None:
            atomic.write_json(out, report)


def _lines(found: dict[str, Any]) -> Iterator[str]:
    roof = found["roofline"]
    yield f"{found['tower']}, batch {found['batch']}, {found['results'][0]['calls']} rounds, {roof['gmac_per_window']:.2f} GMAC a window, {found['published_gmac_per_window']:.2f} as published"
    for row in found["results"]:
        low, high = row["interval"]
        yield (
            f"  {row['name']:33} {row['p50_ms']:9.2f} ms median {row['cpu_ms']:9.2f} ms of the processor"
            f" {row['times_faster']:7.3f}x [{low:.3f}, {high:.3f}] {row['cpu_times_faster']:7.3f}x of the processor"
        )
    for name, figures in found["outside"].items():
        yield f"  {name:33} {figures}"
    reach = f"{roof['attainable_gops']:.0f} Gop/s, bound by {roof['bound_by']}"
    yield f"  {roof['of_attainable_percent']:.0f} % of what is within reach ({reach})"
    if "of_peak_by_processor_percent" in roof:
        yield f"  {roof['of_peak_by_processor_percent']:.0f} % of the arithmetic limit by the processor's time"
    for bar in found["bars"]:
        verdict = "met" if bar["met"] else "NOT met"
        yield f"  against {bar['against']}: wanted {bar['wanted']:.1f}x, got {bar['got']:.3f}x: {verdict}"


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.peers"))
