"""edgebind: a shared embedding space on a Jetson.

    import edgebind

    bundle = edgebind.load("bundles/imu-int8")
    vectors = bundle.embed(windows)  # (batch, dim), unit rows

Importing this package brings in neither torch, onnx nor onnxruntime.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["Bundle", "EdgebindError", "__version__", "load"]

if TYPE_CHECKING:
    from edgebind.bundle import Bundle, load
    from edgebind.errors import EdgebindError

_HOMES = {"Bundle": "edgebind.bundle", "load": "edgebind.bundle", "EdgebindError": "edgebind.errors"}


def __getattr__(name: str) -> Any:
    # Looked up on first use, so that `edgebind --help` does not wait for NumPy.
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'edgebind' has no attribute {name!r}")
