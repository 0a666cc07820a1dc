"""Which outside files does an ONNX graph read? Answered without the `onnx` package, which a device does not have.

A tensor whose values live in another file says so in `TensorProto.external_data`. A graph from a stranger may name any
path there, so a bundle opens only graphs whose outside files are its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgebind.errors import BundleError
from edgebind.onnx_wire import fields

# message -> field number -> message of that field. Everything that can lead to a TensorProto is followed.
_CHILDREN: dict[str, dict[int, str]] = {
    "Model": {7: "Graph", 20: "Training", 25: "Function"},
    "Training": {1: "Graph", 2: "Graph"},
    "Graph": {1: "Node", 5: "Tensor", 15: "SparseTensor"},
    "Function": {7: "Node", 11: "Attribute"},
    "Node": {5: "Attribute"},
    "Attribute": {5: "Tensor", 6: "Graph", 10: "Tensor", 11: "Graph", 22: "SparseTensor", 23: "SparseTensor"},
    "SparseTensor": {1: "Tensor", 2: "Tensor"},
    "Tensor": {13: "Entry"},
}

_DEEPEST = 64
"""Messages inside messages; an honest graph has a handful, an If in an If in an If."""


def locations(graph: Path) -> set[str]:
    """The `location` of every external tensor in the ONNX file `graph`, exactly as written there.

    Raises
    ------
    BundleError: the file is not a readable ONNX graph.
    """
    try:
        found = set(_walk(memoryview(graph.read_bytes()), "Model", 0))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise BundleError("not a readable ONNX graph", where=graph, remedy="export the bundle again") from error
    return found


def _walk(message: memoryview, kind: str, depth: int) -> Iterator[str]:
    if depth > _DEEPEST:
        raise ValueError("messages nested too deeply")
    for field in fields(message):
        child = _CHILDREN[kind].get(field.number)
        if child == "Entry":
            key, value = _entry(field.payload)
            if key == "location":
                yield value
        elif child is not None:
            yield from _walk(field.payload, child, depth + 1)


def _entry(message: memoryview) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    parts = {field.number: bytes(field.payload).decode() for field in fields(message)}
    return parts.get(1, ""), parts.get(2, "")
