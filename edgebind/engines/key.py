"""What an engine was built from and for. One whose key does not fit is never loaded: it is built again.

An engine is bound to its graph, to TensorRT's release, to the GPU and to the batches it was optimised for. Only a
hardware-compatible engine may stand in for others: it runs on every GPU from Ampere on.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from typing import Any

from edgebind import bundle
from edgebind.cuda import Device, Sm
from edgebind.engines.flavour import Flavour
from edgebind.engines.pixels import Front
from edgebind.errors import OptionError
from edgebind.manifest import Manifest

_AMPERE: Sm = (8, 0)
LARGEST_BATCH = 4096


@dataclass(frozen=True, slots=True, order=True)
class Profile:
    """The batch sizes that an engine accepts, and the one it is fastest at."""

    min: int = 1
    opt: int = 1
    max: int = 16

    def __post_init__(self) -> None:
        if not 1 <= self.min <= self.opt <= self.max <= LARGEST_BATCH:
            raise OptionError(
                "batch sizes out of order",
                wanted=f"1 <= min <= opt <= max <= {LARGEST_BATCH}",
                got=f"{self.min}, {self.opt}, {self.max}",
            )

    def covers(self, other: Profile) -> bool:
        """Whether every batch that `other` accepts is accepted."""
        return self.min <= other.min and other.max <= self.max

    def __str__(self) -> str:
        return f"batch {self.min}" if self.min == self.max else f"batches {self.min} to {self.max}, best at {self.opt}"


def parse_batches(text: str) -> tuple[Profile, ...]:
    """`1,16` -> an engine for exactly 1 and exactly 16; `1-16` -> any from 1 to 16, best at 1; `1-8-16` -> best at 8.

    A size that is named twice counts once. Exact sizes are the fastest, and TensorRT-RTX builds the same bytes each time; a range needs less room than several sizes.

    Raises
    ------
    OptionError: no sizes, or ones that are out of order.
    """
    return tuple(dict.fromkeys(_parse_batch(part.strip()) for part in text.split(",")))


def _parse_batch(text: str) -> Profile:
    try:
        sizes = [int(part) for part in text.split("-")]
    except ValueError:
        sizes = []
    if len(sizes) == 1:
        return Profile(*sizes * 3)
    if len(sizes) == 2:
        return Profile(sizes[0], sizes[0], sizes[1])
    if len(sizes) == 3:
        return Profile(*sizes)
    raise OptionError("not a batch size", wanted="such as 1 or 1,16 or 1-16", got=repr(text))


@dataclass(frozen=True, slots=True)
class Options:
    """What a user may ask of an engine beside its batches. The builder obeys, or refuses with a line."""

    workspace: int | None = None
    """Upper bound of scratch memory in MiB; None leaves it to TensorRT."""
    version_compatible: bool = False
    """NVIDIA's lean runtime of a later release runs it too; edgebind itself builds anew for each release."""
    hardware_compatible: bool = False
    """Every GPU from Ampere on runs it, somewhat slower."""
    dla: int | None = None
    """Core of the Deep Learning Accelerator that takes what layers it can."""
    strip_weights: bool = False
    """A small engine without the weights, which are put back from the graph when it is loaded."""
    tf32: bool = False
    """Let FP32 products drop to 10 bits of mantissa; off, because a graph says itself what may be less than FP32."""


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything that decides whether an engine is the right one."""

    graph: str
    """sha256 over the graph and the weights that lie beside it."""
    flavour: str
    version: str
    platform: str
    """`linux-aarch64`; engines do not travel between processors."""
    gpu: str
    """The GPU's name and size; empty for an engine that runs on every GPU of its compute capabilities."""
    sms: tuple[Sm, ...]
    profiles: tuple[Profile, ...]
    options: Options = field(default_factory=Options)
    pixels: str = ""
    """Digest of the `Tail` of the preprocessing that it does itself, from 8-bit pixels on; empty for one that takes the encoder's own input."""
    frame: tuple[int, ...] = ()
    """Height and width of the frames that it resizes too; empty where that is the host's."""

    @property
    def digest(self) -> str:
        """16 hex digits that name the engine's files."""
        return hashlib.sha256(json.dumps(self.to_dict(), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def place(self) -> str:
        """The GPU that it is for, as people write it: `Orin (SM 8.7)`."""
        sms = ", ".join(f"SM {major}.{minor}" for major, minor in self.sms)
        return f"{self.gpu} ({sms})" if self.gpu else sms

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the frames that it resizes; None for an engine that takes none."""
        return (self.frame[0], self.frame[1]) if self.frame else None

    @property
    def takes(self) -> str:
        if self.frame:
            return f"8-bit frames of {self.frame[1]} x {self.frame[0]}"
        return "8-bit pixels" if self.pixels else "the encoder's own input"

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Any) -> EngineKey:
        """The inverse of `to_dict`, also after a round trip through JSON.

        Raises
        ------
        TypeError, ValueError, KeyError, OptionError: `data` is no key.
        """
        profiles = tuple(Profile(**item) for item in data["profiles"])
        sms = tuple((int(major), int(minor)) for major, minor in data["sms"])
        frame = tuple(int(side) for side in data.get("frame", ()))
        return cls(**{**data, "profiles": profiles, "sms": sms, "options": Options(**data["options"]), "frame": frame})

    def mismatch(self, wanted: EngineKey, *, any_use: bool = False) -> str:
        """Why an engine of this key cannot stand for the one that is wanted; empty where it can.

        Parameters
        ----------
        any_use: whatever its batches, options and frames, if only the vectors are those that are wanted.
        """
        if self.graph != wanted.graph:
            return "it was built from another graph"
        if self.pixels != wanted.pixels or (self.frame != wanted.frame and not any_use):
            return self._other_input(wanted)
        if self.platform != wanted.platform:
            return f"it was built on {self.platform}, this is {wanted.platform}"
        other_use = self._other_numbers(wanted) if any_use else self._other_use(wanted)
        return self._other_release(wanted) or self._other_gpu(wanted) or other_use

    def _other_input(self, wanted: EngineKey) -> str:
        if self.pixels and wanted.pixels and self.pixels != wanted.pixels:
            return "it was built with other constants of the preprocessing"
        return f"it takes {self.takes}, and one for {wanted.takes} is wanted"

    def _other_release(self, wanted: EngineKey) -> str:
        if (self.flavour, self.version) == (wanted.flavour, wanted.version):
            return ""
        return f"it was built by {self.flavour} {self.version}, this is {wanted.flavour} {wanted.version}"

    def _other_gpu(self, wanted: EngineKey) -> str:
        if self.options.hardware_compatible and min(wanted.sms) >= _AMPERE:
            return ""
        if set(wanted.sms) <= set(self.sms) and self.gpu in ("", wanted.gpu):
            return ""
        return f"it was built for {self.place}, this is {wanted.place}"

    def _other_numbers(self, wanted: EngineKey) -> str:
        if min(profile.min for profile in self.profiles) > 1:
            return f"it accepts {_profiles(self)}, and no window alone"
        return "" if self.options.tf32 == wanted.options.tf32 else "it was built with tf32, which is less than FP32"

    def _other_use(self, wanted: EngineKey) -> str:
        if not all(any(mine.covers(other) for mine in self.profiles) for other in wanted.profiles):
            return f"it accepts {_profiles(self)}, and {_profiles(wanted)} is wanted"
        mine, asked = asdict(self.options), asdict(wanted.options)
        for name, value in asked.items():
            # A compatible engine stands in for an ordinary one: whoever put it into this cache did so on purpose.
            if mine[name] != value and (value or name != "hardware_compatible"):
                return f"it was built with {name} {mine[name]}, and {value} is wanted"
        return ""


def key_for(
    manifest: Manifest,
    flavour: Flavour,
    device: Device,
    profiles: tuple[Profile, ...],
    options: Options,
    sms: tuple[Sm, ...] = (),
    front: Front | None = None,
) -> EngineKey:
    """The key of the engine that this bundle needs on that device.

    Parameters
    ----------
    sms: compute capabilities to build for instead of the device's own.
    front: the end of the preprocessing that the engine is to do itself.
    """
    gpu = "" if sms or flavour.name == "rtx" else device.model
    return EngineKey(
        graph_digest(manifest),
        flavour.name,
        flavour.version,
        f"{platform.system()}-{platform.machine()}".lower(),
        gpu,
        sms or (device.sm,),
        profiles,
        options,
        "" if front is None else front.tail.digest,
        () if front is None or front.frame is None else front.frame,
    )


def graph_digest(manifest: Manifest) -> str:
    """sha256 over the hashes of `encoder.onnx` and of the weights beside it.

    The manifest has both, checked when the bundle was opened.
    """
    names = sorted(name for name in manifest.files if name == bundle.ENCODER or name.startswith(f"{bundle.ENCODER}."))
    return hashlib.sha256("".join(f"{name} {manifest.files[name]}\n" for name in names).encode()).hexdigest()


def _profiles(key: EngineKey) -> str:
    return "; ".join(str(profile) for profile in key.profiles)
