"""What can this machine run, with which backends, and why not the rest?"""

from __future__ import annotations

import ctypes
import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgebind import cpu, extras
from edgebind.errors import EdgebindError


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    area: str
    """`machine`, `backend`, `workstation`, `bundle` or `sensor`."""
    name: str
    ok: bool
    detail: str
    remedy: str = ""
    """What would mend it; empty when nothing needs mending."""


def examine() -> list[Finding]:
    """Look at everything that decides what edgebind can do here. Reads only; never fails."""
    return [finding for part in (_machine, _backends, _workstation, _starter, _sensors) for finding in part()]


def cuda_driver() -> tuple[bool, str]:
    """Whether a CUDA driver answers, and its version or the reason why not.

    TensorRT's own objects break, and can crash the process, where there is no driver, so this asks the driver itself,
    through ctypes, before anything of TensorRT is touched.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False, "no NVIDIA driver (libcuda.so.1 is not there)"
    code = driver.cuInit(0)
    if code != 0:
        return False, f"the NVIDIA driver does not start (cuInit gave {code})"
    version = ctypes.c_int()
    driver.cuDriverGetVersion(ctypes.byref(version))
    return True, f"CUDA driver {version.value // 1000}.{version.value % 1000 // 10}"


def _machine() -> Iterator[Finding]:
    yield Finding("machine", "python", True, f"{platform.python_version()} on {platform.platform()}")
    yield Finding("machine", "board", True, _board())
    kernels = "VNNI: 8-bit kernels are exact" if cpu.has_vnni() else "no VNNI: U8U8 kernels, because U8S8 saturate"
    if cpu.is_arm():
        kernels = "ARM dot products" if "asimddp" in cpu.flags() else "ARM without dot products: INT8 gains little"
    yield Finding("machine", "cpu", True, f"{os.cpu_count()} processors, {cpu.default_threads()} used; {kernels}")
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding("machine", "disk", free > 1, f"{free:.1f} GB free here", "" if free > 1 else "free some space")
    present, detail = cuda_driver()
    yield Finding(
        "machine", "gpu", present, detail, "" if present else "fine for CPU use; a Jetson has it from JetPack"
    )


def _board() -> str:
    model = Path("/proc/device-tree/model")
    if model.is_file():
        return model.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return f"{platform.machine()} computer, not a Jetson"


def _backends() -> Iterator[Finding]:
    yield _package("backend", "onnxruntime", extras.remedy("cpu"), probe=_onnxruntime_providers)
    present, reason = cuda_driver()
    for module, remedy in (
        ("tensorrt", f"comes with JetPack; elsewhere: {extras.remedy('tensorrt')}"),
        # The bindings' wheel names its module so; NVIDIA's meta package adds the plain name.
        ("tensorrt_rtx_bindings", extras.remedy("rtx")),
    ):
        found = _package("backend", module, remedy)
        if found.ok and not present:
            found = Finding(
                "backend", module, False, f"{found.detail}, but {reason}", "it can build engines, not run them"
            )
        yield found


def _onnxruntime_providers() -> str:
    import onnxruntime

    return ", ".join(name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers())


def _workstation() -> Iterator[Finding]:
    for module, purpose, extra in (
        ("onnx", "edgebind export", "export"),
        ("onnxsim", "edgebind export", "export"),
        ("torch", "edgebind bind, export of a checkpoint", "train"),
        ("sentence_transformers", "edgebind labels", "labels"),
        ("instant_clip_tokenizer", "prompts for ImageBind (x86-64, Python 3.10 to 3.12)", "text"),
        ("av", "sound files other than WAV", "audio"),
    ):
        found = _package("workstation", module, f"for {purpose}: {extras.remedy(extra)}")
        yield found


def _starter() -> Iterator[Finding]:
    from edgebind import bundle, starter

    for modality in starter.MODALITIES:
        for precision in starter.PRECISIONS:
            folder = starter.folder(modality, precision)
            name = f"starter {modality} {precision}"
            try:
                manifest = bundle.verify(folder)
            except EdgebindError as error:
                yield Finding("bundle", name, False, str(error), "install edgebind again")
            else:
                yield Finding("bundle", name, True, f"whole, {manifest.dim} dimensions, {len(manifest.labels)} labels")


def _sensors() -> Iterator[Finding]:
    for name, pattern, remedy in (
        ("imu", "/sys/bus/iio/devices/iio:device*/in_accel*raw", "an IMU with a Linux IIO driver would show here"),
        ("thermal", "/dev/video*", "a camera with a Linux V4L2 driver would show here"),
    ):
        found = sorted(Path("/").glob(pattern.lstrip("/")))
        detail = ", ".join(sorted({str(path.parent if name == "imu" else path) for path in found})) or "none found"
        yield Finding("sensor", name, bool(found), detail, "" if found else f"{remedy}; recordings can be replayed")


def _package(area: str, module: str, remedy: str, probe: Callable[[], str] | None = None) -> Finding:
    if importlib.util.find_spec(module) is None:
        return Finding(area, module, False, "not installed", remedy)
    detail = _version(module)
    try:
        detail += f" ({probe()})" if probe is not None else ""
    except Exception as error:  # a broken install may raise anything, and telling so is this command's job
        return Finding(area, module, False, f"{detail} is installed and does not load: {error}", remedy)
    return Finding(area, module, True, detail)


def _version(module: str) -> str:
    names = importlib.metadata.packages_distributions().get(module, [module])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"
