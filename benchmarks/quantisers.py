"""Quantisers side by side: the same FP32 graph, the same windows to calibrate on, the same held-out windows to judge by.

    edgebind      the graph for TensorRT, FP16 around INT8, and the one for this CPU
    peers         ONNX Runtime and NVIDIA Model Optimizer, see `edgebind.benchmarks.int8_peers`

Every graph is judged as written, with the optimiser off, so that kernels that saturate are nobody's fault. The share of
multiply-accumulates in INT8 is counted by one function for all, from the written graph.

python -m edgebind.benchmarks.quantisers --modelopt build/modelopt --out benchmarks/results/quantisers-starter.json
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgebind import bundle, cli, cpu, starter
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.benchmarks import int8_peers, latency, machine
from edgebind.calibration import engine, gate, ladder, qdq, sensitivity
from edgebind.calibration.batches import Batch, Material, count, spread
from edgebind.calibration.gate import Bars
from edgebind.calibration.graph import Graph
from edgebind.calibration.journal import Journal
from edgebind.calibration.quantise import Options, Quantised, quantise
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.sensitivity import Probe
from edgebind.calibration.subject import Subject as Quantisable
from edgebind.calibration.windows import recordings
from edgebind.cli.options import Output
from edgebind.export.precision import to_fp16
from edgebind.labels import LabelBank

PASSED_THROUGH = ("Cast", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Identity")
"""May stand between DequantizeLinear and a product: they change no value."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What all quantise, and what they are judged by."""

    name: str
    graph: Path
    calibration: Sequence[Batch]
    held_out: Sequence[Batch]
    bank: LabelBank


@dataclass(frozen=True, slots=True)
class Row:
    """One quantiser's graph."""

    name: str
    cosine_mean: float
    cosine_p1: float
    agreement: float | None
    int8_mac_share: float
    cpu_ms: float | None
    """Processor's time of one window, kernels fused as ONNX Runtime likes; None for a graph with FP16, which no CPU runs well."""
    ratio_to_fp32: float | None


def int8_share(graph: Path, example: np.ndarray) -> float:
    """Share of all multiply-accumulates whose two factors both come from a DequantizeLinear, one window."""
    source = Graph.read(graph)
    macs = source.macs(example[:1], graph)
    producers = {name: node for node in source.model.graph.node for name in node.output}
    products = [node for node in source.model.graph.node if node.output and node.output[0] in macs]
    integer = [node.output[0] for node in products if all(_is_dequantised(name, producers) for name in node.input[:2])]
    return sum(macs[name] for name in integer) / sum(macs.values())


