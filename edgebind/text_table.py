"""Tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence


def aligned(table: Sequence[Sequence[str]]) -> list[str]:
    """The first column to the left, the others to the right; a line of a single cell is a title, as wide as it likes."""
    whole = [line for line in table if len(line) > 1]
    widths = [max(len(line[at]) for line in whole) for at in range(len(whole[0]))]
    return [
        "  ".join(
            f"{cell:<{width}}" if at == 0 else f"{cell:>{width}}"
            for at, (cell, width) in enumerate(zip(line, widths, strict=False))
        ).rstrip()
        for line in table
    ]
