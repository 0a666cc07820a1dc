"""TensorRT's timing cache: how long each kernel took on this GPU, so that the next build does not measure it again.

TensorRT-RTX has none: it chooses kernels without measuring, and its calls for it do nothing.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgebind import atomic
from edgebind.cuda import Device
from edgebind.engines.flavour import Flavour, Say

if TYPE_CHECKING:
    import tensorrt_rtx_bindings as trt


def path_of(cache: Path, flavour: Flavour, device: Device) -> Path | None:
    """One file for a GPU and a release; None for a flavour that measures nothing."""
    if flavour.name == "rtx":
        return None
    gpu = re.sub(r"[^A-Za-z0-9]+", "-", f"{device.model} sm{device.sm[0]}{device.sm[1]}").strip("-").lower()
    return cache / f"timing-{flavour.name}-{flavour.version}-{gpu}.cache"


def use(config: trt.IBuilderConfig, path: Path, say: Say) -> None:
    """Let the builder read what was measured before. A cache that TensorRT refuses is measured anew."""
    data = path.read_bytes() if path.is_file() else b""
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False):  # False: refuse another GPU's times
        say(f"{path.name}: TensorRT refuses these measured times; measuring again")
        config.set_timing_cache(config.create_timing_cache(b""), False)


def keep(config: trt.IBuilderConfig, path: Path) -> None:
    """Write what is known now. Two builds at once: the later one's times stay, the other's are measured again some day.

    Raises
    ------
    StorageError: it cannot be written.
    """
    cache = config.get_timing_cache()
    if cache is not None:
        with atomic.file(path) as scratch:
            scratch.write_bytes(bytes(cache.serialize()))
