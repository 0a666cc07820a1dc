"""How near an encoder comes to what the machine can do at all: the roofline of Williams, Waterman and Patterson (2009).

    within reach = min(peak, operations a byte x bandwidth)

Peak and bandwidth are measured, not taken from a data sheet: two large matrix products in the same runtime, in the same
precision and with as many threads as the encoder; and copies of memory too large for any cache. A multiplication with its
addition is two operations. Bytes are the least that must move: weights once a call, input and output. Caches that keep
small weights from call to call let an encoder do better than that.
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import backends, bundle
from edgebind.backends.base import Backend
from edgebind.benchmarks import contestants, device_time
from edgebind.benchmarks.contestants import Contestant
from edgebind.errors import EdgebindError, MissingDependencyError
from edgebind.manifest import Manifest

SIZES = {"onnxruntime": (512, 2)}
"""Side of the square matrices, and number of products. On a processor so small that a call is not interrupted, ..."""
SIZE = (4096, 4)
"""... on a GPU so large that all of it has work for long."""
SECONDS = 0.5
COPIED = 1 << 28
"""Bytes copied at once, in all threads together."""


@dataclass(frozen=True, slots=True)
class Work:
    """What one window costs, whoever computes it."""

    macs: int
    weight_bytes: int
    """Of the graph that runs: read once a call, however many windows it has."""
    window_bytes: int
    """Input and output."""

    def intensity(self, batch: int) -> float:
        """Operations a byte of the least traffic."""
        return 2 * self.macs * batch / (self.weight_bytes + batch * self.window_bytes)


@dataclass(frozen=True, slots=True)
class Roof:
    """What this machine can do in one runtime and precision."""

    peak_gops: float
    bandwidth_gbs: float
    spent_gops: float | None = None
    """The peak by the processor's time, as if its threads had never been interrupted; None where a GPU computes."""

    @classmethod
    def measure(cls, backend: Backend, manifest: Manifest) -> Roof:
        """The roof over an encoder: on the same backend, in the same precision, with as many threads."""
        threads: int | None = getattr(backend, "threads", None)
        own = device_time.copy_gbs(backend)  # of a device with memory of its own
        peak, spent = peaks_gops(backend.name, manifest, threads)
        if own is not None or threads is None:
            return cls(peak, own if own is not None else copy_gbs(1))
        return cls(peak, copy_gbs(threads), spent)

    def place(self, work: Work, batch: int, call_ms: float, spent_ms: float | None = None) -> dict[str, Any]:
        """Where a call of `batch` windows that takes `call_ms` lies under the roof.

        `spent_ms`, the processor's time of all its threads, gives its share of the peak on that clock, which is the one to
        believe on a busy machine.
        """
        intensity, gops = work.intensity(batch), 2 * work.macs * batch / call_ms / 1e6
        by_memory = intensity * self.bandwidth_gbs
        reach = min(self.peak_gops, by_memory)
        return {
            "gmac_per_window": work.macs / 1e9,
            "weight_bytes": work.weight_bytes,
            "intensity": round(intensity, 3),
            "gops": round(gops, 3),
            "peak_gops": round(self.peak_gops, 3),
            "bandwidth_gbs": round(self.bandwidth_gbs, 3),
            "attainable_gops": round(reach, 3),
            "of_attainable_percent": round(100 * gops / reach, 2),
            "of_peak_percent": round(100 * gops / self.peak_gops, 2),
            "bound_by": "arithmetic" if self.peak_gops <= by_memory else "memory",
            **self._by_processor(2 * work.macs * batch, spent_ms),
        }

    def _by_processor(self, operations: int, spent_ms: float | None) -> dict[str, float]:
        if not spent_ms or self.spent_gops is None:
            return {}
        return {"of_peak_by_processor_percent": round(100 * operations / spent_ms / 1e6 / self.spent_gops, 2)}


