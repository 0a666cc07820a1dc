"""A bundle: one encoder with all that belongs to it, in a folder that can be copied to a device.

    manifest.json        what it is, and the sha256 of every other file
    encoder.onnx         one input, one output (batch, dim) of unit rows; in INT8 the Q/DQ graph for TensorRT
    encoder.u8s8.onnx    INT8 only: the same ranges for CPUs with VNNI
    encoder.u8u8.onnx    INT8 only: the same ranges for every other CPU (no saturating kernels)
    labels.npz           prompts and their vectors
    reference.npz        what the sensor looked like when the bundle was calibrated; where recordings were given
    report.json          what was measured; report.html shows it

Nothing in a bundle is trusted before it has been checked: names stay inside the folder, bytes match their hashes, and a
graph reads no file that is not one of the bundle's own.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

import numpy as np

from edgebind import atomic, labels, manifest, onnx_external, preprocess, utf8
from edgebind.closing import Closing
from edgebind.errors import BackendError, BundleError, OptionError, RecordingError
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest
from edgebind.signals import Floats, Samples, Window, Windows

if TYPE_CHECKING:
    from edgebind.backends.base import Backend
    from edgebind.reference import Reference

ENCODER = "encoder.onnx"
LABELS = "labels.npz"


class Bundle(Closing):
    """A verified bundle. Open one with `edgebind.load(folder)`; the encoder is loaded on first use.

    Attributes
    ----------
    manifest: what the encoder is.
    labels: the prompts it can name, with their vectors; empty if the bundle brings none.
    """

    def __init__(
        self,
        folder: Path,
        description: Manifest,
        bank: LabelBank,
        *,
        backend: str,
        threads: int | None,
        pixels: bool = True,
    ) -> None:
        self.folder = folder
        self.manifest = description
        self.labels = bank
        self._preprocess = preprocess.build(description.preprocess)
        made = self._preprocess
        self._batch = made.batch if isinstance(made, preprocess.BatchPreprocessor) else None
        self._picture = made if isinstance(made, preprocess.PixelPreprocessor) else None
        self._backend_name = backend
        self._threads = threads
        self._pixels = pixels
        self._backend: Backend | None = None
        self._is_closed = False

    @property
    def backend(self) -> Backend:
        """The loaded encoder.

        Raises
        ------
        BackendError: the bundle has been closed, or the encoder cannot be run here.
        """
        if self._is_closed:
            raise BackendError("the bundle is closed", where=self.folder, remedy="open it again with edgebind.load")
        if self._backend is None:
            from edgebind import backends

            self._backend = backends.open_backend(
                self._backend_name, self.folder, self.manifest, threads=self._threads, pixels=self._pixels
            )
        return self._backend

    @cached_property
    def reference(self) -> Reference | None:
        """What the sensor looked like when it was calibrated, for `edgebind.drift.Detector`; None if nobody knows.

        Raises
        ------
        BundleError: it is damaged, or of another format or encoder.
        """
        from edgebind import reference

        if reference.FILE not in self.manifest.files:
            return None
        found = reference.read(self.folder / reference.FILE)
        wanted, got = (self.manifest.modality, self.manifest.dim), (found.modality, len(found.mean))
        if got != wanted:
            raise BundleError("reference of another encoder", where=self.folder, wanted=wanted, got=got)
        return found

    def prepare(self, windows: Windows) -> Samples:
        """Physical units -> the encoder's input: windows (or their samples) -> (batch, ...).

        Raises
        ------
        OptionError: no windows.
        RecordingError: a window of the wrong shape, windows of unequal length, or values that are no numbers.
        """
        if self._batch is not None and len(windows) > 1 and (together := _together(windows)) is not None:
            with contextlib.suppress(RecordingError):  # which window is at fault is found out below
                return self._batch(together)
        return self._one_by_one(windows, self._preprocess)

    def feed(self, windows: Windows) -> dict[str, Samples]:
        """What the loaded encoder is fed for some windows: what `prepare` gives, or the 8-bit pixels before it where a GPU does the rest.

        Raises
        ------
        BackendError: the bundle has been closed, or the encoder cannot be run here.
        OptionError, RecordingError: as `prepare`, or frames of another size than its engine was built for.
        """
        backend = self.backend
        if backend.takes_pixels and self._picture is not None:
            made = self._picture.pixels if backend.frame is None else partial(_framed, self._picture, backend.frame)
            return {backend.input_name: self._one_by_one(windows, made)}
        return {backend.input_name: self.prepare(windows)}

    def _one_by_one(self, windows: Windows, prepare: Callable[[Samples], Samples]) -> Samples:
        inputs = [_prepared(window, prepare) for window in windows]
        if not inputs:
            raise OptionError("nothing to embed", wanted="at least one window", got=0)
        # One is the live case, where stacking would cost as much as preprocessing.
        return inputs[0][None] if len(inputs) == 1 else _stacked(inputs)

    def embed(self, windows: Windows) -> Floats:
        """Unit vectors of some windows.

        Parameters
        ----------
        windows: windows, or arrays in the manifest's units: each (channels, length) for a signal or sound, (height, width)
            for thermal and depth frames, (height, width, 3) for vision, one string for text.

        Returns
        -------
        (batch, dim) float32, rows of Euclidean length 1.

        Raises
        ------
        OptionError: no windows.
        RecordingError: a window of the wrong shape, windows of unequal length, or values that are no numbers.
        BackendError: the bundle has been closed, or the encoder cannot be run here.
        """
        backend = self.backend
        return backend.infer(self.feed(windows))[backend.output_name]

    def close(self) -> None:
        """Give the encoder back; nothing can be embedded after it. Calling it twice is harmless."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None
        self._is_closed = True

    def __repr__(self) -> str:
        of = self.manifest
        return f"<Bundle {of.space} {of.modality} {of.precision}, {of.dim} dimensions, {len(self.labels)} labels>"


