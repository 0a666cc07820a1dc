"""The driver is asked through ctypes: a stand-in answers here as CUDA's reference manual says a driver does."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest

from edgebind import cuda
from edgebind.errors import MissingDependencyError

CUDA_ERROR_NO_DEVICE = 100


class Library:
    """Two GPUs behind a driver for CUDA 12.6."""

    start = 0
    names = (b"Orin", b"NVIDIA GeForce RTX 3060")
    sms = ((8, 7), (8, 6))

    def cuInit(self, flags: int) -> int:
        return self.start

    def cuDriverGetVersion(self, version: Any) -> int:
        version._obj.value = 12060
        return 0

    def cuDeviceGetCount(self, count: Any) -> int:
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device: Any, index: int) -> int:
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, name: Any, length: int, device: Any) -> int:
        name.value = self.names[device.value]
        return 0

    def cuDeviceTotalMem_v2(self, size: Any, device: Any) -> int:
        size._obj.value = 8 << 30
        return 0

    def cuDeviceGetAttribute(self, value: Any, attribute: int, device: Any) -> int:
        value._obj.value = {75: self.sms[device.value][0], 76: self.sms[device.value][1], 16: 8}[attribute]
        return 0


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Library:
    made = Library()
    monkeypatch.setattr(ctypes, "CDLL", lambda name: made)
    return made


def test_what_the_driver_says(library: Library) -> None:
    assert str(cuda.driver()) == "CUDA driver 12.6"
    assert cuda.devices() == [
        cuda.Device("Orin", (8, 7), 0, 8 << 30, (12, 6), 8),
        cuda.Device("NVIDIA GeForce RTX 3060", (8, 6), 1, 8 << 30, (12, 6), 8),
    ]
    assert str(cuda.device(1)) == "NVIDIA GeForce RTX 3060 (SM 8.6)"
    with pytest.raises(MissingDependencyError, match=r"GPU 2: no such GPU \(wanted one of 2 that are here\)"):
        cuda.device(2)


def test_a_driver_that_does_not_start(library: Library) -> None:
    library.start = CUDA_ERROR_NO_DEVICE
    assert not cuda.driver().is_there
    with pytest.raises(
        MissingDependencyError, match=r"does not start \(cuInit gave 100\); a Jetson has it from JetPack"
    ):
        cuda.devices()


def test_no_driver_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr(ctypes, "CDLL", absent)
    assert str(cuda.driver()) == "no NVIDIA driver (libcuda.so.1 is not there)"
