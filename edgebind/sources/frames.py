"""Frames in the units that cameras write -> metres and °C.

Depth cameras write whole millimetres, radiometric thermal cameras hundredths of a kelvin, both as 16-bit pictures which say
nothing of it: only the user knows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.signals import Floats, Samples
from edgebind.sources.units import FRAMES, Units

BELIEVABLE = {"depth": (0.01, 1000.0, "m"), "thermal": (-100.0, 2000.0, "°C")}
"""Quantity -> least and largest median of a frame, and their unit: a clear night sky reads -70 °C, molten iron 1500 °C."""


def to_physical(frame: Samples, quantity: str, units: Units, where: str) -> Samples:
    """`frame` as it is if the user said nothing of its unit; else float32 in metres or °C. Holes of depth, 0, stay 0.

    Parameters
    ----------
    quantity: `depth` or `thermal`; nothing else has a unit.
    where: the file, and the frame in it.

    Raises
    ------
    RecordingError: 8-bit grey levels, which have no unit, or values that cannot be true in this one.
    """
    unit = units.given.get(quantity)
    if unit is None:
        return frame
    if frame.dtype.kind not in "uif" or frame.dtype.itemsize < 2:
        got = f"{frame.dtype}, {quantity}={unit}"
        raise RecordingError("frame cannot have a unit", where=where, wanted="16-bit or float values", got=got)
    factor, zero = FRAMES[quantity][unit]
    # In float64: a float32 would round counts near 30000 to 0.002 K before the offset is taken away.
    physical = (np.multiply(frame, factor, dtype=np.float64) + zero).astype(np.float32)
    _refuse_unbelievable(physical, quantity, unit, where)
    return physical


def _refuse_unbelievable(physical: Floats, quantity: str, unit: str, where: str) -> None:
    sparse = physical[::4, ::4]  # plenty for a median
    measured = sparse[_measured(sparse, quantity)]
    if not measured.size:
        return  # nothing but holes: the preprocessor says so
    least, largest, si = BELIEVABLE[quantity]
    median = float(np.median(measured))
    if not least <= median <= largest:
        raise RecordingError(
            f"{quantity} cannot be true",
            where=where,
            wanted=f"a median of {least:g} to {largest:g} {si}",
            got=f"{median:.4g} {si}",
            remedy=f"is it in {unit}? say --units {quantity}={' or '.join(FRAMES[quantity])}",
        )


def _measured(physical: Floats, quantity: str) -> NDArray[np.bool_]:
    finite: NDArray[Any] = np.isfinite(physical)
    return finite & (physical != 0) if quantity == "depth" else finite
