"""NVIDIA's own programs for timing a graph, run where they are installed, and what they print.

    trtexec       [I] GPU Compute Time: min = 1.9 ms, max = ..., median = 1.9 ms, percentile(90%) = ..., percentile(99%) = 4.8 ms
    polygraphy    [I] trt-runner-N0-...   | Completed 100 iteration(s) in 57.3 ms | Average inference time: 0.573 ms.

They run alone and not in turns with the others, so their milliseconds are to be read with that in mind.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from edgebind.errors import BackendError

TIMEOUT_S = 1800.0
"""For the build and the run together."""


def measure(graph: Path, input_name: str, shape: tuple[int, ...]) -> dict[str, dict[str, Any]]:
    """What each program that is on the PATH says of a graph: {program: figures}; nothing where there is none.

    Raises
    ------
    BackendError: one of them fails, or prints no figures.
    """
    size = "x".join(map(str, shape))
    shapes = f"{input_name}:[{','.join(map(str, shape))}]"
    commands = {
        "trtexec": [f"--onnx={graph}", f"--shapes={input_name}:{size}", "--useCudaGraph", "--noTF32"],
        "polygraphy": ["run", str(graph), "--trt", "--warm-up=20", "--iterations=200", "--input-shapes", shapes],
    }
    parsers = {"trtexec": parse_trtexec, "polygraphy": parse_polygraphy}
    return {
        name: parsers[name](_run([name, *arguments]))
        for name, arguments in commands.items()
        if shutil.which(name) is not None
    }


def _run(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BackendError(f"{command[0]} did not end within {TIMEOUT_S:.0f} s") from error
    if done.returncode != 0:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "[E]" in line] or ["it says not why"]
        raise BackendError(f"{command[0]} fails: {lines[0][:300]}")
    return done.stdout


def parse_trtexec(text: str) -> dict[str, Any]:
    """Milliseconds of a whole call (`p50_ms`, `p99_ms`) and of the GPU alone (`device_ms`), and calls a second.

    Raises
    ------
    BackendError: there is no performance summary.
    """
    rate = re.search(r"Throughput: ([\d.]+) qps", text)
    call = re.search(
        r"(?<!H2D )(?<!D2H )(?<!Host )Latency: min = .*?median = ([\d.]+) ms.*?percentile\(99%\) = ([\d.]+) ms", text
    )
    alone = re.search(r"GPU Compute Time: min = .*?median = ([\d.]+) ms", text)
    if rate is None or call is None or alone is None:
        raise BackendError("trtexec printed no performance summary")
    return {
        "p50_ms": float(call[1]),
        "p99_ms": float(call[2]),
        "device_ms": float(alone[1]),
        "calls_per_second": float(rate[1]),
    }


def parse_polygraphy(text: str) -> dict[str, Any]:
    """Mean milliseconds of a call, copies included.

    Raises
    ------
    BackendError: there is no such line.
    """
    found = re.search(r"Average inference time: ([\d.]+(?:e[-+]?\d+)?) ms", text)
    if found is None:
        raise BackendError("polygraphy printed no inference time")
    return {"mean_ms": float(found[1])}