def _is_dequantised(name: str, producers: Mapping[str, Any]) -> bool:
    node = producers.get(name)
    while node is not None and node.op_type in PASSED_THROUGH:
        node = producers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def compare(subject: Subject, modelopt: Path | None, bars: Bars, say: Any = lambda _: None) -> list[Row]:
    """All quantisers on one subject, ours first.

    Parameters
    ----------
    modelopt: environment of Model Optimizer; None leaves it out.
    bars: what our ladder must reach.

    Raises
    ------
    ExportError: a peer fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        ours, ranges = _ours(subject, scratch, bars, say)
        theirs = _theirs(subject, modelopt, scratch, say)
        shares = {int8_share(graph, subject.held_out[0].inputs) for graph in theirs.values()}
        mine = int8_share(ours["edgebind, TensorRT graph"], subject.held_out[0].inputs)
        ours |= _at_shares(subject, ranges, sorted(shares, reverse=True), mine, scratch, say)
        graphs = ours | theirs
        times = _times(subject, graphs)
        reference = engine.embed(subject.graph, subject.held_out, optimise=True)
        return [_row(name, graph, subject, reference, times) for name, graph in graphs.items()]


def _ours(subject: Subject, scratch: Path, bars: Bars, say: Any) -> tuple[dict[str, Path], Ranges]:
    made = _quantised(subject, scratch / "edgebind", bars, say)
    fast = qdq.U8S8 if cpu.sums_in_32_bits() else qdq.U8U8
    graphs = {
        "edgebind, TensorRT graph": made.files[qdq.TENSORRT.file],
        f"edgebind, CPU graph {fast.file.split('.')[1].upper()}": made.files[fast.file],
    }
    if Graph.read(subject.graph).products:
        attended = _quantised(subject, scratch / "attention", bars, say, attention=True)
        graphs["edgebind, TensorRT graph, attention in INT8"] = attended.files[qdq.TENSORRT.file]
    return graphs, made.ranges


def _quantised(subject: Subject, folder: Path, bars: Bars, say: Any, *, attention: bool = False) -> Quantised:
    folder.mkdir()
    return quantise(
        subject.graph,
        Material(subject.calibration, subject.held_out),
        Options(bars=bars, to_half=to_fp16, attention=attention),
        bank=subject.bank,
        scratch=folder,
        progress=say,
    )


def _at_shares(
    subject: Subject, ranges: Ranges, shares: Sequence[float], mine: float, scratch: Path, say: Any
) -> dict[str, Path]:
    """Our TensorRT graph with as much in float as a peer leaves there, where the ladder's `mine` is another share.

    Which layers: those with the largest damage that fit, on calibration windows.
    """
    layers = Quantisable.of(subject.graph, subject.calibration[0], subject.bank, scratch, say)
    shares = [share for share in shares if abs(min(share, layers.share()) - mine) > 1e-3]
    if not shares:
        return {}
    windows = layers.affordable(subject.calibration, ladder.SEARCH_GIGAMACS, ladder.SEARCH_WINDOWS)
    with Probe(layers, ranges, windows, Journal(None, "", [layer.name for layer in layers.layers])) as probe:
        order = sorted(sensitivity.measure(probe, gate.INT8_AIM), key=lambda item: -item.damage)
    graphs: dict[str, Path] = {}
    for share in shares:
        kept: list[str] = []
        for item in order:
            if layers.share([*kept, item.layer]) > share - 1e-6:
                kept.append(item.layer)
        target = scratch / f"edgebind-{len(graphs)}.onnx"
        qdq.write(subject.graph, ranges, qdq.TENSORRT, scratch / "float.onnx", kept)
        to_fp16(scratch / "float.onnx", target)
        graphs[f"edgebind, TensorRT graph, {layers.share(kept):.1%}"] = target
    return graphs


def _theirs(subject: Subject, modelopt: Path | None, scratch: Path, say: Any) -> dict[str, Path]:
    windows = np.concatenate([batch.inputs for batch in subject.calibration])
    peers: list[Any] = [*int8_peers.ort_peers()]
    if modelopt is not None:
        int8_peers.make_environment(modelopt)
        peers += [int8_peers.ModelOptimizer(method, modelopt) for method in ("max", "entropy")]
    graphs = {}
    for place, peer in enumerate(peers):
        say(peer.name)
        graphs[peer.name] = scratch / f"peer-{place}.onnx"
        peer.write(subject.graph, windows, graphs[peer.name])
    return graphs


def _times(subject: Subject, graphs: Mapping[str, Path]) -> dict[str, latency.Latency]:
    """All that a CPU would run, racing in turns against FP32."""
    contestants = {"FP32": subject.graph} | {name: graph for name, graph in graphs.items() if not _has_half(graph)}
    window = subject.held_out[0].inputs[:1]
    backends = {name: OnnxRuntimeBackend(graph, threads=1) for name, graph in contestants.items()}
    calls = {name: partial(of.infer_unchecked, window) for name, of in backends.items()}
    found = latency.race(calls, seconds=1.0, warmup=1, least=7)
    for of in backends.values():
        of.close()
    return {row.name: row for row in found}


def _has_half(graph: Path) -> bool:
    return any(tensor.data_type == 10 for tensor in Graph.read(graph).model.graph.initializer)


def _row(name: str, graph: Path, subject: Subject, reference: Any, times: Mapping[str, latency.Latency]) -> Row:
    vectors = engine.embed(graph, subject.held_out, optimise=False)
    # A peer may do the last norm in half, and a row that is too long must not pass for one that is near.
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    found = gate.compare(reference, vectors, subject.bank)
    share = int8_share(graph, subject.held_out[0].inputs)
    time = times.get(name)
    spent = None if time is None else time.cpu_ms
    ratio = None if time is None else round(time.cpu_ms / times["FP32"].cpu_ms, 3)
    agreement = None if found.agreement is None else round(found.agreement, 4)
    return Row(name, round(found.cosine_mean, 6), round(found.cosine_p1, 6), agreement, round(share, 4), spent, ratio)


def starter_subject(modality: str, most: int) -> Subject:
    """A tower of the starter space and the recordings it ships."""
    parts = [
        [r.batch() for r in recordings.read([starter.RECORDINGS / part / modality], _manifest(_fp32(modality)))]
        for part in ("calibration", "gate")
    ]
    return _subject(f"starter {modality}", _fp32(modality), (parts[0], parts[1]), most)


def bundle_subject(folder: Path, paths: Sequence[Path], most: int) -> Subject:
    """An FP32 bundle and the user's recordings, split as `edgebind export` splits them."""
    read = recordings.read(paths, _manifest(folder))
    return _subject(folder.name, folder, recordings.split(read), most)


