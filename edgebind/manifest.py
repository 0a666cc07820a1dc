"""`manifest.json`: everything a runtime must know about an encoder, and nothing it could compute."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, get_args, get_origin, get_type_hints

from edgebind import modality as modalities
from edgebind.errors import BundleError, OptionError

FORMAT = "edgebind-bundle/1"
FILE = "manifest.json"
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """The stretch of signal that one embedding stands for."""

    rate_hz: float
    """Samples (or frames) a second of the grid that windows are resampled to."""
    seconds: float
    hop_seconds: float
    """From the start of one window to the start of the next."""
    channels: tuple[str, ...]
    units: tuple[str, ...]
    """One for each channel."""

    @property
    def length(self) -> int:
        """Samples in a window."""
        return max(1, round(self.rate_hz * self.seconds))

    @classmethod
    def of_imagebind(cls, modality: str) -> WindowSpec:
        """What an input of ImageBind's tower stands for: half-overlapping windows of a signal, every frame of a camera."""
        of = modalities.get(modality)
        hop = of.seconds if of.is_camera or modality == "text" else of.seconds / 2
        return cls(of.rate_hz, of.seconds, hop, of.channels, of.units)


@dataclass(frozen=True, slots=True)
class Manifest:
    """A bundle's description, as its `manifest.json` has it."""

    space: str
    modality: str
    dim: int
    precision: str
    logit_scale: float
    """Label probabilities are softmax(logit_scale x the label bank's own x cosine)."""
    window: WindowSpec
    preprocess: dict[str, Any]
    """Constants of the preprocessor, see `edgebind.preprocess.build`."""
    labels: tuple[str, ...] = ()
    """Prompts of the label bank; their vectors lie in `labels.npz`."""
    files: dict[str, str] = field(default_factory=dict)
    """File name -> sha256 of every file but this one."""
    gate: dict[str, Any] = field(default_factory=dict)
    """How far the encoder drifts from FP32 on recordings it was not calibrated on; empty for fp32."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Where the weights come from, their licence, and the command and versions that made this bundle."""
    format: str = FORMAT

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    def with_files(self, files: Mapping[str, str]) -> Manifest:
        return replace(self, files=dict(sorted(files.items())))


def read(path: Path) -> Manifest:
    """Read and check the manifest at `path`.

    Raises
    ------
    BundleError: missing, not JSON, of another format, or with a key missing, unknown or of the wrong type.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        remedy = "edgebind export makes bundles"
        raise BundleError("no bundle here", where=path.parent, wanted=f"a folder with {FILE}", remedy=remedy) from None
    except OSError as error:
        raise BundleError(f"cannot be read: {error.strerror or error}", where=path) from error
    except ValueError as error:
        raise BundleError(f"cannot be read as JSON: {error}", where=path, remedy="export the bundle again") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        got = repr(data.get("format")) if isinstance(data, dict) else type(data).__name__
        raise BundleError("unknown bundle format", where=path, wanted=repr(FORMAT), got=got, remedy="export it again")
    manifest = _as_dataclass(Manifest, data, path, "")
    _check_values(manifest, path)
    return manifest


def _as_dataclass(kind: type, data: Mapping[str, Any], path: Path, prefix: str) -> Any:
    hints = get_type_hints(kind)
    unknown = sorted(set(data) - set(hints))
    if unknown:
        raise BundleError(f"unknown key {prefix + unknown[0]!r}", where=path, remedy="made by a newer edgebind?")
    missing = sorted(set(hints) - set(data))
    if missing:
        raise BundleError(f"key {prefix + missing[0]!r} is missing", where=path, remedy="export the bundle again")
    return kind(**{key: _as_type(hints[key], value, path, prefix + key) for key, value in data.items()})


def _as_type(hint: Any, value: Any, path: Path, key: str) -> Any:
    if hint is WindowSpec:
        if isinstance(value, dict):
            return _as_dataclass(WindowSpec, value, path, f"{key}.")
    elif get_origin(hint) is tuple:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return tuple(value)
    elif get_origin(hint) is dict:
        if isinstance(value, dict) and (get_args(hint)[1] is Any or all(isinstance(v, str) for v in value.values())):
            return value
    elif hint is float:
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return float(value)
    elif isinstance(value, hint) and not isinstance(value, bool):
        return value
    raise BundleError(f"key {key!r} has the wrong type", where=path, got=type(value).__name__)


def _check_values(manifest: Manifest, path: Path) -> None:
    try:
        modalities.get(manifest.modality)
    except OptionError as error:
        raise BundleError(error.what, where=path, wanted=error.wanted, got=error.got) from error
    if manifest.precision not in PRECISIONS:
        raise BundleError("unknown precision", where=path, wanted=" or ".join(PRECISIONS), got=repr(manifest.precision))
    window = manifest.window
    for key, value in (("rate_hz", window.rate_hz), ("seconds", window.seconds), ("hop_seconds", window.hop_seconds)):
        if not 0 < value < 1e6:
            raise BundleError(f"window.{key} cannot be", where=path, wanted="more than 0", got=value)
    if not window.channels or len(window.channels) != len(window.units):
        raise BundleError("each channel needs a unit", where=path, wanted=window.channels, got=window.units)
    if not 0 < manifest.dim <= 65536:
        raise BundleError("the dimension cannot be", where=path, wanted="1 to 65536", got=manifest.dim)
    if not 0 < manifest.logit_scale <= 1000:
        raise BundleError(
            "the logit scale cannot be", where=path, wanted="above 0, at most 1000", got=manifest.logit_scale
        )
