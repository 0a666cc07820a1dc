"""Which outside files does an ONNX graph read? Answered without the `onnx` package, which a device does not have.

A tensor whose values live in another file says so in `TensorProto.external_data`. A graph from a stranger may name any
path there, so a bundle opens only graphs whose outside files are its own. The walk below reads protobuf's wire format:
each field is a varint `number << 3 | kind`, then a varint (kind 0), eight bytes (1), a length and bytes (2) or four
bytes (5). Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgebind.errors import BundleError

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5

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


_LARGEST_TAG = 0xFFFF_FFFF
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
    for number, payload in _fields(message):
        child = _CHILDREN[kind].get(number)
        if child == "Entry":
            key, value = _entry(payload)
            if key == "location":
                yield value
        elif child is not None:
            yield from _walk(payload, child, depth + 1)


def _entry(message: memoryview) -> tuple[str, str]:
    """Key and value of a StringStringEntryProto."""
    parts = {number: bytes(payload).decode() for number, payload in _fields(message)}
    return parts.get(1, ""), parts.get(2, "")


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """(field number, payload) of each length-delimited field; numbers are skipped over."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        # Readers cut a longer tag to 32 bits and then see another field than we would: nothing honest writes one.
        if tag > _LARGEST_TAG or number == 0:
            raise ValueError("a field number that ONNX does not have")
        if kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise ValueError("a field is longer than its message")
            yield number, message[at : at + length]
            at += length
        else:
            at = _skip(message, at, kind)
    if at != len(message):
        raise ValueError("a field is longer than its message")


def _skip(message: memoryview, at: int, kind: int) -> int:
    if kind == _VARINT:
        return _varint(message, at)[1]
    if kind == _EIGHT_BYTES:
        return at + 8
    if kind == _FOUR_BYTES:
        return at + 4
    raise ValueError(f"wire kind {kind} is not used by ONNX")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number longer than ten bytes")