def _framed(picture: preprocess.PixelPreprocessor, size: tuple[int, int], samples: Samples) -> Samples:
    frame = picture.frame(samples)
    if frame.shape[:2] != size:
        wanted, got = (f"{width} x {height}" for height, width in (size, frame.shape[:2]))
        remedy = "build one without --frame, or take --backend tensorrt-floats"
        raise RecordingError("the engine was built for frames of another size", wanted=wanted, got=got, remedy=remedy)
    return frame


def _prepared(window: Window | Samples, prepare: Callable[[Samples], Samples]) -> Samples:
    if not isinstance(window, Window):
        return prepare(_as_array(window))
    try:
        return prepare(window.samples)
    except RecordingError as error:
        if error.where or not window.origin:
            raise
        raise error.at(window.origin) from error


def _together(windows: Windows) -> Samples | None:
    """Windows of a signal as one array (n, channels, length); None if they are not all of one shape."""
    samples = [window.samples if isinstance(window, Window) else window for window in windows]
    first = samples[0]
    if not all(isinstance(item, np.ndarray) and item.shape == first.shape for item in samples):
        return None
    return np.stack(samples)


def _as_array(samples: object) -> Samples:
    try:
        return np.asarray(samples)
    except ValueError as error:  # rows of unequal length
        raise RecordingError("a window is no array of numbers", wanted="rows of equal length") from error


def _stacked(inputs: Sequence[Samples]) -> Samples:
    try:
        return np.stack(inputs)
    except ValueError as error:
        wanted = inputs[0].shape
        place = next(place for place, item in enumerate(inputs) if item.shape != wanted)
        raise RecordingError(
            "windows of unequal length",
            where=f"window {place}",
            wanted=f"{wanted} as window 0",
            got=inputs[place].shape,
        ) from error


