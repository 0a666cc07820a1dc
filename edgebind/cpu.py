"""What this processor can do, as far as it decides which integer kernels are right and fast."""

from __future__ import annotations

import os
import platform
from functools import cache
from pathlib import Path


@cache
def flags() -> frozenset[str]:
    """Instruction sets as Linux names them; empty where it does not say."""
    return frozenset(_said("flags", "Features").split())


@cache
def name() -> str:
    """The processor as Linux calls it."""
    return _said("model name", "Model") or platform.processor() or platform.machine()


def _said(*keys: str) -> str:
    """The first value that /proc/cpuinfo gives for one of `keys`; empty where there is none."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() in keys:
            return value.strip()
    return ""


def has_vnni() -> bool:
    """Whether 8-bit products are summed in 32 bits (VPDPBUSD); without it U8S8 kernels saturate at 16 bits."""
    return bool(flags() & {"avx512_vnni", "avx_vnni"})


def is_arm() -> bool:
    return platform.machine().lower() in ("aarch64", "arm64")


def sums_in_32_bits() -> bool:
    """Whether U8S8 kernels are exact here: on ARM, and on x86 with VNNI."""
    return is_arm() or has_vnni()


def default_threads() -> int:
    """Processors this process may use, at most four: one window gains nothing from more, and a robot has other work."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(4, usable))
