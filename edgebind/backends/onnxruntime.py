"""ONNX Runtime: every machine without an NVIDIA GPU, and the oracle for those with one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import cpu, extras
from edgebind.backends.base import Feed
from edgebind.closing import Closing
from edgebind.errors import BackendError, MissingDependencyError, OptionError
from edgebind.manifest import Manifest

_TYPES = {"tensor(float)": np.float32, "tensor(int64)": np.int64, "tensor(float16)": np.float16}


SMALL = 8_000_000
"""Bytes: below, waking a second thread takes longer than it saves (0.13 ms against 0.075 ms a window, starter IMU INT8)."""


def graph_name(manifest: Manifest, *, vnni: bool | None = None, arm: bool | None = None) -> str:
    """Which graph of a bundle is right, and fastest among the right ones, on this processor.

    On x86 without VNNI, U8S8 kernels add pairs of products in 16 bits and saturate: the same weights gave a cosine of
    0.82 to FP32 where U8U8 gave 0.999. With VNNI, U8S8 is exact and the fastest. ARM's kernels sum in 32 bits, so U8S8 is right
    there too; the graph for TensorRT is not, because ONNX Runtime fuses none of its convolutions.
    """
    vnni = cpu.has_vnni() if vnni is None else vnni
    arm = cpu.is_arm() if arm is None else arm
    if manifest.precision != "int8":
        return "encoder.onnx"
    wanted = "encoder.u8s8.onnx" if vnni or arm else "encoder.u8u8.onnx"
    return wanted if wanted in manifest.files else "encoder.onnx"


class OnnxRuntimeBackend(Closing):
    """One ONNX graph on the CPU, with a bounded number of threads."""

    name = "onnxruntime"

    def __init__(self, graph: Path, *, threads: int | None = None, optimise: bool = True) -> None:
        """Load `graph`.

        Parameters
        ----------
        threads: upper bound; None takes one for a small graph, and `edgebind.cpu.default_threads()` for others.
        optimise: False runs the graph as written, so that a Q/DQ graph shows its own accuracy.

        Raises
        ------
        MissingDependencyError: onnxruntime is not installed.
        BackendError: the graph is not one encoder, or onnxruntime refuses it.
        """
        self.graph = graph
        self._session = _session(graph, threads, optimise)
        self.threads: int = self._session.get_session_options().intra_op_num_threads
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BackendError(
                "not an encoder", where=graph, wanted="1 input, 1 output", got=f"{len(inputs)}, {len(outputs)}"
            )
        self.input_name: str = inputs[0].name
        self.output_name: str = outputs[0].name
        self._dtype = _TYPES.get(inputs[0].type, np.float32)
        self._shape = tuple(inputs[0].shape[1:])

    @classmethod
    def from_bundle(cls, folder: Path, manifest: Manifest, *, threads: int | None = None) -> OnnxRuntimeBackend:
        return cls(folder / graph_name(manifest), threads=threads)

    def infer(self, feed: Feed) -> dict[str, NDArray[np.float32]]:
        """Run one batch: {input: (batch, ...)} -> {output: (batch, dim)}.

        Raises
        ------
        BackendError: closed, wrong name or shape, or an output with values that are no numbers.
        """
        if self._session is None:
            raise BackendError("the encoder is closed", where=self.graph, remedy="open it again")
        if self.input_name not in feed:
            raise BackendError("no such input", where=self.graph, wanted=self.input_name, got=sorted(feed))
        value = np.ascontiguousarray(feed[self.input_name], dtype=self._dtype)
        if not self._fits(value.shape):
            raise BackendError(
                "input of the wrong shape", where=self.graph, wanted=("batch", *self._shape), got=value.shape
            )
        output = self.infer_unchecked(value)
        if np.count_nonzero(np.isfinite(output)) != output.size:
            raise BackendError("the encoder returned values that are no numbers", where=self.graph)
        return {self.output_name: output}

    def infer_unchecked(self, value: NDArray[np.generic]) -> NDArray[np.float32]:
        """The bare call of ONNX Runtime: no check of the value's type, shape or numbers, nor of the output's."""
        (output,) = self._session.run([self.output_name], {self.input_name: value})
        return output

    def _fits(self, shape: tuple[int, ...]) -> bool:
        """Whether an input of that shape can be fed; names in the graph's shape stand for any size."""
        if shape[1:] == self._shape:
            return True
        if len(shape) != 1 + len(self._shape):
            return False
        pairs = zip(self._shape, shape[1:], strict=True)
        return all(not isinstance(want, int) or want == got for want, got in pairs)

    def close(self) -> None:
        self._session = None


def _session(graph: Path, threads: int | None, optimise: bool) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime is not installed", remedy=extras.remedy("cpu")) from error
    if not graph.is_file():
        raise BackendError("no such graph", where=graph)
    if threads is not None and threads < 1:
        raise OptionError("threads out of range", wanted="at least 1", got=threads)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or (1 if graph.stat().st_size < SMALL else cpu.default_threads())
    options.inter_op_num_threads = 1
    # Spinning burns whole cores between windows that come twice a second.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    try:
        return onnxruntime.InferenceSession(str(graph), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackendError(f"onnxruntime cannot load it: {reason[:300]}", where=graph) from error
