"""ONNX Runtime: every machine without an NVIDIA GPU, the oracle for those with one, and another way onto it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import cpu, cuda, extras, utf8
from edgebind.backends.base import Feed, checked, finite
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


Provider = tuple[str, dict[str, str]]
"""ONNX Runtime's name of it, and its options."""
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
"""How people call them -> how ONNX Runtime does."""


class OnnxRuntimeBackend(Closing):
    """One ONNX graph on the CPU with a bounded number of threads, or on a GPU through one of ONNX Runtime's providers."""

    takes_pixels = False
    frame: tuple[int, int] | None = None

    def __init__(
        self,
        graph: Path,
        *,
        threads: int | None = None,
        optimise: bool = True,
        provider: str = "cpu",
        precision: str = "fp32",
    ) -> None:
        """Load `graph`.

        Parameters
        ----------
        threads: upper bound; None takes one for a small graph, and `edgebind.cpu.default_threads()` for others.
        optimise: False runs the graph as written, so that a Q/DQ graph shows its own accuracy.
        provider: one of `PROVIDERS`; layers that it does not have run on the CPU.
        precision: of the graph, which the TensorRT provider must be told.

        Raises
        ------
        MissingDependencyError: onnxruntime is not installed, or lacks this provider, or the provider does not start.
        BackendError: the graph is not one encoder, or onnxruntime refuses it.
        """
        self.graph = graph
        self.name = "onnxruntime" if provider == "cpu" else f"onnxruntime-{provider}"
        self._session = _session(graph, threads, optimise, _providers(provider, precision))
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
    def from_bundle(
        cls, folder: Path, manifest: Manifest, *, threads: int | None = None, provider: str = "cpu"
    ) -> OnnxRuntimeBackend:
        # What the CPU's integer kernels want differs from what a GPU's do.
        graph = graph_name(manifest) if provider == "cpu" else "encoder.onnx"
        return cls(folder / graph, threads=threads, provider=provider, precision=manifest.precision)

    def infer(self, feed: Feed) -> dict[str, NDArray[np.float32]]:
        """Run one batch: {input: (batch, ...)} -> {output: (batch, dim)}.

        Raises
        ------
        BackendError: closed, wrong name or shape, or an output with values that are no numbers.
        """
        if self._session is None:
            raise BackendError("the encoder is closed", where=self.graph, remedy="open it again")
        value = checked(feed, self.input_name, self._shape, self._dtype, self.graph)
        return {self.output_name: finite(self.infer_unchecked(value), self.graph)}

    def infer_unchecked(self, value: NDArray[np.generic]) -> NDArray[np.float32]:
        """The bare call of ONNX Runtime: no check of the value's type, shape or numbers, nor of the output's."""
        (output,) = self._session.run([self.output_name], {self.input_name: value})
        return output

    def close(self) -> None:
        self._session = None


def _session(graph: Path, threads: int | None, optimise: bool, providers: Sequence[Provider]) -> Any:
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError("onnxruntime is not installed", remedy=extras.remedy("cpu")) from error
    if not graph.is_file():
        raise BackendError("no such graph", where=graph)
    utf8.require(graph)
    if threads is not None and threads < 1:
        raise OptionError("threads out of range", wanted="at least 1", got=threads)
    name = providers[0][0]
    _require(name)
    options = _options(onnxruntime, graph, threads, optimise)
    try:
        session = onnxruntime.InferenceSession(str(graph), options, providers=list(providers))
    except Exception as error:  # onnxruntime's exceptions share no base class
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BackendError(f"onnxruntime cannot load it: {reason[:300]}", where=graph) from error
    if session.get_providers()[0] != name:  # it says so in its log only, and takes the CPU
        raise MissingDependencyError(
            f"onnxruntime's {name} does not start here",
            remedy="its libraries of CUDA, cuDNN or TensorRT are missing",
        )
    return session


def _require(name: str) -> None:
    reason = why_not(next(provider for provider, known in PROVIDERS.items() if known == name))
    if reason:
        remedy = "pip install onnxruntime-gpu; on a Jetson, NVIDIA's own wheel for its JetPack"
        raise MissingDependencyError(reason, remedy=cuda.driver().reason or remedy)


def why_not(provider: str) -> str:
    """Why the installed onnxruntime does not have that provider; empty if it has. That it starts is another matter."""
    try:
        import onnxruntime
    except ImportError:
        return "onnxruntime is not installed"
    available = onnxruntime.get_available_providers()
    return "" if PROVIDERS[provider] in available else f"this onnxruntime has no {PROVIDERS[provider]}"


_BLOCKING = {"session.intra_op.allow_spinning": "0"}
"""Threads that wait sleep: spinning burns whole cores between windows that come twice a second."""
_SPINNING = {
    "session.intra_op.allow_spinning": "1",
    "session.intra_op.spin_duration_us": "50",
    "session.force_spinning_stop": "1",
}
"""From ONNX Runtime 1.26 on, threads may wait awake within a call, from one layer to the next, and no longer. On a busy machine
a long wait costs what a neighbour could use (ImageBind's IMU tower took 1.3 to 1.4 times as long with the default), on a quiet
one waking up does: 50 µs cover the small layers between large ones."""


def _release(onnxruntime: Any) -> tuple[int, ...]:
    return tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])


def _options(onnxruntime: Any, graph: Path, threads: int | None, optimise: bool) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or (1 if graph.stat().st_size < SMALL else cpu.default_threads())
    options.inter_op_num_threads = 1
    for key, value in _SPINNING.items() if _release(onnxruntime) >= (1, 26) else _BLOCKING.items():
        options.add_session_config_entry(key, value)
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return options


def _providers(provider: str, precision: str) -> list[Provider]:
    """The provider with its options, and after it those that run what it lacks."""
    processor: Provider = (PROVIDERS["cpu"], {})
    gpu: Provider = (PROVIDERS["cuda"], {"use_tf32": "0"})  # FP32 is FP32
    if provider != "tensorrt":
        return [gpu, processor] if provider == "cuda" else [processor]
    from edgebind.engines import store

    return [
        (
            PROVIDERS["tensorrt"],
            {
                "trt_engine_cache_enable": "1",
                "trt_engine_cache_path": str(store.default_cache() / "onnxruntime"),
                "trt_timing_cache_enable": "1",
                "trt_fp16_enable": str(int(precision != "fp32")),
                "trt_int8_enable": str(int(precision == "int8")),
            },
        ),
        gpu,
        processor,
    ]
