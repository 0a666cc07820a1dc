"""Energy between two moments: a thread looks at a meter again and again, and the integral is taken afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np

from edgebind.closing import Closing
from edgebind.errors import EdgebindError
from edgebind.power.meter import Meter, Reading, total_watts

PERIOD_S = 0.05


class Recorder(Closing):
    """Readings of one meter since it was opened."""

    def __init__(self, meter: Meter, period_s: float = PERIOD_S) -> None:
        self.meter = meter
        self._period_s = period_s
        self._times: list[int] = []
        self._readings: list[Reading] = []
        self._fault: Exception | None = None
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._look()
        self._thread = threading.Thread(target=self._follow, name="edgebind-power", daemon=True)
        self._thread.start()

    def _follow(self) -> None:
        try:
            while not self._stop.wait(self._period_s):
                self._look()
        except Exception as error:  # nobody else watches this thread; raised by whoever asks for joules
            self._fault = error

    def _look(self) -> None:
        with self._lock:  # times rise only if one thread looks at a time
            self._readings.append(self.meter.read())
            self._times.append(time.monotonic_ns())

    def joules(self, start_ns: int, stop_ns: int) -> float:
        """Energy from `start_ns` to `stop_ns`, both of `time.monotonic_ns()`; ends between readings are interpolated.

        Raises
        ------
        EdgebindError: the meter failed meanwhile, or said nothing of power.
        """
        if self._fault is not None:
            raise EdgebindError(f"the power meter {self.meter.name} failed: {self._fault}") from self._fault
        self._look()
        with self._lock:
            return joules(self._times, self._readings, start_ns, stop_ns)

    def newest(self) -> Reading:
        return self._readings[-1]

    def close(self) -> None:
        self._stop.set()
        self._thread.join()


def joules(times_ns: Sequence[int], readings: Sequence[Reading], start_ns: int, stop_ns: int) -> float:
    """Energy between two moments, from counters where there are some, else from power by the trapezoidal rule.

    Raises
    ------
    EdgebindError: readings without energy and without power.
    """
    times = (np.array(times_ns, dtype=np.int64) - times_ns[0]) / 1e9
    if readings[0].joules:
        counted = np.array([sum(reading.joules.values()) for reading in readings])
    else:
        counted = _integrated(times, readings)
    ends = np.interp([(start_ns - times_ns[0]) / 1e9, (stop_ns - times_ns[0]) / 1e9], times, counted)
    return float(ends[1] - ends[0])


def _integrated(times: np.ndarray, readings: Sequence[Reading]) -> np.ndarray:
    """Joules since the first reading, at each reading."""
    powers = [_power(reading) for reading in readings]
    if any(power is None for power in powers):
        raise EdgebindError("the power meter's rails are not known to add up", got=sorted(readings[0].watts))
    watts = np.array(powers, dtype=float)
    steps = np.diff(times) * (watts[1:] + watts[:-1]) / 2
    return np.concatenate([[0.0], np.cumsum(steps)])


def _power(reading: Reading) -> float | None:
    return reading.watts["gpu"] if set(reading.watts) == {"gpu"} else total_watts(reading.watts)
