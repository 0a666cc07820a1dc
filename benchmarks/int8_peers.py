"""Other quantisers on the same FP32 graph and the same windows: each writes a graph with Q/DQ pairs.

ONNX Runtime              quantize_static: min-max, entropy, percentile; weights per channel; U8S8 and S8S8
NVIDIA Model Optimizer    max, entropy; in an environment of its own, since it wants other versions of much
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgebind.calibration.graph import Graph
from edgebind.errors import ExportError

LAYERS_ONLY = "layers"
"""Quantise what edgebind does: products with a constant weight."""
AS_SHIPPED = "all"
"""Quantise what the peer quantises by itself."""

MODELOPT = ("nvidia-modelopt==0.47.0",)
MODELOPT_NEEDS = (
    "torch", "onnx~=1.21.0", "onnxruntime~=1.24.2", "onnx-graphsurgeon", "onnxslim", "onnxconverter-common", "onnxscript",
    "polygraphy", "cppimport", "lief", "ml_dtypes", "numpy", "scipy", "rich", "tqdm", "regex", "safetensors", "pydantic",
    "nvidia-ml-py", "PuLP", "omegaconf", "packaging", "ninja", "setuptools",
)  # fmt: skip
"""Installed without its own list, which asks for CUDA's ONNX Runtime and CuPy: calibration runs on the CPU."""


@dataclass(frozen=True, slots=True)
class OrtPeer:
    """One way to call ONNX Runtime's static quantiser."""

    method: str
    """`MinMax`, `Entropy` or `Percentile`, a name of `CalibrationMethod`."""
    signed: bool
    """S8S8, symmetric, as TensorRT wants it; else U8S8, as CPUs want it."""
    what: str
    """`LAYERS_ONLY` or `AS_SHIPPED`."""

    @property
    def name(self) -> str:
        kind = "S8S8" if self.signed else "U8S8"
        return f"ONNX Runtime {self.method.lower()} {kind}, {self.what}"

    def write(self, graph: Path, windows: np.ndarray, target: Path) -> None:
        """Calibrate on `windows` (n, ...) and write the INT8 version of `graph`."""
        from onnxruntime import quantization

        source = Graph.read(graph)
        kind = quantization.QuantType
        layers_only = self.what == LAYERS_ONLY
        level = logging.getLogger().level
        logging.getLogger().setLevel(logging.ERROR)  # it advises to preprocess a graph that is simplified already
        try:
            quantization.quantize_static(
                str(graph),
                str(target),
                _Reader(source.input, windows),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv", "Gemm", "MatMul"] if layers_only else None,
                nodes_to_exclude=_products_of_activations(source) if layers_only else None,
                per_channel=True,
                activation_type=kind.QInt8 if self.signed else kind.QUInt8,
                weight_type=kind.QInt8,
                calibrate_method=getattr(quantization.CalibrationMethod, self.method),
                extra_options={"ActivationSymmetric": self.signed, "QuantizeBias": not self.signed},
            )
        finally:
            logging.getLogger().setLevel(level)


class _Reader:
    """Windows one by one, as `CalibrationDataReader` is asked for them."""

    def __init__(self, name: str, windows: np.ndarray) -> None:
        self._feeds: Iterator[dict[str, np.ndarray]] = ({name: row[None]} for row in windows)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self._feeds, None)


def _products_of_activations(source: Graph) -> list[str]:
    layers = {layer.name for layer in source.layers}
    nodes: list[Any] = [n for n in source.model.graph.node if n.op_type in ("Conv", "Gemm", "MatMul")]
    return [node.name for node in nodes if node.output[0] not in layers]


def ort_peers() -> list[OrtPeer]:
    """All that are compared."""
    return [
        OrtPeer(method, signed, what)
        for what in (LAYERS_ONLY, AS_SHIPPED)
        for signed in (True, False)
        for method in ("MinMax", "Entropy", "Percentile")
    ]


@dataclass(frozen=True, slots=True)
class ModelOptimizer:
    """NVIDIA Model Optimizer, called in the environment `folder`."""

    method: str
    """`max` or `entropy`."""
    folder: Path

    @property
    def name(self) -> str:
        return f"Model Optimizer {self.method}"

    def write(self, graph: Path, windows: np.ndarray, target: Path) -> None:
        """Calibrate on `windows` (n, ...) and write the INT8 version of `graph`, FP16 around.

        Raises
        ------
        ExportError: it fails, with the last line of what it said.
        """
        data = target.with_suffix(".npy")
        np.save(data, windows)
        child = Path(__file__).resolve().with_name("modelopt_child.py")
        _run([str(_python(self.folder)), str(child), str(graph), str(data), self.method, str(target)])
        data.unlink()


def make_environment(folder: Path) -> None:
    """A virtual environment with Model Optimizer, made once; about 1 GB.

    Raises
    ------
    ExportError: it cannot be installed.
    """
    if _python(folder).exists():
        return
    _run([sys.executable, "-m", "venv", str(folder)])
    install = [str(_python(folder)), "-m", "pip", "install", "-q"]
    _run([*install, *MODELOPT_NEEDS])
    _run([*install, "--no-deps", *MODELOPT])


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _run(command: list[str]) -> None:
    # Another environment's packages must not be found through ours.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise ExportError(said[-1][:300] if said else "failed without a word", where=" ".join(command[:3]))
