"""The machine a number was measured on, so that a kept result can be read a year later."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from typing import Any

from edgebind import __version__, cpu
from edgebind.doctor import cuda_driver


def describe() -> dict[str, Any]:
    """Processor, operating system, driver and the versions of what took part."""
    _, driver = cuda_driver()
    return {
        "cpu": cpu.name(),
        "cpus": os.cpu_count(),
        "vnni": cpu.has_vnni(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "cuda": driver,
        "versions": {
            "edgebind": __version__,
            **_versions(
                "numpy", "onnxruntime", "onnxruntime-gpu", "torch", "tensorrt", "tensorrt-rtx-cu13-libs", "pycuda"
            ),
        },
    }


def _versions(*packages: str) -> dict[str, str]:
    found = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