def add(results: Sequence[dict[str, Any]], entrants: Sequence[Contestant]) -> dict[str, str]:
    """Give each result its `roofline`; returns {name: why not} of contestants whose graph or roof cannot be told."""
    roofs: dict[tuple[str, str, int | None], Roof] = {}
    missing = {}
    for one in entrants:
        rows = [row for row in results if (row["bundle"], row["backend"]) == _key(one)]
        try:
            work, roof = count(one), _roof_of(one, roofs)
        except EdgebindError as error:
            missing[one.name] = str(error)
            continue
        for row in rows:
            row["roofline"] = roof.place(work, row["batch"], row["p50_ms"], row["cpu_ms"])
    return missing


def _key(one: Contestant) -> tuple[str, str]:
    return str(one.folder), one.opened.backend.name


def count(one: Contestant) -> Work:
    """Work of one window, counted in the bundle's graph.

    Raises
    ------
    MissingDependencyError: onnx is not installed.
    """
    whole = one.folder / bundle.ENCODER
    ran = Path(getattr(one.opened.backend, "graph", whole))
    work = count_graph(whole, ran, contestants.example(one.opened, 1), one.opened.manifest.dim)
    taken = one.feed(1)[one.opened.backend.input_name].nbytes  # pixels are fewer bytes than what the graph reads
    return replace(work, window_bytes=taken + 4 * one.opened.manifest.dim)


def count_graph(graph: Path, ran: Path, window: np.ndarray, dim: int) -> Work:
    """The same of two graphs: `graph` whose products are counted, and `ran` whose weights are read.

    Parameters
    ----------
    window: one input, (1, ...).
    """
    from edgebind.calibration.graph import Graph

    macs = sum(Graph.read(graph).macs(window, graph).values())
    return Work(macs, _bytes(Graph.read(ran).weights), window.nbytes + 4 * dim)


def _bytes(weights: Mapping[str, Any]) -> int:
    import onnx

    sizes = {
        kind: onnx.helper.tensor_dtype_to_np_dtype(kind).itemsize for kind in {w.data_type for w in weights.values()}
    }
    return sum(int(np.prod(tensor.dims)) * sizes[tensor.data_type] for tensor in weights.values())


def _roof_of(one: Contestant, known: dict[tuple[str, str, int | None], Roof]) -> Roof:
    backend, manifest = one.opened.backend, one.opened.manifest
    key = (backend.name, manifest.precision, getattr(backend, "threads", None))
    if key not in known:
        known[key] = Roof.measure(backend, manifest)
    return known[key]


def peaks_gops(backend: str, like: Manifest, threads: int | None) -> tuple[float, float]:
    """Operations in 10⁹ of large matrix products on that backend in the precision of `like`: a second, and a second of one thread.

    Raises
    ------
    MissingDependencyError: onnx is not installed.
    """
    side, products = SIZES.get(backend, SIZE)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / "products"
        files = _graphs(like.precision, side, products)
        written = bundle.write(folder, replace(like, dim=side, labels=(), files={}), files)
        with backends.open_backend(backend, folder, written, threads=threads) as opened:
            wall, spent = _fastest(opened, side)
        operations = 2 * products * side**3
        return operations / wall / 1e9, operations / spent / 1e9


def _fastest(opened: Backend, side: int) -> tuple[float, float]:
    """Seconds of the shortest call, of the GPU alone where the backend can tell: a roof is what can be reached. And the
    processor's seconds of the call that took the fewest, all threads together."""
    row = np.random.default_rng(0).uniform(-1, 1, (1, side)).astype(np.float32)
    taken: list[tuple[float, float]] = []
    stop = time.perf_counter() + SECONDS
    while len(taken) < 3 or time.perf_counter() < stop:
        spent, begun = time.process_time(), time.perf_counter()
        opened.infer_unchecked(row)
        took = time.perf_counter() - begun
        alone_ms = device_time.engine_ms(opened, 1)
        taken.append((took if alone_ms is None else alone_ms / 1e3, time.process_time() - spent))
    wall, processor = np.array(taken).min(axis=0)
    return float(wall), float(processor)


