"""Where things lie in a picture."""

from __future__ import annotations

Rect = tuple[float, float, float, float]
"""Left, top, right, bottom in pixels."""


def expanded(rect: Rect, margin: float, square: bool, limit: tuple[int, int]) -> Rect:
    """A box with `margin` of its size added on each side, made square if asked, cut off at the picture's edge."""
    left, top, right, bottom = rect
    width, height = max(right - left, 3), max(bottom - top, 3)
    if square:
        width = height = max(width, height)
    x, y = (left + right) / 2, (top + bottom) / 2
    half_width, half_height = width * (0.5 + margin), height * (0.5 + margin)
    return (
        max(0, x - half_width),
        max(0, y - half_height),
        min(limit[0], x + half_width),
        min(limit[1], y + half_height),
    )


def tiles(limit: tuple[int, int], parts: int) -> list[Rect]:
    """A picture's `parts` times `parts` equal rectangles."""
    width, height = limit[0] / parts, limit[1] / parts
    return [(x * width, y * height, (x + 1) * width, (y + 1) * height) for y in range(parts) for x in range(parts)]


def size_of(rect: Rect) -> tuple[float, float]:
    """Width and height."""
    return rect[2] - rect[0], rect[3] - rect[1]


def area_of(rect: Rect) -> float:
    """Square pixels."""
    width, height = size_of(rect)
    return width * height


def overlap(one: Rect, other: Rect) -> float:
    """Square pixels that two rectangles share; 0 where they only touch."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    return max(0.0, width) * max(0.0, height)
