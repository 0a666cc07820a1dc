"""The backend through the real pycuda and cuda-bindings, on a CUDA driver made of host memory (host_cuda.c).

Needs both packages, a C compiler, and a machine without an NVIDIA driver, whose place ours takes in a process of its own.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgebind import cuda

SOURCE = Path(__file__).with_name("host_cuda.c")


def _missing() -> str:
    for package in ("pycuda", "cuda.bindings"):
        try:
            found = importlib.util.find_spec(package)
        except ModuleNotFoundError:
            found = None
        if found is None:
            return f"{package} is not installed"
    for program in ("gcc", "nm"):
        if shutil.which(program) is None:
            return f"no {program}"
    return "this machine has a driver of its own" if cuda.driver().is_there else ""


pytestmark = pytest.mark.skipif(bool(_missing()), reason=_missing())

PROGRAM = """
import ctypes, gc, sys
from types import SimpleNamespace
import numpy as np
from edgebind import cuda
from edgebind.backends.gpu import PycudaGpu
from edgebind.benchmarks import device_memory, device_time
from edgebind.backends.tensorrt import TensorRTBackend
from edgebind.engines import Profile
from edgebind.errors import BackendError, MissingDependencyError
from tests.backends import lazy_gpu
from tests.backends.lazy_gpu import FLAVOUR, loaded

driver = ctypes.CDLL("libcuda.so.1")
KERNELS = {"FLOAT": driver.host_kernel, "UINT8": driver.host_kernel_of_pixels}
for kernel in KERNELS.values():
    kernel.argtypes = (ctypes.c_void_p, ctypes.c_uint64, ctypes.c_uint64, ctypes.c_size_t)
live = lambda: {name: ctypes.c_int.in_dll(driver, name).value for name in (
    "live_memory", "live_pinned", "live_streams", "live_events", "live_graphs", "retained", "depth")}


class Context(lazy_gpu.Context):
    def execute_async_v3(self, stream_handle):
        assert self._scratch
        source, target = self._places["input"], self._places["embedding"]
        return KERNELS[self._engine.kind](stream_handle, target, source, 4 * self._count) == 0


class Engine(lazy_gpu.Engine):
    def create_execution_context(self, strategy):
        return Context(self)

    def get_tensor_shape(self, name):
        return (-1, 4)


lazy_gpu.SHAPE = (4,)
assert cuda.driver().version == (13, 0) and cuda.device().sm == (8, 6)
gpu = PycudaGpu()
assert gpu.has_graphs
with gpu.current():
    backend = TensorRTBackend(loaded(Engine(gpu), Profile(1, 1, 4)), gpu, FLAVOUR)
for count in (1, 1, 3, 1, 3, 9, 9, 2, 1):
    value = np.random.default_rng(count).normal(size=(count, 4)).astype(np.float32)
    np.testing.assert_array_equal(backend.infer({"input": value})["embedding"], 2 * value)
assert live()["live_graphs"] >= 3 and live()["depth"] == 0, live()
assert device_time.engine_ms(backend, len(value)) == 0.5
assert device_time.copy_gbs(backend) > 0
assert device_memory.free_mb() == (1 << 29) / 1e6
other = PycudaGpu()  # a second one shares the primary context
with other.current():
    pixels = TensorRTBackend(loaded(Engine(other, kind="UINT8"), Profile(1, 1, 4)), other, FLAVOUR)
with pixels:
    for count in (1, 1, 3, 9, 3, 9):
        value = np.random.default_rng(count).integers(0, 256, (count, 4), np.uint8)
        np.testing.assert_array_equal(pixels.infer({"input": value})["embedding"], 2.0 * value)
other = PycudaGpu()
assert live()["retained"] == 1
try:
    with other.current():
        other.memory(1 << 40)
except BackendError as error:
    assert str(error).startswith("the GPU's memory is full"), error
else:
    raise AssertionError("memory without end")
with gpu.current():
    try:
        gpu.capture(gpu.stream(), lambda: gpu.memory(1 << 40))
    except BackendError as error:
        assert str(error).startswith("the GPU's memory is full"), error
    else:
        raise AssertionError("a fault within a capture is a fault")
other.close()
if "forget" in sys.argv:
    sys.exit()  # closed in the end
backend.close()
del backend, gpu, other, pixels
gc.collect()
assert live().pop("retained") == 1 and sum(live().values()) == 1, live()
print("fine")
"""


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with libcuda.so.1; what pycuda links against and we never call, answers that it is not supported."""
    folder = tmp_path_factory.mktemp("driver")
    spec = importlib.util.find_spec("pycuda")
    assert spec is not None and spec.submodule_search_locations is not None
    (library,) = Path(spec.submodule_search_locations[0]).glob("_driver*.so")
    wanted = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
    ours = set(re.findall(r"^CUresult (cu\w+)\(", SOURCE.read_text(), flags=re.M))
    others = sorted(set(re.findall(r"\bU (cu\w+)", wanted.stdout)) - ours)
    rest = folder / "rest.c"
    rest.write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in others))
    out = folder / "libcuda.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-w", "-O1", "-o", out, SOURCE, rest, "-ldl"], check=True)
    return folder


@pytest.mark.parametrize("way", ["close", "forget"])
def test_real_packages_on_a_gpu_made_of_host_memory(driver: Path, way: str) -> None:
    # Preloaded too: a pycuda that was built without a driver at hand is not linked to it.
    environment = os.environ | {"LD_LIBRARY_PATH": str(driver), "LD_PRELOAD": str(driver / "libcuda.so.1")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, way], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert done.stdout == ("fine\n" if way == "close" else "")
