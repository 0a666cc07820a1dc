"""Who takes part in a race: bundles, each on each backend, with an input to work on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import bundle as bundles
from edgebind import modality as modalities
from edgebind.bundle import Bundle
from edgebind.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Contestant:
    """An opened bundle on one backend."""

    folder: Path
    opened: Bundle
    load_ms: float
    """To check every byte and load the encoder."""

    @property
    def name(self) -> str:
        """Unlike any other's in the same race."""
        return f"{self.folder} on {self.opened.backend.name}"

    def feed(self, batch: int) -> dict[str, NDArray[np.generic]]:
        """A batch of plausible inputs, as its backend takes them."""
        fed = self.opened.feed([_window(self.opened.manifest)])
        return {name: np.repeat(value, batch, axis=0) for name, value in fed.items()}

    def describe(self) -> dict[str, Any]:
        """What a report says of it before any call."""
        build_s = getattr(self.opened.backend, "build_s", None)  # of backends that have engines
        return {
            "bundle": str(self.folder),
            "backend": self.opened.backend.name,
            "precision": self.opened.manifest.precision,
            "load_ms": self.load_ms,
            **({} if build_s is None else {"build_s": build_s}),
        }


@contextmanager
def opened(folders: Sequence[Path], backends: Sequence[str], threads: int | None) -> Iterator[list[Contestant]]:
    """Every bundle on every backend, bundles first in order; all are closed in the end.

    Raises
    ------
    BundleError, BackendError, MissingDependencyError, OptionError: one of them cannot be opened.
    """
    with ExitStack() as stack:
        found: dict[str, Contestant] = {}
        for folder in folders:
            for backend in backends:
                one = _open(folder, backend, threads)
                stack.enter_context(one.opened)
                found.setdefault(one.name, one)  # `auto` may choose one that was also named
        yield list(found.values())


def _open(folder: Path, backend: str, threads: int | None) -> Contestant:
    start = perf_counter()
    bundle = bundles.load(folder, backend=backend, threads=threads)
    _ = bundle.backend
    return Contestant(folder, bundle, round((perf_counter() - start) * 1e3, 2))


def example(opened: Bundle, batch: int) -> NDArray[np.generic]:
    """A batch of plausible inputs of the bundle's graph."""
    return np.repeat(opened.prepare([_window(opened.manifest)]), batch, axis=0)


def _window(manifest: Manifest) -> NDArray[Any]:
    """In physical units. Only its shape matters to the clock, so seeded noise will do here."""
    if manifest.modality == "text":
        return np.asarray("a prompt of some words")
    rng, shape = np.random.default_rng(0), window_shape(manifest)
    if manifest.modality in ("thermal", "vision"):
        return rng.integers(0, 256, shape, dtype=np.uint8)
    return np.abs(rng.normal(size=shape)).astype(np.float32)


def window_shape(manifest: Manifest) -> tuple[int, ...]:
    """Shape of one window's samples, in physical units."""
    if not modalities.get(manifest.modality).is_camera:
        return (len(manifest.window.channels), manifest.window.length)
    return (480, 640, 3) if manifest.modality == "vision" else (480, 640)
