"""Bundle -> engine file, on the device or ahead on a workstation.

The full TensorRT of Jetsons and data centres builds for the GPU it runs on. TensorRT-RTX compiles without a GPU for those it
is named. Imports neither onnx nor torch: a device has neither.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgebind import bundle, preprocess
from edgebind.cuda import Device, Sm
from edgebind.engines import EngineFile, engine_for
from edgebind.engines.flavour import Flavour, Progress, Say, load_flavour, silent, unseen
from edgebind.engines.key import Options, Profile
from edgebind.engines.pixels import Front
from edgebind.errors import MissingDependencyError, OptionError
from edgebind.manifest import Manifest


def parse_target(text: str) -> Sm:
    """`sm_86`, `sm86`, `86` or `8.6` -> (8, 6).

    Raises
    ------
    OptionError: it is no compute capability.
    """
    found = re.fullmatch(r"(?:sm_?)?(\d{1,2})\.?(\d)", text.strip().lower())
    if found is None:
        raise OptionError(
            "no GPU's compute capability", where="--target", wanted="such as sm_86 or 8.6", got=repr(text)
        )
    return int(found[1]), int(found[2])


@dataclass(frozen=True, slots=True)
class Site:
    """What builds, and for which GPU."""

    flavour: Flavour
    device: Device
    sms: tuple[Sm, ...] = ()
    """GPUs that are only named; empty for the one that is here."""


def ahead(targets: Sequence[str], flavour: str = "auto") -> Site:
    """For GPUs that are not here, all of them by one engine.

    Raises
    ------
    OptionError: no compute capability, or a flavour that builds only for the GPU it runs on.
    MissingDependencyError: the flavour is not installed.
    """
    sms = tuple(sorted({parse_target(text) for text in targets}))
    loaded = load_flavour("rtx" if flavour == "auto" else flavour)
    if not loaded.builds_without_gpu:
        raise OptionError(
            f"{loaded} builds for the GPU it runs on, and no other",
            where="--target",
            remedy="build on that device, or take --flavour rtx",
        )
    return Site(loaded, Device("", sms[0]), sms)


def here(flavour: str = "auto") -> Site:
    """For the GPU of this machine; where there are several, the first that `CUDA_VISIBLE_DEVICES` shows.

    Raises
    ------
    OptionError: no such flavour.
    MissingDependencyError: no TensorRT, no driver or one that is too old, or a GPU that it does not know.
    """
    loaded = load_flavour(flavour)
    try:
        return Site(loaded, loaded.device())
    except MissingDependencyError as error:
        if not loaded.builds_without_gpu:
            raise
        remedy = "name a GPU to build for, with --target sm_86"
        where, wanted, got = error.where, error.wanted, error.got
        raise MissingDependencyError(error.what, where=where, wanted=wanted, got=got, remedy=remedy) from error


def build(
    folder: Path,
    site: Site,
    *,
    profiles: tuple[Profile, ...],
    options: Options,
    floats: bool = False,
    frame: tuple[int, int] | None = None,
    out: Path | None = None,
    progress: Progress = unseen,
    say: Say = silent,
) -> EngineFile:
    """The engine of the bundle in `folder`, from the cache `out` or built into it.

    Parameters
    ----------
    floats: take the encoder's own input where 8-bit pixels could be taken too, and the end of the preprocessing be done on the GPU.
    frame: height and width of frames that the engine resizes too; None leaves that to the host.

    Raises
    ------
    OptionError: `frame` with `floats`, or for an encoder into which no 8-bit frames come.
    BundleError: the bundle is incomplete or altered.
    OptionError, MissingDependencyError, BackendError, StorageError: see `edgebind.engines.engine_for`.
    """
    manifest = bundle.verify(folder)
    return engine_for(
        folder,
        manifest,
        device=site.device,
        profile=profiles,
        progress=progress,
        cache=out,
        flavour=site.flavour,
        options=options,
        sms=site.sms,
        front=_front(folder, manifest, floats, frame),
        say=say,
    )


def _front(folder: Path, manifest: Manifest, floats: bool, frame: tuple[int, int] | None) -> Front | None:
    """What of the preprocessing the engine does."""
    tail = preprocess.tail_of(manifest.preprocess, sometimes=frame is not None)
    if frame is not None and (floats or tail is None):
        got = "--floats" if floats else f"kind {manifest.preprocess['kind']!r}"
        raise OptionError(
            "no 8-bit frames come into this engine",
            where=folder,
            wanted="pictures whose pixels do not depend on each other, for --frame",
            got=got,
        )
    return None if floats or tail is None else Front(tail, frame)


def parse_frame(text: str) -> tuple[int, int]:
    """`640x480`, as cameras say it -> (480, 640), as arrays do.

    Raises
    ------
    OptionError: it is no size of a frame.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text.strip().lower())
    if found is None:
        raise OptionError("no size of a frame", where="--frame", wanted="such as 640x480", got=repr(text))
    return int(found[2]), int(found[1])
