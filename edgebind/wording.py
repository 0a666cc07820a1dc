"""Words of the lines that people read."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 recording`, `2 recordings`, `0 recordings`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
