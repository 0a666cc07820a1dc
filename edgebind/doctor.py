"""What can this machine run, with which backends, and why not the rest?"""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgebind import cpu, cuda, extras
from edgebind.errors import EdgebindError, MissingDependencyError
from edgebind.wording import counted


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
    """Whether a CUDA driver answers, and its version or the reason why not."""
    found = cuda.driver()
    return found.is_there, str(found)


def _machine() -> Iterator[Finding]:
    yield Finding("machine", "python", True, f"{platform.python_version()} on {platform.platform()}")
    yield Finding("machine", "board", True, _board())
    kernels = "VNNI: 8-bit kernels are exact" if cpu.has_vnni() else "no VNNI: U8U8 kernels, because U8S8 saturate"
    if cpu.is_arm():
        kernels = "ARM dot products" if "asimddp" in cpu.flags() else "ARM without dot products: INT8 gains little"
    yield Finding(
        "machine", "cpu", True, f"{counted(os.cpu_count() or 1, 'processor')}, {cpu.default_threads()} used; {kernels}"
    )
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    yield Finding("machine", "disk", free > 1, f"{free:.1f} GB free here", "" if free > 1 else "free some space")
    yield _gpu()


def _gpu() -> Finding:
    try:
        found = cuda.devices()
    except MissingDependencyError as error:
        return Finding("machine", "gpu", False, error.what, "fine for CPU use; a Jetson has it from JetPack")
    seen = ", ".join(f"{device}, {device.memory / 1e9:.1f} GB" for device in found) or "no GPU"
    return Finding("machine", "gpu", bool(found), f"{cuda.driver()}: {seen}", "" if found else "see nvidia-smi")


def _board() -> str:
    model = Path("/proc/device-tree/model")
    if model.is_file():
        return model.read_text(encoding="utf-8", errors="replace").strip("\0\n ")
    return f"{platform.machine()} computer, not a Jetson"


def _backends() -> Iterator[Finding]:
    yield _package("backend", "onnxruntime", extras.remedy("cpu"), probe=_onnxruntime_providers)
    for name, remedy in (
        ("tensorrt", f"comes with JetPack; elsewhere: {extras.remedy('tensorrt')}"),
        ("rtx", extras.remedy("rtx")),
    ):
        yield _tensorrt(name, remedy)
    yield from _ways_onto_a_gpu()


def _ways_onto_a_gpu() -> Iterator[Finding]:
    """What `--backend tensorrt`, its CUDA graphs and ONNX Runtime's providers need beside TensorRT itself."""
    from edgebind.backends import gpu
    from edgebind.backends import onnxruntime as runtime

    reason = gpu.missing()
    yield Finding("backend", "pycuda", not reason, reason or _version("pycuda"), gpu.remedy() if reason else "")
    yield _package("backend", "cuda.bindings", f"for CUDA graphs: {extras.remedy('tensorrt')}")
    for provider in ("cuda", "tensorrt"):
        reason = runtime.why_not(provider)
        advice = "pip install onnxruntime-gpu; on a Jetson, NVIDIA's own wheel for its JetPack" if reason else ""
        yield Finding("backend", f"onnxruntime-{provider}", not reason, reason or "offered by onnxruntime", advice)


def _tensorrt(name: str, remedy: str) -> Finding:
    """Whether engines of this flavour run here; where they do not, whether they can be built at least."""
    from edgebind.engines import flavour

    loaded, reason = flavour.probe(name)
    if loaded is None:
        return Finding("backend", name, False, reason, remedy)
    try:
        device = loaded.device()
    except MissingDependencyError as error:
        advice = "edgebind build --target builds engines for other machines" if loaded.builds_without_gpu else ""
        return Finding("backend", name, False, f"{loaded}: {error.what}", advice or error.remedy or remedy)
    return Finding("backend", name, True, f"{loaded} on {device}")


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
                yield Finding(
                    "bundle", name, True, f"whole, {manifest.dim} dimensions, {counted(len(manifest.labels), 'label')}"
                )


def _sensors() -> Iterator[Finding]:
    for name, pattern, remedy in (
        ("imu", "/sys/bus/iio/devices/iio:device*/in_accel*raw", "an IMU with a Linux IIO driver would show here"),
        ("thermal", "/dev/video*", "a camera with a Linux V4L2 driver would show here"),
    ):
        found = sorted(Path("/").glob(pattern.lstrip("/")))
        detail = ", ".join(sorted({str(path.parent if name == "imu" else path) for path in found})) or "none found"
        yield Finding("sensor", name, bool(found), detail, "" if found else f"{remedy}; recordings can be replayed")


def _package(area: str, module: str, remedy: str, probe: Callable[[], str] | None = None) -> Finding:
    if not _is_installed(module):
        return Finding(area, module, False, "not installed", remedy)
    detail = _version(module)
    try:
        detail += f" ({probe()})" if probe is not None else ""
    except Exception as error:  # a broken install may raise anything, and telling so is this command's job
        return Finding(area, module, False, f"{detail} is installed and does not load: {error}", remedy)
    return Finding(area, module, True, detail)


def _is_installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # of a package around it
        return False


def _version(module: str) -> str:
    names = importlib.metadata.packages_distributions().get(module, [module.replace(".", "-")])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "version unknown"
