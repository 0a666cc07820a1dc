"""Simplify a graph with onnxsim: constants folded, BatchNorm in its convolution, shapes known, GELU as runtimes know it; names and batch kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgebind import extras
from edgebind.calibration.graph import require_onnx
from edgebind.errors import ExportError, MissingDependencyError
from edgebind.export import gelu

LARGE = 1_900_000_000
"""Bytes of weights above which a graph keeps them in a file of their own; protobuf ends at 2 GiB."""


def simplify(source: Path, target: Path) -> None:
    """Write the simplified graph of `source` to `target`, with weights beside it in `<target>.data` if they are large.

    Raises
    ------
    MissingDependencyError: onnx or onnxsim is not installed.
    ExportError: onnxsim fails, or returns a graph with another input or output.
    """
    onnx = require_onnx()
    if weight_bytes(source) > LARGE:
        # onnxsim would hold the whole graph several times over; torch has folded what matters, and engines fold the rest.
        move(source, target)
        large = onnx.load(target, load_external_data=False)
        if gelu.reorder(large):
            onnx.save(large, target)
        return
    model = onnx.load(source)
    try:
        simplified, fine = _onnxsim().simplify(model)
    except Exception as error:  # onnxsim raises what its C++ core raises
        raise ExportError(f"onnxsim failed: {str(error).splitlines()[0][:200]}", where=source) from error
    if not fine or _ends(simplified) != _ends(model):
        raise ExportError("onnxsim changed the graph's ends", where=source, wanted=_ends(model), got=_ends(simplified))
    gelu.reorder(simplified)
    onnx.save(simplified, target)


def weight_bytes(graph: Path) -> int:
    """Size of a graph with the file its weights lie in."""
    data = graph.with_name(graph.name + ".data")
    return graph.stat().st_size + (data.stat().st_size if data.exists() else 0)


def move(source: Path, target: Path) -> None:
    """Move a graph, and rename the file of its weights along with it."""
    onnx = require_onnx()
    data = source.with_name(source.name + ".data")
    if not data.exists():
        source.replace(target)
        return
    model = onnx.load(source, load_external_data=False)
    location = target.name + ".data"
    for tensor in model.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    onnx.save(model, target)
    data.replace(target.with_name(location))
    source.unlink()


def _onnxsim() -> Any:
    try:
        import onnxsim
    except ImportError as error:
        raise MissingDependencyError("onnxsim is not installed", remedy=extras.remedy("export")) from error
    return onnxsim


def _ends(model: Any) -> tuple[Any, ...]:
    """Names and shapes of inputs, names of outputs."""
    inputs = tuple(
        (item.name, *(d.dim_param or d.dim_value for d in item.type.tensor_type.shape.dim))
        for item in model.graph.input
    )
    return inputs, tuple(item.name for item in model.graph.output)
