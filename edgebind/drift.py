"""Does this sensor still look like what its bundle was calibrated on? Asked block by block of the live windows.

A block is some windows in a row. Of each, every trait of `edgebind.reference` is averaged, and compared with the averages
of recordings that were held out of calibration:

    t = (average - centre) / (deviation x sqrt(1 + 1 / n))        Student's t with n - 1 degrees of freedom

the prediction of one more observation from a normal sample of n (Hahn and Meeker, "Statistical Intervals", 1991, section
4.7). Averages of whole blocks are compared, so that windows that overlap and resemble their neighbours cannot make the
test too sure (the method of batch means: Law and Kelton, "Simulation Modeling and Analysis", section 9.5.3). Traits of
vectors are tested upwards, the others both ways; over all of them p is Bonferroni's. NumPy is all it needs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import diagnosis
from edgebind.errors import OptionError
from edgebind.reference import OF_VECTORS, Reference
from edgebind.signals import Floats, Samples

ALPHA = 0.001
"""Share of blocks of an unchanged sensor that are called drifted."""
ANGLES = 20_001
"""Steps of the integral below: p is right to five digits, down to 1e-12."""


@dataclass(frozen=True, slots=True)
class Drift:
    """What the latest whole block says."""

    p: float
    """How often an unchanged sensor would look so different, 0 to 1."""
    is_drifted: bool
    """p < alpha."""
    why: str = ""
    """What is different, in words; empty if nothing is."""

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = {"p": float(f"{self.p:.3g}"), "drifted": self.is_drifted}
        return found | ({"why": self.why} if self.why else {})


class Detector:
    """Watches one stream of windows and their vectors.

    detector = Detector(bundle.reference)
    for window in windows:
        drift = detector.update(window.samples, vector)
    """

    def __init__(self, reference: Reference, *, alpha: float = ALPHA) -> None:
        """Compare with `reference`.

        Parameters
        ----------
        alpha: share of blocks of an unchanged sensor that may be called drifted, above 0 and below 1.
        """
        if not 0 < alpha < 1:
            raise OptionError("no false-alarm rate", wanted="above 0, below 1", got=alpha)
        self.reference = reference
        self.alpha = alpha
        self.latest: Drift | None = None
        """Of the last whole block; None before there was one."""
        self._measure = reference.traits()
        self._needed = reference.block // reference.every
        self._seen = 0
        self._windows: list[Samples] = []
        self._vectors: list[Floats] = []

    def update(self, samples: Samples, vector: Floats) -> Drift | None:
        """Take one window in physical units and its unit vector; returns `latest`."""
        self._seen += 1
        if self._seen % self.reference.every == 0:
            self._windows.append(samples)
            self._vectors.append(vector)
            if len(self._windows) == self._needed:
                # Measured together: a sixteenth of the cost of one by one.
                self.latest = self.judge(self._windows, np.stack(self._vectors))
                self._windows, self._vectors = [], []
        return self.latest

    def judge(self, windows: Sequence[Samples], vectors: Floats) -> Drift:
        """What a block says: windows in physical units and their vectors (windows, dim)."""
        traits = np.concatenate([self.reference.scores(vectors), self._measure(windows)], axis=1)
        return self.judge_traits(traits.astype(np.float64))

    def judge_traits(self, traits: NDArray[np.float64]) -> Drift:
        """What a block says whose traits (windows, traits) are known already."""
        of = self.reference
        found = traits.mean(axis=0)
        p = p_values(found, of) * len(of.names)
        least = float(min(p.min(), 1.0))
        if least >= self.alpha:
            return Drift(least, False)
        guilty = [place for place in np.argsort(p) if p[place] < self.alpha]
        return Drift(least, True, diagnosis.why(of, found, guilty))


def p_values(averages: NDArray[np.float64], of: Reference) -> NDArray[np.float64]:
    """Of each trait's average over a block, (traits,), how likely an unchanged sensor gives it or one farther off."""
    seen = of.seen
    t = (averages - of.centre) / (of.deviation * np.sqrt(1 + 1 / seen))
    upwards = len(OF_VECTORS)
    return np.array(
        [
            tail(float(value), int(count) - 1) if place < upwards else 2 * tail(abs(float(value)), int(count) - 1)
            for place, (value, count) in enumerate(zip(t, seen, strict=True))
        ]
    )


def tail(t: float, degrees: int) -> float:
    """P(T > t) of Student's t.

    With t = sqrt(degrees) x tan(angle) its density becomes cos(angle)^(degrees - 1), which is integrated from the end.
    """
    angles, tails = _tails(degrees)
    return float(np.interp(math.atan2(t, math.sqrt(degrees)), angles, tails))


@lru_cache
def _tails(degrees: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    angles = np.linspace(-np.pi / 2, np.pi / 2, ANGLES)
    density = np.maximum(np.cos(angles), 0.0) ** (degrees - 1)
    steps = (density[1:] + density[:-1]) / 2
    tails = np.append(np.cumsum(steps[::-1])[::-1], 0.0)
    return angles, tails / tails[0]
