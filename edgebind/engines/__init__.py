"""TensorRT engines of a bundle's encoder: found in a cache, or built, and never loaded where they do not fit.

    flavour.py   `tensorrt` or TensorRT-RTX, two modules with one API
    key.py       what an engine was built from and for
    store.py     the cache on the disk: locks, hashes, whole files
    builder.py   graph -> engine
    watch.py     progress, complaints and Ctrl-C while TensorRT is busy
    timing.py    measured times of kernels, kept for the next build
    loading.py   file -> an engine on the GPU
    contexts.py  execution contexts of an engine, and what TensorRT-RTX compiles for them
    pixels.py    the end of a picture's preprocessing, put in front of the graph
    resizing.py  its resize as nodes of the graph; onnx_nodes.py writes them

`engine_for` finds or builds; `loading.load` is what a runtime calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgebind import bundle
from edgebind.cuda import Device, Sm
from edgebind.engines import store, timing
from edgebind.engines.builder import Job, build, check
from edgebind.engines.flavour import Flavour, Progress, Say, load_flavour, silent, unseen
from edgebind.engines.key import EngineKey, Options, Profile, key_for
from edgebind.engines.pixels import Front
from edgebind.errors import OptionError
from edgebind.manifest import Manifest
from edgebind.preprocess.tail import Tail

__all__ = [
    "Device",
    "EngineFile",
    "EngineKey",
    "Flavour",
    "Options",
    "Profile",
    "engine_for",
    "load_flavour",
]

DEFAULT = Profile(1, 1, 16)
"""What `edgebind build` and `edgebind run` want when nobody says otherwise."""


@dataclass(frozen=True, slots=True)
class EngineFile:
    """An engine on the disk that was checked: its key fits and its bytes are its own."""

    path: Path
    key: EngineKey
    built: bool
    """Whether it was built just now."""
    why: str
    """Why it was built; empty for one that was found."""
    seconds: float
    """How long its build took, now or then."""

    @property
    def size(self) -> int:
        """Bytes."""
        return self.path.stat().st_size

    @property
    def largest(self) -> int:
        """The largest batch that one of its profiles accepts."""
        return max(profile.max for profile in self.key.profiles)

    def pieces(self, count: int) -> list[slice]:
        """Rows of a call, in batches that a profile accepts, each as large as can be.

        Raises
        ------
        OptionError: some rows are left that are too few for every profile.
        """
        found, at = list[slice](), 0
        while at < count:
            size = max((min(one.max, count - at) for one in self.key.profiles if one.min <= count - at), default=0)
            if size == 0:
                raise self._no_such_batch(count)
            found.append(slice(at, at + size))
            at += size
        return found

    def profile_for(self, batch: int) -> int:
        """Index of the engine's profile that is best for a batch of that size.

        Raises
        ------
        OptionError: no profile accepts it.
        """
        fitting = [(p.max, index) for index, p in enumerate(self.key.profiles) if p.min <= batch <= p.max]
        if not fitting:
            raise self._no_such_batch(batch)
        return min(fitting)[1]

    def _no_such_batch(self, batch: int) -> OptionError:
        wanted = "; ".join(str(profile) for profile in self.key.profiles)
        return OptionError("the engine accepts no such batch", where=self.path, wanted=wanted, got=batch)


def engine_for(
    bundle_folder: Path,
    manifest: Manifest,
    *,
    device: Device,
    profile: Profile | Sequence[Profile] = DEFAULT,
    progress: Progress = unseen,
    cache: Path | None = None,
    flavour: Flavour | None = None,
    options: Options | None = None,
    sms: tuple[Sm, ...] = (),
    front: Front | None = None,
    or_any: bool = False,
    or_frames: Tail | None = None,
    say: Say = silent,
) -> EngineFile:
    """The engine of this bundle for that device: from the cache, or built and put there.

    Parameters
    ----------
    bundle_folder, manifest: a bundle that was verified (`edgebind.bundle.verify`).
    profile: the batches it must accept; several make one engine with a profile for each.
    progress: called with (phase, step, steps) while it is being built.
    cache: the folder engines are kept in; None takes `edgebind.engines.store.default_cache()`.
    sms: compute capabilities to build for instead of the device's own (TensorRT-RTX).
    front: the end of the preprocessing that the engine does itself, from 8-bit pixels on; None builds one for the encoder's own input.
    or_any: where the cache has none for `profile`, `options` and the frames of `front`, take the one that was built last, for a
        runtime that can do with any.
    or_frames: then also one for frames, with this tail of the preprocessing, which is taken only where somebody built it.
    say: called with the line that says why an engine has to be built.

    Raises
    ------
    OptionError, MissingDependencyError, BackendError: see `edgebind.engines.builder.build`.
    StorageError: the cache cannot be written.
    """
    flavour, options = flavour or load_flavour(), options or Options()
    profiles = (profile,) if isinstance(profile, Profile) else tuple(profile)
    wanted = key_for(manifest, flavour, device, profiles, options, sms, front)
    cache = cache or store.default_cache()
    found, why = store.find(cache, wanted, or_any=or_any)
    if found is None and or_frames is not None:
        found, _ = store.find(cache, replace(wanted, pixels=or_frames.digest), or_any=True)
    if found is not None:
        return _found(found)
    times, here = timing.path_of(cache, flavour, device), device if device.name else None
    graph = bundle_folder / bundle.ENCODER
    job = Job(graph, flavour, profiles, wanted.sms, options, here, manifest.precision, times, front)
    check(job)  # before a folder is made
    path = store.path_of(cache, wanted)
    with store.locked(path, say):
        found, _ = store.find(cache, wanted, or_any=or_any)  # another process may have been faster
        if found is not None:
            return _found(found)
        patience = "" if flavour.builds_without_gpu else ", which can take minutes"  # it measures kernels
        say(f"building an engine with {flavour} for {wanted.place}{patience}: {why}")
        plan = build(job, progress=progress, say=say)
        store.write(path, wanted, plan.data, plan.seconds)
    return EngineFile(path, wanted, True, why, plan.seconds)


def _found(found: store.Found) -> EngineFile:
    return EngineFile(found.path, found.note.key, False, "", found.note.seconds)
