"""Parts of an ONNX graph as bytes, each a field of GraphProto. Field numbers are those of onnx.proto."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgebind.onnx_wire import nested, text, whole_number

NODE, INITIALISER, INPUT = 1, 5, 11
"""Fields of GraphProto."""
FLOAT, UINT8 = 1, 2
"""TensorProto's types."""
_AN_INT, _INTS = 2, 7
"""AttributeProto's types."""


def node(op: str, takes: list[str], gives: str, *attribute: bytes) -> bytes:
    """A NodeProto with one attribute, or without."""
    ends = [*(text(1, name) for name in takes), text(2, gives), text(3, f"{op} of {gives}"), text(4, op)]
    return nested(NODE, *ends, *([nested(5, *attribute)] if attribute else []))


def cast(takes: str, gives: str) -> bytes:
    """To float32."""
    return node("Cast", [takes], gives, text(1, "to"), whole_number(3, FLOAT), whole_number(20, _AN_INT))


def transpose(takes: str, gives: str, axes: tuple[int, ...]) -> bytes:
    order = [whole_number(8, axis) for axis in axes]
    return node("Transpose", [takes], gives, text(1, "perm"), *order, whole_number(20, _INTS))


def constant(name: str, values: NDArray[np.generic] | float) -> bytes:
    """A TensorProto, float32."""
    array = np.asarray(values, "<f4")
    dims = [whole_number(1, size) for size in array.shape]
    return nested(INITIALISER, *dims, whole_number(2, FLOAT), text(8, name), nested(9, array.tobytes()))


def pixels(name: str, shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto: the input, uint8 (batch, *shape)."""
    dims = [nested(1, text(2, "batch")), *(nested(1, whole_number(1, size)) for size in shape)]
    tensor = nested(1, whole_number(1, UINT8), nested(2, *dims))
    return nested(INPUT, text(1, name), nested(2, tensor))
