"""An encoder's graph with the end of its preprocessing in front: 8-bit pixels in, the same vectors out.

    pixels (batch, height, width, 3) uint8 -> Cast -> Transpose -> (resize) -> Div -> Sub -> Div -> the encoder's own input

The operations are those of `edgebind.preprocess.tail.Tail`, in its order and in float32; an engine that is built for frames of
one size resizes them too. TensorRT takes 8-bit integers at a network's border only, and wants them cast there: hence Cast
before Transpose.
"""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgebind.engines import onnx_nodes
from edgebind.engines.onnx_nodes import cast, constant, node, transpose
from edgebind.engines.resizing import resize
from edgebind.errors import BundleError
from edgebind.onnx_wire import fields, header
from edgebind.preprocess.products import products
from edgebind.preprocess.tail import FULL, Tail

INPUT = "pixels"
"""Name of the new input."""
_MODEL_GRAPH = 7
"""Field of ModelProto."""


@dataclass(frozen=True, slots=True)
class Front:
    """What an engine does before the encoder."""

    tail: Tail
    frame: tuple[int, int] | None = None
    """Height and width of the frames that it resizes itself; None takes what the host has resized."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of what it takes."""
        return self.tail.shape if self.frame is None else (*self.frame, self.tail.shape[2])


def in_front_of(graph: Path, front: Front) -> bytes:
    """The ONNX file `graph`, which then takes pixels. Weights in files beside it stay there.

    Raises
    ------
    BundleError: no readable ONNX graph, or one whose input is not what `front` makes.
    OptionError: frames that cannot be resized exactly, see `edgebind.preprocess.products`.
    """
    try:
        return b"".join(_model(_mapped(graph), front))
    except _UnfitError as error:
        height, width, channels = front.tail.shape
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


def _model(model: memoryview, front: Front) -> Iterator[bytes | memoryview]:
    everything = list(fields(model))
    if [field.number for field in everything].count(_MODEL_GRAPH) != 1:
        raise ValueError("not one graph")
    for field in everything:
        if field.number == _MODEL_GRAPH:
            parts = list(_graph(field.payload, front))
            yield header(_MODEL_GRAPH, sum(map(len, parts)))
            yield from parts
        else:
            yield field.whole


def _graph(graph: memoryview, front: Front) -> Iterator[bytes | memoryview]:
    """New nodes come first, because nodes stand in the order of their work; the order of different fields is free."""
    everything = list(fields(graph))
    inputs = [field.payload for field in everything if field.number == onnx_nodes.INPUT]
    yield from _prologue(_name_of(inputs, front.tail), front)
    yield from (field.whole for field in everything if field.number != onnx_nodes.INPUT)


def _name_of(inputs: list[memoryview], tail: Tail) -> str:
    """The name of the only input, if it is what `tail` makes."""
    if len(inputs) != 1:
        raise _UnfitError
    height, width, channels = tail.shape
    tensor = _inner(_inner(inputs[0], 2), 1)
    kind = [field.value for field in fields(tensor) if field.number == 1]
    sizes = [[part.value for part in fields(dim.payload) if part.number == 1] for dim in fields(_inner(tensor, 2))]
    if kind != [onnx_nodes.FLOAT] or sizes[1:] != [[channels], [height], [width]]:
        raise _UnfitError
    return bytes(_inner(inputs[0], 1)).decode()


def _inner(message: memoryview, number: int) -> memoryview:
    """The last field of that number, which is the one that counts; empty where there is none."""
    return ([message[:0]] + [field.payload for field in fields(message) if field.number == number])[-1]


def _prologue(name: str, front: Front) -> Iterator[bytes]:
    """Input, constants and nodes that make the tensor `name` of `pixels`."""
    real, planes, levels, unit, centred = (
        f"{INPUT}/{step}" for step in ("real", "planes", "levels", "unit", "centred")
    )
    yield onnx_nodes.pixels(INPUT, front.shape)
    for which, values in {"full": (FULL,), "mean": front.tail.mean, "std": front.tail.std}.items():
        yield constant(f"{INPUT}/{which}", np.reshape(values, (-1, 1, 1)))
    yield cast(INPUT, real)
    yield transpose(real, planes, (0, 3, 1, 2))
    if front.frame is None:
        levels = planes
    else:
        yield from resize(planes, levels, products(*front.frame, front.tail.size, front.tail.resize))
    yield node("Div", [levels, f"{INPUT}/full"], unit)
    yield node("Sub", [unit, f"{INPUT}/mean"], centred)
    yield node("Div", [centred, f"{INPUT}/std"], name)
