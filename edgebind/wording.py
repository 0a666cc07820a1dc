"""Words of the lines that people read."""

from __future__ import annotations

CLEAR = "\r\x1b[K"
"""Of a terminal: back to the line's begin, and wipe it."""


def counted(number: int, noun: str) -> str:
    """`1 recording`, `2 recordings`, `0 recordings`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
