"""Tiny bundles with an encoder that can be worked out by hand: the input flattened, cut to `dim`, made a unit vector."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from edgebind import bundle
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest, WindowSpec

DIM = 4
IMU = Manifest(
    space="test",
    modality="imu",
    dim=DIM,
    precision="fp32",
    logit_scale=10.0,
    window=WindowSpec(
        rate_hz=10.0,
        seconds=1.0,
        hop_seconds=0.5,
        channels=("ax", "ay", "az", "gx", "gy", "gz"),
        units=("m/s²",) * 3 + ("rad/s",) * 3,
    ),
    preprocess={"kind": "imu"},
)
BANK = LabelBank(("a", "b"), np.eye(2, DIM, dtype=np.float32))


def encoder(
    shape: tuple[int, ...] = (6, 10), dim: int = DIM, *, weights: np.ndarray | None = None, whole: bool = False
) -> bytes:
    """ONNX of x -> flatten -> weights -> unit rows; by default the weights pick the first `dim` inputs.

    `whole`: the input is int64, as a text tower's.
    """
    flat = int(np.prod(shape))
    matrix = np.eye(flat, dim, dtype=np.float32) if weights is None else weights.astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["input"], ["real"], to=TensorProto.FLOAT),
        helper.make_node("Flatten", ["real"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["raw"]),
        helper.make_node("ReduceL2", ["raw", "axes"], ["length"], keepdims=1),
        helper.make_node("Div", ["raw", "length"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("input", TensorProto.INT64 if whole else TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(matrix, "weights"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


def write(folder: Path, manifest: Manifest = IMU, bank: LabelBank | None = BANK, **files: bytes) -> Path:
    """Write a bundle with the tiny encoder; `files` are further files by their stem: `encoder_u8s8=b"..."`."""
    sources: dict[str, Any] = {bundle.ENCODER: encoder((6, manifest.window.length), manifest.dim)}
    sources |= {name.replace("_", ".") + ".onnx": data for name, data in files.items()}
    if bank is not None:
        path = folder.with_suffix(".npz")
        bank.to_npz(path)
        sources[bundle.LABELS] = path.read_bytes()
        path.unlink()
        manifest = replace(manifest, labels=bank.prompts)
    bundle.write(folder, manifest, sources)
    return folder


def write_watcher(folder: Path, size: int = 8) -> Path:
    """Write a bundle that sees pictures: the first numbers of the resized one as a vector."""
    window = WindowSpec(8.0, 0.125, 0.125, ("red", "green", "blue"), ("grey level",) * 3)
    preprocess = {"kind": "vision", "size": size, "resize": "squash"}
    manifest = replace(IMU, modality="vision", window=window, preprocess=preprocess)
    bundle.write(folder, manifest, {bundle.ENCODER: encoder((3, size, size))})
    return folder


def write_listener(folder: Path) -> Path:
    """Write a bundle that hears: one 2 s clip a window, and the first numbers of its log-mel as a vector."""
    window = WindowSpec(16000.0, 2.0, 1.0, ("pressure",), ("full scale",))
    manifest = replace(IMU, modality="audio", window=window, preprocess={"kind": "audio", "clips": 1})
    bundle.write(folder, manifest, {bundle.ENCODER: encoder((1, 1, 128, 204))})
    return folder


def write_seer(folder: Path, size: int = 32, **constants: Any) -> Path:
    """Write a bundle that sees colour: a picture times drawn weights, as a unit vector. `constants` are its preprocessor's."""
    manifest = replace(
        IMU,
        modality="vision",
        window=WindowSpec.of_imagebind("vision"),
        preprocess={"kind": "vision", "size": size, **constants},
    )
    weights = np.random.default_rng(0).normal(size=(3 * size * size, DIM))
    bundle.write(folder, manifest, {bundle.ENCODER: encoder((3, size, size), weights=weights)})
    return folder
