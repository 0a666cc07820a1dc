"""Pillow's resize as nodes of a graph, equal to the grey level; see `edgebind.preprocess.products`.

A weight has 22 bits after the point, a grey level 8 bits: their sums are too long for float32. So weights are halved into
upper x 2^11 + lower, and each half is a product of matrices of its own, whose sums are whole numbers that float32 holds
exactly, in whatever order a GPU takes them. What is left must not round either:

    level = floor(upper / 2^11 + 1/2) + floor(rest of it + lower / 2^22), limited to 0..255
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edgebind.engines.onnx_nodes import constant, node
from edgebind.preprocess.products import BITS, LOW_BITS, Products, Weights, halves

_CONSTANTS = {"half": 0.5, "upper": 2.0**-LOW_BITS, "lower": 2.0**-BITS, "black": 0.0, "white": 255.0}


def resize(takes: str, gives: str, how: Products) -> Iterator[bytes]:
    """float32 grey levels (batch, channels, height, width) -> (batch, channels, size, size)."""
    yield from (constant(f"{takes}/{name}", value) for name, value in _CONSTANTS.items())
    axes = [(how.columns, True), (how.rows, False)]
    (first, first_is_last_axis), (second, second_is_last_axis) = reversed(axes) if how.rows_first else axes
    yield from _one_axis(takes, f"{takes}/one axis", first, takes, last_axis=first_is_last_axis)
    yield from _one_axis(f"{takes}/one axis", gives, second, takes, last_axis=second_is_last_axis)


def _one_axis(takes: str, gives: str, matrix: Weights, constants: str, *, last_axis: bool) -> Iterator[bytes]:
    """Levels along the last axis or the one before it."""
    for which, half in zip(("upper", "lower"), halves(matrix), strict=True):
        weights, sums = f"{gives}/{which} weights", f"{gives}/{which} sums"
        yield constant(weights, (half.T if last_axis else half).astype(np.float32))
        yield node("MatMul", [takes, weights] if last_axis else [weights, takes], sums)
        yield node("Mul", [sums, f"{constants}/{which}"], f"{gives}/{which}")
    steps = [
        ("Add", [f"{gives}/upper", f"{constants}/half"], "raised"),
        ("Floor", [f"{gives}/raised"], "whole"),
        ("Sub", [f"{gives}/raised", f"{gives}/whole"], "rest"),
        ("Add", [f"{gives}/rest", f"{gives}/lower"], "both"),
        ("Floor", [f"{gives}/both"], "carried"),
        ("Add", [f"{gives}/whole", f"{gives}/carried"], "unlimited"),
    ]
    yield from (node(op, inputs, f"{gives}/{output}") for op, inputs, output in steps)
    yield node("Clip", [f"{gives}/unlimited", f"{constants}/black", f"{constants}/white"], gives)
