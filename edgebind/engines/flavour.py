"""TensorRT comes as two modules with one API: `tensorrt` (Jetson, data centre) and TensorRT-RTX (RTX GPUs).

Everything else takes a `Flavour` and asks it for what differs. Code that touches the module calls it `trt`, and annotates
TensorRT's own objects as `trt.IBuilderConfig` and so on: a test reads those names off the source and looks each one up in
the API of five releases.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from edgebind import cuda, extras
from edgebind.cuda import Device, Sm
from edgebind.errors import MissingDependencyError, OptionError

MODULES = {
    "tensorrt": ("tensorrt",),
    # The wheel of bindings names its module so; NVIDIA's meta package adds the plain name.
    "rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
NAMES = tuple(MODULES)
OLDEST = {"tensorrt": (10, 3), "rtx": (1,)}
"""Strongly typed networks with Q/DQ pairs, and progress that can be stopped: JetPack 5 has TensorRT 8.5, which does neither."""


@dataclass(frozen=True, slots=True)
class Flavour:
    """One of the two, loaded. Loading it touches no GPU."""

    name: str
    """`tensorrt` or `rtx`."""
    version: str
    """As the module has it, such as `10.3.0`."""
    trt: Any = field(repr=False, compare=False)
    """The module."""

    @property
    def release(self) -> tuple[int, ...]:
        """The version's numbers: (10, 3, 0)."""
        return tuple(int(part) for part in re.findall(r"\d+", self.version)[:3])

    @property
    def targets(self) -> tuple[Sm, ...]:
        """GPUs that engines are built for without having one; empty for a flavour that builds for the GPU it runs on."""
        names = getattr(self.trt, "ComputeCapability", None)
        members = () if names is None else names.__members__
        digits = [name.removeprefix("SM") for name in members if name.startswith("SM")]
        return tuple(sorted((int(number[:-1]), int(number[-1])) for number in digits))

    @property
    def builds_without_gpu(self) -> bool:
        return bool(self.targets)

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.name == 'rtx' else 'TensorRT'} {self.version}"

    def require_driver(self) -> None:
        """See that a driver answers and serves the CUDA that this module was made for. Call it before any engine is run.

        Raises
        ------
        MissingDependencyError: no driver, or one that is too old.
        """
        found = cuda.driver()
        if not found.is_there:
            raise MissingDependencyError(
                found.reason,
                where=str(self),
                remedy="a Jetson has it from JetPack; edgebind runs on the CPU with --backend onnxruntime",
            )
        wanted = cuda_of(self.trt.__name__)
        if found.version[0] < wanted:
            raise MissingDependencyError(
                "the NVIDIA driver is too old",
                where=str(self),
                wanted=f"CUDA {wanted}",
                got=f"{found.version[0]}.{found.version[1]}",
                remedy=f"update the driver, or install the package for CUDA {found.version[0]}",
            )

    def device(self) -> Device:
        """The GPU that engines run on here: the first one; `CUDA_VISIBLE_DEVICES` says which that is.

        Raises
        ------
        MissingDependencyError: no driver, one that is too old, no GPU, or one that this flavour does not know.
        """
        self.require_driver()
        found = cuda.device()
        if self.targets and found.sm not in self.targets:
            raise MissingDependencyError(f"does not know {found}", where=str(self), remedy="take --flavour tensorrt")
        return found


def cuda_of(module: str) -> int:
    """The major CUDA that the installed package of `module` was made for; 0 where its name does not say (JetPack)."""
    packages = importlib.metadata.packages_distributions().get(module.split(".")[0], [])
    numbers = [int(found[1]) for name in packages if (found := re.search(r"[-_]cu(\d+)", name))]
    return max(numbers, default=0)


def load_flavour(name: str = "auto") -> Flavour:
    """The module of that name; `auto` takes `tensorrt` where it loads, else `rtx`. Safe without a driver.

    Raises
    ------
    OptionError: there is no flavour of that name.
    MissingDependencyError: it is not installed, or does not load; the line says why.
    """
    if name not in ("auto", *NAMES):
        raise OptionError("unknown flavour of TensorRT", wanted=" or ".join(("auto", *NAMES)), got=repr(name))
    reasons: list[str] = []
    for candidate in NAMES if name == "auto" else (name,):
        loaded, reason = probe(candidate)
        if loaded is not None:
            return loaded
        reasons.append(f"{candidate}: {reason}")
    raise MissingDependencyError(
        f"no TensorRT here ({'; '.join(reasons)})",
        remedy=f"it comes with JetPack; elsewhere: {extras.remedy('rtx' if name == 'rtx' else 'tensorrt')}",
    )


def probe(name: str) -> tuple[Flavour | None, str]:
    """The flavour, or None and why not."""
    reason = "not installed"
    for module in MODULES[name]:
        try:
            trt = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != module:
                reason = f"does not load: {error}"
        except Exception as error:  # libraries that are missing or broken raise OSError, RuntimeError and others
            reason = f"does not load: {str(error).splitlines()[0][:200] if str(error) else type(error).__name__}"
        else:
            reason = _unfit(name, trt)
            if not reason:
                return Flavour(name, str(trt.__version__), trt), ""
    return None, reason


def _unfit(name: str, trt: Any) -> str:
    """Why a module that loads is of no use; empty if it is."""
    if not hasattr(trt, "Builder"):
        return "does not load: it has no Builder"
    loaded = Flavour(name, str(trt.__version__), trt)
    if loaded.release[: len(OLDEST[name])] < OLDEST[name]:
        return f"{loaded} is too old, {'.'.join(map(str, OLDEST[name]))} is wanted (JetPack 6 has it)"
    return ""


Say = Callable[[str], None]
"""Called with a line that the user should read."""
Progress = Callable[[str, int, int], None]
"""Called with a phase, the step that is done (from 0) and how many there are."""


def silent(line: str) -> None:
    """A `Say` for those who do not want to hear."""


def unseen(phase: str, step: int, steps: int) -> None:
    """A `Progress` for those who do not want to see."""
