"""What the machine spends: watts and joules from whichever meter it has, and what held its clocks back.

Jetson      INA3221 through hwmon, else tegrastats       whole module
GPU cards   NVML                                         GPU board
x86         RAPL                                         processor package
"""

from __future__ import annotations

from collections.abc import Callable

from edgebind.errors import MissingDependencyError, OptionError
from edgebind.power.meter import Meter

NAMES = ("ina3221", "tegrastats", "nvml", "rapl")
"""In the order of preference: what covers most comes first."""


def find(name: str = "auto") -> tuple[Meter | None, dict[str, str]]:
    """The first meter that works here, and why those before it do not: {name: reason}.

    Raises
    ------
    OptionError: there is no meter of that name.
    """
    if name not in ("auto", *NAMES):
        raise OptionError("unknown power meter", wanted=" or ".join(("auto", *NAMES)), got=repr(name))
    reasons: dict[str, str] = {}
    for each in NAMES if name == "auto" else (name,):
        try:
            return _openers()[each](), reasons
        except MissingDependencyError as error:
            reasons[each] = error.what
    return None, reasons


def _openers() -> dict[str, Callable[[], Meter]]:
    from edgebind.power.hwmon import HwmonMeter
    from edgebind.power.nvml import NvmlMeter
    from edgebind.power.rapl import RaplMeter
    from edgebind.power.tegrastats import TegrastatsMeter

    return dict(zip(NAMES, (HwmonMeter, TegrastatsMeter, NvmlMeter, RaplMeter), strict=True))
