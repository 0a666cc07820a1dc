"""Where an encoder runs. One file a runtime; `open_backend` chooses."""

from __future__ import annotations

from pathlib import Path

from edgebind.backends.base import Backend
from edgebind.errors import OptionError
from edgebind.manifest import Manifest

NAMES = ("onnxruntime",)


def open_backend(name: str, folder: Path, manifest: Manifest, *, threads: int | None = None) -> Backend:
    """Load the encoder of the bundle in `folder`.

    Raises
    ------
    OptionError: there is no backend of that name.
    MissingDependencyError: its package is not installed.
    BackendError: it cannot load this graph.
    """
    if name not in ("auto", *NAMES):
        raise OptionError("unknown backend", wanted=" or ".join(("auto", *NAMES)), got=repr(name))
    from edgebind.backends.onnxruntime import OnnxRuntimeBackend

    return OnnxRuntimeBackend.from_bundle(folder, manifest, threads=threads)
