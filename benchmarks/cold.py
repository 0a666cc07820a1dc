"""The first embedding after power-up: what a fresh process waits, and what memory it takes.

Measured in a process of its own, because in this one caches are warm, packages are loaded, and memory belongs to all
contestants together.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from edgebind.errors import BackendError

STATUS = Path("/proc/self/status")


def measure(folder: Path, *, backend: str = "auto", batch: int = 1, threads: int | None = None) -> dict[str, Any]:
    """Start Python, open the bundle and embed once, in a new process.

    Returns
    -------
    `start_to_first_ms`: from the start of the process to the first embedding; `load_ms` and `first_ms` are of it.
    `rss_mb`: host memory after ten calls, `peak_mb` the most at any time, `rss_before_mb` before the bundle was opened
    (Python, NumPy and edgebind). `device_mb`: GPU memory that loading took, where there is a GPU. 1 MB is 10⁶ bytes.

    Raises
    ------
    BackendError: the process failed.
    """
    given = {
        "folder": str(folder),
        "backend": backend,
        "batch": batch,
        "threads": threads,
        "begun": time.monotonic_ns(),
    }
    command = [sys.executable, "-m", "edgebind.benchmarks.cold", json.dumps(given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise BackendError(f"a fresh process could not run it: {reason}", where=folder)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _run(folder: str, backend: str, batch: int, threads: int | None, begun: int) -> dict[str, Any]:
    """What the new process does."""
    from edgebind.benchmarks import contestants, device_memory

    before, free = _memory_mb("VmRSS"), device_memory.free_mb()
    with contestants.opened([Path(folder)], [backend], threads) as (one,):
        feed = one.feed(batch)
        start = time.monotonic_ns()
        one.opened.backend.infer(feed)
        first = time.monotonic_ns()
        for _ in range(10):
            one.opened.backend.infer(feed)
        found = {
            "start_to_first_ms": round((first - begun) / 1e6, 1),
            "load_ms": one.load_ms,
            "first_ms": round((first - start) / 1e6, 2),
            "rss_before_mb": before,
            "rss_mb": _memory_mb("VmRSS"),
            "peak_mb": _memory_mb("VmHWM"),
        }
        after = device_memory.free_mb()
    if free is not None and after is not None:
        found["device_mb"] = round(free - after, 1)
    return found


def _memory_mb(key: str) -> float | None:
    """A line of /proc/self/status, which counts in units of 1024 bytes; None where there is no such file."""
    try:
        lines = STATUS.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f"{key}:"))
    return next((round(int(words[1]) * 1024 / 1e6, 1) for words in found), None)


if __name__ == "__main__":
    from edgebind.errors import EdgebindError

    try:
        print(json.dumps(_run(**json.loads(sys.argv[1]))))
    except EdgebindError as error:
        sys.exit(str(error))
