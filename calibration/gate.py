"""The gate: how far an encoder has drifted from FP32, measured on what its vectors are for.

Judged on recordings that were not used to calibrate: the cosine of each vector to its FP32 vector (mean and 1st
percentile), and how often the nearest label is still the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import GateError, OptionError
from edgebind.labels import LabelBank

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bars:
    """What an encoder must reach against FP32 before it is written."""

    cosine_mean: float = 0.99
    cosine_p1: float = 0.97
    """First percentile: the worst windows, save one in a hundred."""
    agreement: float = 0.98
    """Share of windows whose nearest label is FP32's."""

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0 <= value <= 1:
                raise OptionError(f"bar {name} out of range", wanted="0 to 1", got=value)


INT8 = Bars()
INT8_AIM = Bars(0.998, 0.99, 0.995)
"""What the ladder tries to reach while most of the work stays in INT8."""
FP16 = Bars(0.999, 0.998, 0.99)


FINEST = 1e-6
"""Cosines of float32 vectors tell no more."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One graph against FP32, on the same windows."""

    windows: int
    cosine_mean: float
    cosine_p1: float
    cosine_min: float
    agreement: float | None
    """None where the bundle knows no labels."""

    def meets(self, bars: Bars) -> bool:
        agrees = self.agreement is None or self.agreement >= bars.agreement
        return self.cosine_mean >= bars.cosine_mean and self.cosine_p1 >= bars.cosine_p1 and agrees

    def to_dict(self) -> dict[str, Any]:
        return {key: round(value, 6) if isinstance(value, float) else value for key, value in asdict(self).items()}

    def to_exact(self) -> dict[str, Any]:
        """All digits, as `Comparison(**...)` takes them back."""
        return asdict(self)

    def shortfall(self, bars: Bars) -> float:
        """How far `bars` are missed, each in units of what it forgives; 0 when they are met.

        A mean cosine of 0.98 misses a bar of 0.99 by one unit: it loses twice what it may.
        """
        return sum(max(0.0, bar - value) / max(1 - bar, FINEST) for value, bar in self._pairs(bars))

    def spent(self, bars: Bars) -> float:
        """The largest share of what a bar forgives that is used up; 1 where it is just met."""
        return max((1 - value) / max(1 - bar, FINEST) for value, bar in self._pairs(bars))

    def _pairs(self, bars: Bars) -> list[tuple[float, float]]:
        pairs = [(self.cosine_mean, bars.cosine_mean), (self.cosine_p1, bars.cosine_p1)]
        return pairs if self.agreement is None else [*pairs, (self.agreement, bars.agreement)]

    def __str__(self) -> str:
        agreement = "" if self.agreement is None else f", agreement {self.agreement:.4f}"
        return f"cosine mean {self.cosine_mean:.5f}, p1 {self.cosine_p1:.5f}{agreement}"


def compare(reference: Floats, candidate: Floats, bank: LabelBank) -> Comparison:
    """Compare two sets of unit vectors (windows, dim) of the same windows, row by row."""
    cosines = np.einsum("ij,ij->i", reference.astype(np.float64), candidate.astype(np.float64))
    agreement = None
    if len(bank) > 1:
        agreement = float((nearest(reference, bank) == nearest(candidate, bank)).mean())
    p1 = float(np.percentile(cosines, 1))
    return Comparison(len(cosines), float(cosines.mean()), p1, float(cosines.min()), agreement)


def nearest(vectors: Floats, bank: LabelBank) -> NDArray[np.intp]:
    """(windows,): which label of `bank` each of the vectors (windows, dim) is nearest to; zeros where there is none."""
    return (vectors @ bank.embeddings.T).argmax(axis=1) if len(bank) else np.zeros(len(vectors), np.intp)


def worst(comparisons: Mapping[str, Comparison]) -> Comparison:
    """The least of each number over several graphs: what a bundle can promise."""
    all_ = list(comparisons.values())
    agreements = [c.agreement for c in all_ if c.agreement is not None]
    return Comparison(
        windows=min(c.windows for c in all_),
        cosine_mean=min(c.cosine_mean for c in all_),
        cosine_p1=min(c.cosine_p1 for c in all_),
        cosine_min=min(c.cosine_min for c in all_),
        agreement=min(agreements) if agreements else None,
    )


def _shown_below(comparison: Comparison, bars: Bars) -> str:
    """`comparison` with as many digits as it takes to see which bars it misses: 0.9999973 is not shown as 1.00000."""
    rows = [
        ("cosine mean ", comparison.cosine_mean, bars.cosine_mean, 5),
        ("p1 ", comparison.cosine_p1, bars.cosine_p1, 5),
    ]
    if comparison.agreement is not None:
        rows.append(("agreement ", comparison.agreement, bars.agreement, 4))
    return ", ".join(title + _digits(value, bar, least) for title, value, bar, least in rows)


def _digits(value: float, bar: float, least: int) -> str:
    texts = [f"{value:.{digits}f}" for digits in range(least, 17)]
    return texts[0] if value >= bar else next((text for text in texts if float(text) < bar), texts[-1])


def require(comparison: Comparison, bars: Bars, what: str, *, remedy: str | None = None) -> None:
    """Let `comparison` pass, or say by how much it fails.

    Raises
    ------
    GateError: a bar is missed.
    """
    if not comparison.meets(bars):
        agreement = "" if comparison.agreement is None else f", agreement {bars.agreement:g}"
        raise GateError(
            f"{what} drifts too far from FP32",
            wanted=f"cosine mean {bars.cosine_mean:g}, p1 {bars.cosine_p1:g}{agreement}",
            got=_shown_below(comparison, bars),
            remedy=remedy,
        )
