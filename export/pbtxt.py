"""Protobuf's text format, as far as Triton's `config.pbtxt` needs it: written from plain dictionaries, without protobuf.

    {"name": "x", "kind": Word("KIND_GPU"), "dims": [6, 200], "input": [{"name": "a"}]}

A list of dictionaries is a repeated message, any other list a repeated value. Keys are fields of `ModelConfig`; a map is a list
of {"key": ..., "value": ...}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any


class Word(str):
    """An enum's value, which stands without quotes."""

    __slots__ = ()


def write(message: Mapping[str, Any]) -> str:
    """The text of a message; fields whose value is None are left out."""
    return "\n".join(_fields(message, "")) + "\n"


def _fields(message: Mapping[str, Any], indent: str) -> Iterator[str]:
    for name, value in message.items():
        if isinstance(value, Mapping):
            yield from _message(name, value, indent)
        elif isinstance(value, list) and value and isinstance(value[0], Mapping):
            for item in value:
                yield from _message(name, item, indent)
        elif isinstance(value, list):
            yield f"{indent}{name}: [ {', '.join(_scalar(item) for item in value)} ]"
        elif value is not None:
            yield f"{indent}{name}: {_scalar(value)}"


def _message(name: str, message: Mapping[str, Any], indent: str) -> Iterator[str]:
    yield f"{indent}{name} {{"
    yield from _fields(message, indent + "  ")
    yield f"{indent}}}"


def _scalar(value: object) -> str:
    if isinstance(value, Word):
        return str(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    # JSON's escapes are a subset of the text format's, as long as nothing but ASCII is left unescaped.
    return json.dumps(value, ensure_ascii=True) if isinstance(value, str) else str(value)
