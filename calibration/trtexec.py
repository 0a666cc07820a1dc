"""Ranges as the calibration cache of TensorRT 10: a text file for `trtexec --int8 --calib=FILE` beside the FP32 graph.

    TRT-100300-EntropyCalibration2          the version that reads it, and the calibrator's name
    input: 3c010204                         tensor: bits of the float32 scale, |largest| / 127, as big-endian hexadecimal

TensorRT reads it only with that very version, and lets tensors without a line stay in float. TensorRT 11 has no such caches:
there, and wherever it can be had, the Q/DQ graph of the bundle says the same without one.
"""

from __future__ import annotations

import re
import struct
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgebind import atomic
from edgebind.calibration.ranges import Ranges
from edgebind.calibration.transforms import rewrites
from edgebind.calibration.transforms.rewrites import Rewrites
from edgebind.errors import CalibrationError, OptionError

ALGORITHM = "EntropyCalibration2"
"""What trtexec's own calibrator is called; of another name, the cache would not be read."""
JETPACK_6 = "10.3.0"

_HEAD = re.compile(r"TRT-(\d+)-(\w+)")
_VERSION = re.compile(r"(\d+)\.(\d+)(?:\.(\d+))?(?:\.\d+)?")
_LINE = re.compile(r"(.+): ([0-9a-fA-F]{1,8})")
"""Names may hold colons, as in input_1:0; leading zeros may be left out."""


@dataclass(frozen=True, slots=True)
class Cache:
    """A calibration cache as its file has it."""

    version: int
    """As TensorRT's header counts: 10.3.0 is 100300, 8.6.1 is 8601."""
    algorithm: str
    scales: Mapping[str, float]
    """Tensor -> scale, float32."""


def from_ranges(ranges: Ranges, tensorrt: str = JETPACK_6) -> Cache:
    """The cache of some ranges for one version of TensorRT, such as 10.3.0.

    Raises
    ------
    OptionError: no version of TensorRT 8 to 10.
    CalibrationError: a tensor whose name no line can hold.
    """
    for name in ranges.tensors:
        if name != name.strip() or "\n" in name or not name:
            raise CalibrationError("a tensor's name fits no line of a cache", got=repr(name), remedy="rename it")
    scales = {name: _float32(max(0.0, -low, high) / 127) for name, (low, high) in ranges.tensors.items()}
    return Cache(number_of(tensorrt), ALGORITHM, scales)


def number_of(tensorrt: str) -> int:
    """10.3.0 -> 100300, 8.6.1 -> 8601.

    Raises
    ------
    OptionError: no version of TensorRT 8 to 10.
    """
    found = _VERSION.fullmatch(tensorrt)
    major, minor, patch = (int(part or 0) for part in found.groups()) if found else (0, 0, 0)
    if not 8 <= major <= 10:
        wanted = "8 to 10, such as 10.3.0; TensorRT 11 takes the Q/DQ graph only"
        raise OptionError("TensorRT of that version reads no calibration cache", wanted=wanted, got=tensorrt)
    return major * 10_000 + minor * 100 + patch if major >= 10 else major * 1000 + minor * 100 + patch


def to_text(cache: Cache) -> str:
    """The file."""
    lines = [f"{name}: {struct.pack('>f', scale).hex()}" for name, scale in cache.scales.items()]
    return "\n".join([f"TRT-{cache.version}-{cache.algorithm}", *lines]) + "\n"


def from_text(text: str, where: str | Path | None = None) -> Cache:
    """Read a cache, TensorRT's own or ours.

    Raises
    ------
    CalibrationError: no such file, or a line that is none of it.
    """
    head, *lines = text.splitlines() or [""]
    title = _HEAD.fullmatch(head.strip())
    if title is None:
        raise CalibrationError(
            "no calibration cache", where=where, wanted=f"TRT-100300-{ALGORITHM}", got=repr(head[:40])
        )
    scales: dict[str, float] = {}
    for number, line in enumerate(lines, 2):
        found = _LINE.fullmatch(line.strip())
        if found:
            scales[found[1]] = struct.unpack(">f", bytes.fromhex(found[2].zfill(8)))[0]
        elif line.strip():
            raise CalibrationError("not a line of a calibration cache", where=f"{where}, line {number}", got=line[:40])
    return Cache(int(title[1]), title[2], scales)


def write(ranges: Ranges, target: Path, tensorrt: str = JETPACK_6, graph: Path | None = None) -> list[Path]:
    """Write the cache of some ranges; where they are of a graph that was smoothed or equalised, that graph too.

    Parameters
    ----------
    graph: the FP32 graph they are of; only needed where it was changed.

    Returns
    -------
    `target`, and `target`.onnx if there is one: the graph to give to trtexec.

    Raises
    ------
    OptionError: a version without such caches.
    CalibrationError: ranges of a changed graph without `graph`, or another `graph`.
    StorageError: the disk is full or cannot be written.
    """
    text, scalings = to_text(from_ranges(ranges, tensorrt)), ranges.rewrites.scalings
    if graph is not None:
        ranges.require_graph(graph)
    if scalings and graph is None:
        raise CalibrationError(
            "these ranges are of a smoothed or equalised graph", remedy="say --graph FP32.onnx, and it is written too"
        )
    written = [target]
    if scalings and graph is not None:
        written.append(target.with_name(f"{target.name}.onnx"))
        _write_graph(graph, Rewrites(scalings), written[1])
    atomic.write_text(target, text)
    return written


def _write_graph(graph: Path, scalings: Rewrites, target: Path) -> None:
    """Its weights may lie in a file of their own, which must stand before the graph that names it."""
    atomic.make_folder(target.parent)
    with (
        atomic.storage_errors(target),
        tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as aside,
    ):
        rewrites.write(graph, scalings, Path(aside) / target.name)
        for file in sorted(Path(aside).iterdir(), reverse=True):
            file.replace(target.with_name(file.name))


def _float32(value: float) -> float:
    return float(struct.unpack(">f", struct.pack(">f", value))[0])
