"""Where an encoder runs. One file a runtime; `open_backend` chooses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from edgebind.backends.base import Backend
from edgebind.errors import OptionError
from edgebind.manifest import Manifest

NAMES = ("tensorrt", "tensorrt-floats", "onnxruntime", "onnxruntime-cuda", "onnxruntime-tensorrt")


def open_backend(
    name: str,
    folder: Path,
    manifest: Manifest,
    *,
    threads: int | None = None,
    pixels: bool = False,
    say: Callable[[str], None] | None = None,
) -> Backend:
    """Load the encoder of the bundle in `folder`.

    Parameters
    ----------
    name: `auto` takes `tensorrt` where it can run, else `onnxruntime`; or one of `NAMES`.
    threads: upper bound of CPU threads; None chooses.
    pixels: let `tensorrt` take 8-bit pixels, where the preprocessing ends in what a GPU can do, see `Backend.takes_pixels`.
    say: called with a line that the user should read, such as why an engine has to be built; None prints it to stderr.

    Raises
    ------
    OptionError: there is no backend of that name.
    MissingDependencyError: its package, driver or device is not there.
    BackendError: it cannot load this graph.
    """
    if name not in ("auto", *NAMES):
        raise OptionError("unknown backend", wanted=" or ".join(("auto", *NAMES)), got=repr(name))
    if name == "auto":
        name = "onnxruntime" if why_no_tensorrt() else "tensorrt"
    if name.startswith("tensorrt"):
        from edgebind.backends.tensorrt import TensorRTBackend

        wanted = pixels and name == "tensorrt"
        return TensorRTBackend.from_bundle(folder, manifest, pixels=wanted, say=say or _to_stderr)
    from edgebind.backends.onnxruntime import OnnxRuntimeBackend

    provider = name.partition("-")[2] or "cpu"
    return OnnxRuntimeBackend.from_bundle(folder, manifest, threads=threads, provider=provider)


def why_no_tensorrt() -> str:
    """Why engines cannot be run here; empty if they can. Asks the driver first, and loads nothing where there is none."""
    from edgebind.backends import gpu

    reason = gpu.missing()
    if reason:
        return reason
    from edgebind.engines import flavour
    from edgebind.errors import MissingDependencyError

    try:
        flavour.load_flavour().device()
    except MissingDependencyError as error:
        return error.what
    return ""


def _to_stderr(line: str) -> None:
    print(f"edgebind: {line}", file=sys.stderr, flush=True)
