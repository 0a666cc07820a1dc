"""An encoder's graph with the tail of its preprocessing in front: 8-bit pixels in, the same vectors out.

    pixels (batch, height, width, 3) uint8 -> Cast -> Transpose -> Div -> Sub -> Div -> the encoder's own input

The operations are those of `edgebind.preprocess.tail.Tail`, in its order and in float32. TensorRT takes 8-bit integers at a
network's border only, and wants them cast there: hence Cast before Transpose.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgebind.errors import BundleError
from edgebind.onnx_wire import fields, header, nested, text, whole_number
from edgebind.preprocess.tail import FULL, Tail

INPUT = "pixels"
"""Name of the new input."""
_MODEL_GRAPH, _GRAPH_NODE, _GRAPH_INITIALISER, _GRAPH_INPUT = 7, 1, 5, 11
_FLOAT, _UINT8 = 1, 2
"""TensorProto's numbers."""
_AN_INT, _INTS = 2, 7
"""AttributeProto's."""


def in_front_of(graph: Path, tail: Tail) -> bytes:
    """The ONNX file `graph`, which then takes pixels. Weights in files beside it stay there.

    Raises
    ------
    BundleError: no readable ONNX graph, or one whose input is not what `tail` makes.
    """
    try:
        return b"".join(_model(_mapped(graph), tail))
    except _UnfitError as error:
        height, width, channels = tail.shape
        wanted = f"float32 (batch, {channels}, {height}, {width})"
        raise BundleError(
            "the encoder's input is not what its preprocessing makes", where=graph, wanted=wanted
        ) from error
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise BundleError("not a readable ONNX graph", where=graph, remedy="export the bundle again") from error


def _mapped(graph: Path) -> memoryview:
    """The file's bytes without a copy of them: an encoder may be as large as a small board's free memory."""
    with open(graph, "rb") as file:
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _UnfitError(Exception):
    """The graph takes something else."""


def _model(model: memoryview, tail: Tail) -> Iterator[bytes | memoryview]:
    everything = list(fields(model))
    if [field.number for field in everything].count(_MODEL_GRAPH) != 1:
        raise ValueError("not one graph")
    for field in everything:
        if field.number == _MODEL_GRAPH:
            parts = list(_graph(field.payload, tail))
            yield header(_MODEL_GRAPH, sum(map(len, parts)))
            yield from parts
        else:
            yield field.whole


def _graph(graph: memoryview, tail: Tail) -> Iterator[bytes | memoryview]:
    """New nodes come first, because nodes stand in the order of their work; the order of different fields is free."""
    everything = list(fields(graph))
    inputs = [field.payload for field in everything if field.number == _GRAPH_INPUT]
    yield from _prologue(_name_of(inputs, tail), tail)
    yield from (field.whole for field in everything if field.number != _GRAPH_INPUT)


def _name_of(inputs: list[memoryview], tail: Tail) -> str:
    """The name of the only input, if it is what `tail` makes."""
    if len(inputs) != 1:
        raise _UnfitError
    height, width, channels = tail.shape
    tensor = _inner(_inner(inputs[0], 2), 1)
    kind = [field.value for field in fields(tensor) if field.number == 1]
    sizes = [[part.value for part in fields(dim.payload) if part.number == 1] for dim in fields(_inner(tensor, 2))]
    if kind != [_FLOAT] or sizes[1:] != [[channels], [height], [width]]:
        raise _UnfitError
    return bytes(_inner(inputs[0], 1)).decode()


def _inner(message: memoryview, number: int) -> memoryview:
    """The last field of that number, which is the one that counts; empty where there is none."""
    return ([message[:0]] + [field.payload for field in fields(message) if field.number == number])[-1]


def _prologue(name: str, tail: Tail) -> Iterator[bytes]:
    """Input, constants and nodes that make the tensor `name` of `pixels`."""
    made = [INPUT, *(f"{INPUT}/{step}" for step in ("real", "planes", "unit", "centred")), name]
    constants = {"full": (FULL,), "mean": tail.mean, "std": tail.std}
    yield _input(tail.shape)
    yield from (_constant(f"{INPUT}/{which}", values) for which, values in constants.items())
    yield _node("Cast", made[:1], made[1], text(1, "to"), whole_number(3, _FLOAT), whole_number(20, _AN_INT))
    axes = [whole_number(8, axis) for axis in (0, 3, 1, 2)]
    yield _node("Transpose", made[1:2], made[2], text(1, "perm"), *axes, whole_number(20, _INTS))
    for at, (op, which) in enumerate((("Div", "full"), ("Sub", "mean"), ("Div", "std")), 2):
        yield _node(op, [made[at], f"{INPUT}/{which}"], made[at + 1])


def _input(shape: tuple[int, ...]) -> bytes:
    """A ValueInfoProto: uint8 (batch, *shape)."""
    dims = [nested(1, text(2, "batch")), *(nested(1, whole_number(1, size)) for size in shape)]
    tensor = nested(1, whole_number(1, _UINT8), nested(2, *dims))
    return nested(_GRAPH_INPUT, text(1, INPUT), nested(2, tensor))


def _constant(name: str, values: tuple[float, ...]) -> bytes:
    """A TensorProto: float32 (channels, 1, 1), one for each plane."""
    dims = [whole_number(1, size) for size in (len(values), 1, 1)]
    data = np.asarray(values, "<f4").tobytes()
    return nested(_GRAPH_INITIALISER, *dims, whole_number(2, _FLOAT), text(8, name), nested(9, data))


def _node(op: str, takes: list[str], gives: str, *attribute: bytes) -> bytes:
    """A NodeProto with one attribute, or without."""
    ends = [*(text(1, name) for name in takes), text(2, gives), text(3, f"{INPUT}/{op} of {gives}"), text(4, op)]
    return nested(_GRAPH_NODE, *ends, *([nested(5, *attribute)] if attribute else []))