def load(folder: str | Path, *, backend: str = "auto", threads: int | None = None, pixels: bool = True) -> Bundle:
    """Open the bundle in `folder` after checking every byte of it.

    Parameters
    ----------
    backend: `auto`, or the name of one of `edgebind.backends.NAMES`.
    threads: upper bound of threads for a CPU backend; None chooses one.
    pixels: let a TensorRT engine do the end of a picture's preprocessing; False for who feeds its backend what `prepare` gives.

    Raises
    ------
    BundleError: no bundle, one of another format, or one that was altered.
    """
    folder = Path(folder)
    description = verify(folder)
    bank = LabelBank.empty(description.dim)
    if LABELS in description.files:
        bank = labels.read(folder / LABELS, description.dim, description.space)
    if bank.prompts != description.labels:
        raise BundleError("labels differ from the manifest's", where=folder / LABELS, wanted=description.labels)
    return Bundle(folder, description, bank, backend=backend, threads=threads, pixels=pixels)


def verify(folder: Path) -> Manifest:
    """The manifest of `folder`, once every file in it has been found whole and its own.

    Raises
    ------
    BundleError: a file is missing or altered, a name leaves the folder, a graph reads a file that is not listed.
    """
    description = manifest.read(folder / manifest.FILE)
    if ENCODER not in description.files:
        raise BundleError(f"the manifest lists no {ENCODER}", where=folder / manifest.FILE)
    for name, digest in description.files.items():
        _verify_file(folder, name, digest)
    for name in description.files:
        if name.endswith(".onnx"):
            _verify_externals(folder, name, description.files)
    return description


def write(target: Path, description: Manifest, sources: Mapping[str, Path | bytes]) -> Manifest:
    """Write a bundle to `target`, whole or not at all; returns the manifest with its hashes.

    Parameters
    ----------
    sources: file name in the bundle -> its bytes, or a file to move in.

    Raises
    ------
    StorageError: the disk is full or cannot be written.
    """
    if target.exists() and not (target / manifest.FILE).is_file() and (target.is_file() or any(target.iterdir())):
        raise OptionError("will not replace what is no bundle", where=target, remedy="choose another --out")
    with atomic.directory(target) as scratch:
        for name, source in sources.items():
            _place(scratch / name, source)
        complete = description.with_files({name: sha256(scratch / name) for name in sources})
        (scratch / manifest.FILE).write_bytes(utf8.encoded(complete.to_json()))
        verify(scratch)
    return complete


def sha256(path: Path) -> str:
    """Hex digest of a file, read in pieces so that a graph of gigabytes needs no gigabytes of memory."""
    digest = hashlib.sha256()
    with open(path, "rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def _place(path: Path, source: Path | bytes) -> None:
    import shutil

    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(source, bytes):
        path.write_bytes(source)
    else:
        shutil.copyfile(source, path)


def _verify_file(folder: Path, name: str, digest: str) -> None:
    path = folder / name
    pure = PurePosixPath(name)
    if pure.is_absolute() or ".." in pure.parts or "\\" in name or not _is_inside(path, folder):
        raise BundleError(
            f"file {name!r} lies outside the bundle", where=folder / manifest.FILE, remedy="do not trust it"
        )
    if not path.is_file():
        raise BundleError(f"file {name!r} is missing", where=folder, remedy="copy or export the bundle again")
    found = sha256(path)
    if found != digest:
        raise BundleError(
            f"file {name!r} was altered",
            where=folder,
            wanted=f"sha256 {digest[:12]}",
            got=found[:12],
            remedy="copy or export the bundle again",
        )


def _is_inside(path: Path, folder: Path) -> bool:
    return path.resolve().is_relative_to(folder.resolve())


def _verify_externals(folder: Path, name: str, files: Mapping[str, str]) -> None:
    for location in sorted(onnx_external.locations(folder / name)):
        own = str(PurePosixPath(name).parent / location)
        if own not in files:
            raise BundleError(
                f"graph {name!r} reads {location!r}, which is not a file of the bundle",
                where=folder,
                remedy="do not trust it",
            )