def copy_gbs(threads: int) -> float:
    """Bytes read and written a second, in 10⁹, when that many threads copy memory."""
    size = COPIED // threads
    pairs = [(np.ones(size, np.uint8), np.zeros(size, np.uint8)) for _ in range(threads)]
    taken = []
    for _ in range(5):
        workers = [threading.Thread(target=np.copyto, args=(target, source)) for source, target in pairs]
        begun = time.perf_counter()
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        taken.append(time.perf_counter() - begun)
    return 2 * size * threads / min(taken) / 1e9


# --- the products as graphs -------------------------------------------------------------------------------------------


def _graphs(precision: str, side: int, products: int) -> dict[str, Path | bytes]:
    """The files of a bundle that multiplies: the same layers as an encoder's, and nothing else."""
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        from edgebind import extras

        raise MissingDependencyError("onnx is not installed", remedy=extras.remedy("export")) from error
    if precision != "int8":
        return {bundle.ENCODER: _products(precision, side, products)}
    return {
        bundle.ENCODER: _products("s8s8", side, products),
        "encoder.u8s8.onnx": _products("u8s8", side, products),
        "encoder.u8u8.onnx": _products("u8u8", side, products),
    }


def _products(kind: str, side: int, products: int) -> bytes:
    """mean((C + x) @ W1 @ W2 ...): little goes in and out, and between it is products of square matrices and nothing else.

    In INT8 every product stands between quantised tensors, in FP16 all of them between casts.
    """
    from onnx import TensorProto, helper, numpy_helper

    constant, weights = matrices(kind, side, products)
    draw = _Drawing(kind)
    draw.arrays |= {"constant": constant, "rows": np.array([1])}
    value = draw.node("Add", [draw.node("Unsqueeze", ["input", "rows"]), "constant"])  # (batch, side, side)
    value = draw.node("Cast", [value], to=TensorProto.FLOAT16) if kind == "fp16" else draw.quantised(value)
    for at, weight in enumerate(weights):
        value = draw.quantised(draw.node("MatMul", [value, draw.weight(f"w{at}", weight)]))
    value = draw.node("Cast", [value], to=TensorProto.FLOAT)
    draw.nodes.append(helper.make_node("ReduceMean", [value, "rows"], ["embedding"], keepdims=0))
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", side]) for name in ("input", "embedding")]
    kept = [numpy_helper.from_array(array, name) for name, array in draw.arrays.items()]
    graph = helper.make_graph(draw.nodes, "products", ends[:1], ends[1:], kept)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    data: bytes = model.SerializeToString()
    return data


def matrices(kind: str, side: int, products: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """C and the W of `_products`, (side, side) each."""
    rng = np.random.default_rng(0)
    real = np.float16 if kind == "fp16" else np.float32
    constant = rng.uniform(-1, 1, (side, side)).astype(np.float32)
    return constant, [rng.uniform(-1, 1, (side, side)).astype(real) / 16 for _ in range(products)]


class _Drawing:
    """Nodes and arrays of a graph in the making."""

    def __init__(self, kind: str) -> None:
        self.nodes: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}
        types = {"s": np.int8, "u": np.uint8}
        self._types = (types[kind[0]], types[kind[2]]) if kind.endswith("8") else None

    def node(self, op: str, inputs: list[str], **attributes: Any) -> str:
        from onnx import helper

        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def quantised(self, value: str) -> str:
        """Through INT8 and back; as it is in other precisions."""
        if self._types is None:
            return value
        scale, zero = self._scale(self._types[0], 1 / 127)
        return self.node("DequantizeLinear", [self.node("QuantizeLinear", [value, scale, zero]), scale, zero])

    def weight(self, name: str, array: np.ndarray) -> str:
        if self._types is None:
            self.arrays[name] = array
            return name
        offset = 128 if self._types[1] is np.uint8 else 0
        self.arrays[name] = (np.round(array * 16 * 127) + offset).astype(self._types[1])
        return self.node("DequantizeLinear", [name, *self._scale(self._types[1], 1 / 16 / 127)])

    def _scale(self, kind: Any, scale: float) -> list[str]:
        names = [f"scale{scale:.6f}", f"zero{kind.__name__}"]
        self.arrays[names[0]] = np.array(scale, np.float32)
        self.arrays[names[1]] = np.array(128 if kind is np.uint8 else 0, kind)
        return names
