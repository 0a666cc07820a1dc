"""Smoothing: outlier channels of an activation are divided down, and the weights behind take the factor.

Source: G. Xiao et al., "SmoothQuant", ICML 2023, equation 4: s_j = max|X_j|^alpha / max|W_j|^(1 - alpha) for input channel
j. There alpha is one number for a whole model; here each place takes that of `ALPHAS` which brings its layers' products
nearest to FP32 on calibration windows, or stays as it is where none does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration import qdq
from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms.rewrites import Scaling, short
from edgebind.calibration.transforms.sites import Site
from edgebind.calibration.transforms.statistics import Channels

METHOD = "smoothing"
ALPHAS = (0.35, 0.5, 0.65, 0.8)

_LEAST = 1e-5
"""Smallest reach of a channel, as in the authors' code: a dead weight must not become a division by zero."""

Floats = NDArray[np.float32]
Sides = list[tuple[Channels, Floats]]
"""What each layer of a place reads, and its weight as (channels, outputs)."""


def suits(site: Site) -> bool:
    """Whether all layers behind it are linear, so that what they read has rows of channels."""
    return all(layer.op != "Conv" for layer in site.layers)


def scalings(graph: Graph, sites: Sequence[Site], channels: Mapping[str, Channels]) -> dict[Scaling, float]:
    """Scaling -> its alpha, for each place that gains from one.

    Parameters
    ----------
    channels: of the `activation` of every layer behind `sites`.
    """
    found = {}
    for site in filter(suits, sites):
        sides = [
            (channels[layer.activation], _oriented(graph.value(layer.weight), axis))
            for layer, (_, axis) in zip(site.layers, site.multiplied, strict=True)
        ]
        candidates = {alpha: factors(sides, alpha) for alpha in ALPHAS}
        errors = {alpha: error(sides, s) for alpha, s in candidates.items()}
        best = min(errors, key=errors.__getitem__)
        if errors[best] < error(sides, np.ones(site.channels, np.float32)):
            found[site.scaling(METHOD, short(candidates[best]))] = best
    return found


def _oriented(weight: NDArray[Any], axis: int) -> Floats:
    return np.ascontiguousarray(weight if axis == 0 else weight.T)


def factors(sides: Sides, alpha: float) -> Floats:
    """s, (channels,), of all layers that read one tensor: the farthest reach of each channel counts.

    A channel that stood still in every window counts as the farthest: should it move one day, as behind a ReLU it may, it must
    not come out a thousand times too large and take the tensor's range with it.
    """
    activation = np.max([read.largest for read, _ in sides], axis=0)
    activation = np.where(activation > 0, activation, activation.max())
    weight = np.max([np.abs(matrix).max(axis=1) for _, matrix in sides], axis=0)
    s = np.maximum(activation, _LEAST) ** alpha / np.maximum(weight, _LEAST) ** (1 - alpha)
    return np.maximum(s, _LEAST).astype(np.float32)


def error(sides: Sides, scale: Floats) -> float:
    """Squared error of the 8-bit products on the rows when channels are divided by `scale`, over all layers."""
    return sum(_error(read, matrix, scale) for read, matrix in sides)


def _error(read: Channels, matrix: Floats, scale: Floats) -> float:
    reach = float((read.largest / scale).max())
    step = qdq.activation_grid((-reach, reach), qdq.TENSORRT).scale
    rows = np.rint(read.rows / scale / step) * step
    integers, grid = qdq.quantise_weight(matrix * scale[:, None], 1, qdq.TENSORRT)
    difference = rows @ (integers * grid.scale) - read.rows @ matrix
    return float(np.square(difference, dtype=np.float64).sum())