def _fp32(modality: str) -> Path:
    return starter.folder(modality, "fp32")


def _manifest(folder: Path) -> Any:
    return bundle.verify(folder)


def _subject(name: str, folder: Path, parts: tuple[Sequence[Batch], Sequence[Batch]], most: int) -> Subject:
    with bundle.load(folder) as opened:
        bank = opened.labels
    calibration, held_out = (spread(part, most) for part in parts)
    return Subject(name, folder / bundle.ENCODER, calibration, held_out, bank)


def _table(rows: Sequence[Row]) -> list[str]:
    lines = [f"  {'':38} {'cosine':>8} {'p1':>8} {'labels':>7} {'INT8':>6} {'CPU ms':>8} {'/FP32':>6}"]
    for row in rows:
        labels = "-" if row.agreement is None else f"{row.agreement:.4f}"
        time = "-" if row.cpu_ms is None else f"{row.cpu_ms:.3f}"
        ratio = "-" if row.ratio_to_fp32 is None else f"{row.ratio_to_fp32:.2f}"
        share = f"{row.int8_mac_share:.1%}"
        lines.append(
            f"  {row.name:38} {row.cosine_mean:8.5f} {row.cosine_p1:8.5f} {labels:>7} {share:>6} {time:>8} {ratio:>6}"
        )
    return lines


@click.command()
@click.option("--bundle", "folder", type=click.Path(path_type=Path), help="An FP32 bundle. Default: the starter's.")
@click.option("--calibration", multiple=True, type=click.Path(path_type=Path), help="Recordings for --bundle.")
@click.option("--windows", default=96, show_default=True, help="About how many to calibrate on, and to judge by.")
@click.option("--min-cosine", default=gate.INT8_AIM.cosine_mean, show_default=True, help="What our ladder must reach.")
@click.option(
    "--modelopt", type=click.Path(path_type=Path), help="Environment of Model Optimizer, made there if there is none."
)
@click.option("--out", type=Output(dir_okay=False), help="Also write the numbers here, as JSON.")
def command(
    folder: Path | None,
    calibration: tuple[Path, ...],
    windows: int,
    min_cosine: float,
    modelopt: Path | None,
    out: Path | None,
) -> None:
    """Quantise the same encoder with edgebind and its peers, and compare."""
    if folder is None:
        subjects = [starter_subject(modality, windows) for modality in starter.MODALITIES]
    else:
        subjects = [bundle_subject(folder, calibration, windows)]
    results = []
    for subject in subjects:
        bars = Bars(min_cosine, gate.INT8.cosine_p1, gate.INT8.agreement)
        rows = compare(subject, modelopt, bars, lambda stage: click.echo(stage, err=True))
        held = count(subject.held_out)
        click.echo(f"{subject.name}, {count(subject.calibration)} windows to calibrate on, {held} to judge by")
        click.echo("\n".join(_table(rows)))
        results.append({"subject": subject.name, "held_out": held, "rows": [asdict(row) for row in rows]})
    if out is not None:
        from edgebind import atomic

        atomic.write_json(out, {"machine": machine.describe(), "results": results})


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.quantisers"))
