"""ONNX files as bytes: protobuf's wire format, read and written without the `onnx` package, which a device does not have.

A message is a row of fields. Each is a varint `number << 3 | kind`, then a varint (kind 0), eight bytes (1), a length and so
many bytes (2) or four bytes (5). Field numbers are those of onnx.proto.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
_LENGTHS = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_KINDS = (_VARINT, _BYTES, *_LENGTHS)
_LARGEST_TAG = 0xFFFF_FFFF


class Field(NamedTuple):
    """One field of a message."""

    number: int
    payload: memoryview
    """What a string or message holds; empty for a number."""
    value: int
    """What a whole number is; 0 for everything else."""
    whole: memoryview
    """With its tag and length, as it stands in the message."""


def fields(message: memoryview) -> Iterator[Field]:
    """Every field of `message`, in order.

    Raises
    ------
    IndexError, ValueError: it is no message that ONNX could have.
    """
    at = 0
    while at < len(message):
        start = at
        tag, at = _read_varint(message, at)
        number, kind = tag >> 3, tag & 7
        # Readers cut a longer tag to 32 bits and then see another field than we would: nothing honest writes one.
        if tag > _LARGEST_TAG or number == 0:
            raise ValueError("a field number that ONNX does not have")
        if kind not in _KINDS:
            raise ValueError(f"wire kind {kind} is not used by ONNX")
        value, length = 0, _LENGTHS.get(kind, 0)
        if kind == _VARINT:
            value, at = _read_varint(message, at)
        elif kind == _BYTES:
            length, at = _read_varint(message, at)
        if at + length > len(message):
            raise ValueError("a field is longer than its message")
        yield Field(number, message[at : at + length if kind == _BYTES else at], value, message[start : at + length])
        at += length


def _read_varint(message: memoryview, at: int) -> tuple[int, int]:
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


def whole_number(number: int, value: int) -> bytes:
    """A field that is a number, not negative."""
    return _varint(number << 3 | _VARINT) + _varint(value)


def text(number: int, value: str) -> bytes:
    """A field that is a string."""
    return nested(number, value.encode())


def nested(number: int, *parts: bytes) -> bytes:
    """A field that is a message of these fields, or bytes."""
    return header(number, sum(map(len, parts))) + b"".join(parts)


def header(number: int, length: int) -> bytes:
    """What stands before the `length` bytes of a message."""
    return _varint(number << 3 | _BYTES) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
