"""What the doctor says of TensorRT: which flavour runs here, and why not the other."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from edgebind import cuda, doctor
from edgebind.cuda import Device, Driver
from edgebind.engines import flavour
from edgebind.engines.flavour import Flavour
from edgebind.errors import MissingDependencyError

ORIN = Device("Orin", (8, 7), 0, 8_000_000_000, (12, 6), 8)


def _flavour(name: str) -> Flavour:
    """Loaded: the full TensorRT, or TensorRT-RTX for RTX 30 cards."""
    config = type("IBuilderConfig", (), {"set_compute_capability": None} if name == "rtx" else {})
    trt = SimpleNamespace(__name__="tensorrt_rtx" if name == "rtx" else "tensorrt", IBuilderConfig=config)
    if name == "rtx":
        trt.ComputeCapability = SimpleNamespace(__members__={"NONE": 0, "SM86": 86})
    return Flavour(name, "10.3.0", trt)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Driver, list[Device]], dict[str, doctor.Finding]]:
    """Says what the doctor finds on a machine with both flavours, that driver and those GPUs."""

    def examine(driver: Driver, devices: list[Device]) -> dict[str, doctor.Finding]:
        def found() -> list[Device]:
            if not driver.is_there:
                raise MissingDependencyError(driver.reason)
            return devices

        monkeypatch.setattr(flavour, "probe", lambda name: (_flavour(name), ""))
        monkeypatch.setattr(flavour, "cuda_of", lambda module: 13 if "rtx" in module else 12)
        monkeypatch.setattr(cuda, "driver", lambda: driver)
        monkeypatch.setattr(cuda, "devices", found)
        return {finding.name: finding for finding in doctor.examine()}

    return examine


def test_a_jetson(machine: Callable[..., dict[str, doctor.Finding]]) -> None:
    found = machine(Driver((13, 0)), [ORIN])
    assert found["gpu"].detail == "CUDA driver 13.0: Orin (SM 8.7), 8.0 GB"
    assert (found["tensorrt"].ok, found["tensorrt"].detail) == (True, "TensorRT 10.3.0 on Orin (SM 8.7)")
    assert not found["rtx"].ok
    assert found["rtx"].detail == "TensorRT-RTX 10.3.0: does not know Orin (SM 8.7)"


def test_a_driver_that_serves_one_and_is_too_old_for_the_other(
    machine: Callable[..., dict[str, doctor.Finding]],
) -> None:
    found = machine(Driver((12, 6)), [ORIN])
    assert found["tensorrt"].ok
    assert found["rtx"].detail == "TensorRT-RTX 10.3.0: the NVIDIA driver is too old"
    assert found["rtx"].remedy == "edgebind build --target builds engines for other machines"


def test_no_driver(machine: Callable[..., dict[str, doctor.Finding]]) -> None:
    found = machine(Driver(reason="no NVIDIA driver"), [])
    assert not found["gpu"].ok
    assert found["tensorrt"].detail == "TensorRT 10.3.0: no NVIDIA driver"
    assert found["tensorrt"].remedy
    assert found["rtx"].detail == "TensorRT-RTX 10.3.0: no NVIDIA driver"


def test_a_driver_without_a_gpu(machine: Callable[..., dict[str, doctor.Finding]]) -> None:
    found = machine(Driver((13, 0)), [])
    assert (found["gpu"].ok, found["gpu"].detail) == (False, "CUDA driver 13.0: no GPU")
    assert not found["tensorrt"].ok


def test_a_flavour_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flavour, "probe", lambda name: (None, "does not load: libnvinfer.so.10: cannot open"))
    found = {finding.name: finding for finding in doctor.examine()}
    assert found["tensorrt"].detail == "does not load: libnvinfer.so.10: cannot open"
    assert "JetPack" in found["tensorrt"].remedy


def test_auto_leaves_a_gpu_alone_that_tensorrt_does_not_know(
    machine: Callable[..., dict[str, doctor.Finding]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from edgebind import backends
    from edgebind.backends import gpu

    machine(Driver((13, 0)), [ORIN])
    monkeypatch.setattr(gpu, "missing", lambda: "")
    assert backends.why_no_tensorrt() == ""
    monkeypatch.setattr(flavour, "probe", lambda name: (_flavour("rtx"), ""))
    assert backends.why_no_tensorrt() == "does not know Orin (SM 8.7)"
