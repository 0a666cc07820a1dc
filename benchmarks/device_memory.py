"""How much of the GPU's memory is free, asked of the driver itself: works on Jetsons and cards alike."""

from __future__ import annotations

import ctypes
from typing import Any

from edgebind.doctor import cuda_driver


def free_mb() -> float | None:
    """Free memory of the first GPU in 10⁶ bytes; None where there is none.

    Of a Jetson it is the memory that processor and GPU share, so a neighbour's doings show in it.
    """
    present, _ = cuda_driver()
    if not present:
        return None
    return _ask(ctypes.CDLL("libcuda.so.1"))


def _ask(driver: Any) -> float | None:
    """The primary context is what pycuda and ONNX Runtime use too: none is made beside theirs, and it is given back."""
    device, context = ctypes.c_int(), ctypes.c_void_p()
    free, total = ctypes.c_size_t(), ctypes.c_size_t()
    if driver.cuDeviceGet(ctypes.byref(device), 0) or driver.cuDevicePrimaryCtxRetain(ctypes.byref(context), device):
        return None
    try:
        if driver.cuCtxPushCurrent_v2(context):
            return None
        failed = driver.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total))
        driver.cuCtxPopCurrent_v2(ctypes.byref(ctypes.c_void_p()))
    finally:
        driver.cuDevicePrimaryCtxRelease_v2(device)
    return None if failed else free.value / 1e6
