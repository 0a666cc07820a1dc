"""NVML, the library behind nvidia-smi: energy or power of graphics cards. Jetsons before Thor have none.

Through nvidia-ml-py, NVIDIA's own bindings (extra: power).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from edgebind import extras
from edgebind.errors import MissingDependencyError
from edgebind.power.meter import Reading


class NvmlMeter:
    """One graphics card."""

    name = "nvml"
    covers = "GPU board"

    def __init__(self, device: int = 0, *, library: Any = None) -> None:
        """Open the card.

        Parameters
        ----------
        library: the module `pynvml`, or what stands for it.

        Raises
        ------
        MissingDependencyError: no bindings, no driver, no such card, or a card that tells neither energy nor power.
        """
        self._library = library if library is not None else _bindings()
        try:
            self._library.nvmlInit()
        except self._library.NVMLError as error:
            raise MissingDependencyError(
                f"NVML does not start: {error}", remedy="it comes with NVIDIA's driver"
            ) from error
        try:
            self._card = self._library.nvmlDeviceGetHandleByIndex(device)
            if not self.read().joules and not self.read().watts:
                raise MissingDependencyError("this GPU tells NVML neither energy nor power")
        except self._library.NVMLError as error:
            self.close()
            raise MissingDependencyError(f"NVML shows no GPU {device}: {error}") from error
        except MissingDependencyError:
            self.close()
            raise

    def read(self) -> Reading:
        """Millijoules since the driver was loaded (Volta and later), milliwatts, megahertz and degrees."""
        ask = self._library
        joules = dict(self._asked("gpu", ask.nvmlDeviceGetTotalEnergyConsumption, scale=1e-3))
        watts = dict(self._asked("gpu", ask.nvmlDeviceGetPowerUsage, scale=1e-3))
        clocks = dict(self._asked("sm", ask.nvmlDeviceGetClockInfo, ask.NVML_CLOCK_SM))
        clocks |= dict(self._asked("memory", ask.nvmlDeviceGetClockInfo, ask.NVML_CLOCK_MEM))
        degrees = dict(self._asked("gpu", ask.nvmlDeviceGetTemperature, ask.NVML_TEMPERATURE_GPU))
        return Reading(watts, joules, clocks, degrees)

    def throttled(self) -> list[str]:
        """Why the card's clocks are held back at this moment, in NVML's words; nothing while it idles."""
        harmless = ("None", "All", "GpuIdle", "ApplicationsClocksSetting", "UserDefinedClocks", "DisplayClockSetting")
        prefix = "nvmlClocksThrottleReason"
        mask = dict(self._asked("mask", self._library.nvmlDeviceGetCurrentClocksThrottleReasons)).get("mask", 0)
        names = [name.removeprefix(prefix) for name in dir(self._library) if name.startswith(prefix)]
        return [name for name in names if name not in harmless and int(mask) & getattr(self._library, prefix + name)]

    def _asked(self, name: str, question: Any, *more: int, scale: float = 1.0) -> Iterator[tuple[str, float]]:
        """The answer under `name`; nothing where this card has none."""
        with contextlib.suppress(self._library.NVMLError):
            yield name, question(self._card, *more) * scale

    def close(self) -> None:
        with contextlib.suppress(self._library.NVMLError):
            self._library.nvmlShutdown()


def _bindings() -> Any:
    try:
        import pynvml
    except ImportError as error:
        raise MissingDependencyError("nvidia-ml-py is not installed", remedy=extras.remedy("power")) from error
    return pynvml
