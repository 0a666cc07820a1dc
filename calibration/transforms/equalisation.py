"""Cross-layer equalisation: channels get the same reach in the weights in front of them and behind.

Source: M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization Through Weight Equalization and Bias
Correction", ICCV 2019, equation 11: with r1 the reach of an output channel of the first layer and r2 that of the same
input channel of the second, dividing by s = sqrt(r1 / r2) makes both sqrt(r1 r2). Swept over all pairs until nothing moves.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from edgebind.calibration.graph import Graph
from edgebind.calibration.transforms.rewrites import Place, Scaling, short
from edgebind.calibration.transforms.sites import Site

METHOD = "equalisation"

Floats = NDArray[np.float64]

SWEEPS = 50
SETTLED = 1e-3
"""Largest |ln s| of a sweep that changes nothing worth another."""
DEAD = 1e-6
"""Of the farthest channel's reach: what a channel below it passes on is lost in float32's own rounding."""


def scalings(graph: Graph, sites: Sequence[Site]) -> list[Scaling]:
    """The scale of each site between two layers that makes their weights' channels reach equally far."""
    pairs = [site for site in sites if site.producer != "LayerNormalization"]
    weights = {
        name: np.abs(graph.value(name).astype(np.float64))
        for site in pairs
        for name, _ in (site.divided[0], *site.multiplied)
    }
    total = [np.ones(site.channels) for site in pairs]
    for _ in range(SWEEPS):
        steps = [_equalise(weights, site) for site in pairs]
        total = [before * step for before, step in zip(total, steps, strict=True)]
        if all(np.abs(np.log(step)).max() < SETTLED for step in steps):
            break
    return [site.scaling(METHOD, short(factors)) for site, factors in zip(pairs, total, strict=True)]


def _equalise(weights: dict[str, Floats], site: Site) -> Floats:
    """Scale one pair's weights in place; returns s, (channels,)."""
    front = _reach(weights, [site.divided[0]])
    back = _reach(weights, site.multiplied)
    # Nothing passes a dead channel, so nothing is gained there; but its bias would be blown up, and take the range with it.
    alive = (front > DEAD * front.max()) & (back > DEAD * back.max())
    factors = np.sqrt(np.where(alive, front, 1) / np.where(alive, back, 1))
    for places, vector in (([site.divided[0]], 1 / factors), (site.multiplied, factors)):
        for name, axis in places:
            shape = [-1 if i == axis else 1 for i in range(weights[name].ndim)]
            weights[name] *= vector.reshape(shape)
    return factors


def _reach(weights: dict[str, Floats], places: Iterable[Place]) -> Floats:
    """Largest magnitude of each channel over all of `places`."""
    each = [weights[name].max(axis=tuple(i for i in range(weights[name].ndim) if i != axis)) for name, axis in places]
    found: Floats = np.max(each, axis=0)
    return found
