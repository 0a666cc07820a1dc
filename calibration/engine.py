"""Runs graphs for calibration: whole encoders, and encoders with their inner tensors as extra outputs."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import cpu, extras
from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.calibration.batches import Batch, inputs
from edgebind.errors import BackendError, CalibrationError, MissingDependencyError

BATCH = 8
"""Windows a call when whole encoders run; more gains nothing on a CPU and costs memory."""


def embed(graph: Path, batches: Sequence[Batch], *, optimise: bool) -> NDArray[np.float32]:
    """Vectors of all windows, in order: (windows, dim).

    Raises
    ------
    BackendError: the graph does not load, or returns values that are no numbers.
    """
    with OnnxRuntimeBackend(graph, optimise=optimise) as backend:
        rows = [backend.infer({backend.input_name: windows})[backend.output_name] for windows in inputs(batches, BATCH)]
    if not rows:
        raise CalibrationError("no windows to embed", remedy="give longer recordings")
    return np.concatenate(rows)


class Tap:
    """An encoder that also returns some of its inner tensors.

    A graph whose weights lie in a file of their own is written once more beside it, without them; others need no file.
    """

    def __init__(self, graph: Path, tensors: Sequence[str], *, optimise: bool = True) -> None:
        """Tap `tensors`; without `optimise` the graph runs as written."""
        with _with_outputs(graph, tensors) as tapped:
            self._session: Any = session(tapped, graph, optimise=optimise)
        self._tensors = list(tensors)
        self._input = self._session.get_inputs()[0]

    def run(self, windows: np.ndarray, recording: str = "") -> dict[str, np.ndarray]:
        """{tensor: values} for one batch; the graph's own input is among them, wanted or not.

        Raises
        ------
        CalibrationError: the batch has the wrong shape.
        """
        want = tuple(self._input.shape[1:])
        if windows.ndim != 1 + len(want) or any(
            isinstance(w, int) and w != g for w, g in zip(want, windows.shape[1:], strict=True)
        ):
            raise CalibrationError("windows of the wrong shape", where=recording, wanted=want, got=windows.shape[1:])
        feed = {self._input.name: np.ascontiguousarray(windows)}
        inner = [name for name in self._tensors if name != self._input.name]  # the input is known already
        values = (
            self._session.run(inner, feed) if inner else []
        )  # asked for nothing, it would return the graph's output
        return feed | dict(zip(inner, values, strict=True))

    def close(self) -> None:
        self._session = None

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _with_outputs(graph: Path, tensors: Sequence[str]) -> Iterator[str | bytes]:
    import onnx

    from edgebind import onnx_external

    model = onnx.load(graph, load_external_data=False)
    known = {output.name for output in model.graph.output} | {item.name for item in model.graph.input}
    new = [onnx.ValueInfoProto(name=name) for name in tensors if name not in known]
    if not onnx_external.locations(graph):
        # Protobuf reads one message behind another as one message, so a gigabyte of weights need not be written anew.
        yield graph.read_bytes() + onnx.ModelProto(graph=onnx.GraphProto(output=new)).SerializeToString()
        return
    model.graph.output.extend(new)
    # Beside the original, because the places of external weights are relative to the graph's folder.
    with tempfile.NamedTemporaryFile(prefix=".tap.", suffix=".onnx", dir=graph.parent) as stream:
        stream.write(model.SerializeToString())
        stream.flush()
        yield stream.name


def session(source: str | bytes | Path, graph: Path, *, optimise: bool = True) -> Any:
    """An ONNX Runtime session of `source`, which was made from `graph`.

    Raises
    ------
    BackendError: onnxruntime refuses it.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime is not installed", remedy=extras.remedy("export")) from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cpu.default_threads()
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        raise BackendError(f"onnxruntime cannot load it: {str(error).splitlines()[0][:300]}", where=graph) from error
