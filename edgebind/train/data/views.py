"""What a student and its teacher each see of the same stretch of signal.

    drawn    [=====================)      as long as the teacher's window, as dense as the denser of the two
    teacher  [=====================)
    student        [=========)            around the same middle, at its own rate

Pictures and sounds are drawn whole, and each side's preprocessing cuts and scales them for itself.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edgebind import resample
from edgebind.errors import OptionError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Floats


def drawn_window(student: WindowSpec, teacher: WindowSpec) -> WindowSpec:
    """The window that holds what both see.

    Raises
    ------
    OptionError: the student's is longer than the teacher's, or they have other channels or units.
    """
    if student.channels != teacher.channels or student.units != teacher.units:
        raise OptionError(
            "student and teacher read other channels",
            wanted=" ".join(map("{} in {}".format, teacher.channels, teacher.units)),
            got=" ".join(map("{} in {}".format, student.channels, student.units)),
        )
    if student.seconds > teacher.seconds * (1 + 1e-9):
        raise OptionError(
            "the student's window is longer than its teacher's",
            wanted=f"at most {teacher.seconds:g} s",
            got=f"{student.seconds:g} s",
        )
    return replace(student, rate_hz=max(student.rate_hz, teacher.rate_hz), seconds=teacher.seconds)


def middle(samples: Floats, drawn: WindowSpec, seen: WindowSpec) -> Floats:
    """(channels, drawn.length) -> (channels, seen.length): the middle of a window at another rate.

    A rate that is lower by more than `edgebind.resample.FASTER` is filtered first, as the runtime's windower does; beyond
    the ends of what was drawn the filter reads the last value again.
    """
    if (drawn.rate_hz, drawn.length) == (seen.rate_hz, seen.length):
        return samples
    step = drawn.rate_hz / seen.rate_hz
    first = (drawn.seconds - seen.seconds) / 2 * drawn.rate_hz
    factor = resample.oversampling(NANOSECONDS / drawn.rate_hz, NANOSECONDS / seen.rate_hz)
    last = samples.shape[1] - 1
    if factor == 1:
        places = np.clip(first + np.arange(seen.length) * step, 0, last)
        return resample.linear(samples, places[None], 0)[0]
    reach = resample.REACH * factor
    dense = np.arange(-reach, (seen.length - 1) * factor + reach + 1) * (step / factor)
    places = np.clip(first + dense, 0, last)
    return np.ascontiguousarray(resample.decimate(resample.cubic(samples, places[None], 0, last), factor)[0])
