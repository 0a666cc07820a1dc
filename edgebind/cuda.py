"""The CUDA driver, asked through ctypes: is it there, how new is it, and which GPUs does it see?

TensorRT's own objects break, and can crash the process, where no driver answers. So the driver is asked first, and
directly; nothing here makes a context or takes memory on a GPU.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Any

from edgebind.errors import MissingDependencyError

LIBRARY = "libcuda.so.1"
_MAJOR, _MINOR, _MULTIPROCESSORS = 75, 76, 16
"""CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR, and CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT."""
_NAME_BYTES = 256


Sm = tuple[int, int]
"""Compute capability: (8, 6)."""


@dataclass(frozen=True, slots=True)
class Driver:
    """What the NVIDIA driver said when it was asked to start."""

    version: tuple[int, int] = (0, 0)
    """The newest CUDA it serves, such as (12, 6); (0, 0) where there is none."""
    reason: str = ""
    """Why there is none; empty where it answers."""

    @property
    def is_there(self) -> bool:
        return not self.reason

    def __str__(self) -> str:
        return self.reason or f"CUDA driver {self.version[0]}.{self.version[1]}"


@dataclass(frozen=True, slots=True)
class Device:
    """One GPU."""

    name: str
    """As the driver calls it, such as `Orin` or `NVIDIA GeForce RTX 3060`; empty for a target that is only named."""
    sm: Sm
    """(8, 7) is an Orin."""
    index: int = 0
    memory: int = 0
    """Bytes; on a Jetson it is shared with the processor. 0 where it is not known."""
    driver: tuple[int, int] = (0, 0)
    multiprocessors: int = 0
    """An Orin Nano and an AGX Orin both call themselves `Orin`; this tells them apart. 0 where it is not known."""

    @property
    def model(self) -> str:
        """Name and size, such as `Orin, 8 multiprocessors`: what an engine is tuned to."""
        return f"{self.name}, {self.multiprocessors} multiprocessors" if self.multiprocessors else self.name

    def __str__(self) -> str:
        return f"{self.name or 'any GPU'} (SM {self.sm[0]}.{self.sm[1]})"


def driver() -> Driver:
    """Ask the driver to start. Takes no GPU and may be called as often as one likes."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError:
        return Driver(reason=f"no NVIDIA driver ({LIBRARY} is not there)")
    code = library.cuInit(0)
    if code != 0:
        return Driver(reason=f"the NVIDIA driver does not start (cuInit gave {code})")
    version = ctypes.c_int()
    library.cuDriverGetVersion(ctypes.byref(version))
    return Driver((version.value // 1000, version.value % 1000 // 10))


def devices() -> list[Device]:
    """The GPUs of this machine, in the driver's order.

    Raises
    ------
    MissingDependencyError: no driver answers.
    """
    found = driver()
    if not found.is_there:
        raise MissingDependencyError(
            found.reason, remedy="a Jetson has it from JetPack; edgebind runs on the CPU with --backend onnxruntime"
        )
    library = ctypes.CDLL(LIBRARY)
    count = ctypes.c_int()
    _check(library.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    return [_device(library, index, found.version) for index in range(count.value)]


def device(index: int = 0) -> Device:
    """The GPU of that index.

    Raises
    ------
    MissingDependencyError: no driver answers, or it sees no such GPU.
    """
    found = devices()
    if index >= len(found):
        raise MissingDependencyError("no such GPU", where=f"GPU {index}", wanted=f"one of {len(found)} that are here")
    return found[index]


def _device(library: Any, index: int, version: tuple[int, int]) -> Device:
    handle, memory = ctypes.c_int(), ctypes.c_size_t()
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _check(library.cuDeviceGet(ctypes.byref(handle), index), "cuDeviceGet")
    _check(library.cuDeviceGetName(name, _NAME_BYTES, handle), "cuDeviceGetName")
    _check(library.cuDeviceTotalMem_v2(ctypes.byref(memory), handle), "cuDeviceTotalMem")
    sm = (_attribute(library, _MAJOR, handle), _attribute(library, _MINOR, handle))
    multiprocessors = _attribute(library, _MULTIPROCESSORS, handle)
    return Device(name.value.decode(errors="replace"), sm, index, memory.value, version, multiprocessors)


def _attribute(library: Any, attribute: int, handle: ctypes.c_int) -> int:
    value = ctypes.c_int()
    _check(library.cuDeviceGetAttribute(ctypes.byref(value), attribute, handle), "cuDeviceGetAttribute")
    return value.value


def _check(code: int, call: str) -> None:
    if code != 0:
        raise MissingDependencyError(f"the NVIDIA driver fails ({call} gave {code})", remedy="restart the device")
