"""The folder that engines are kept in, one process building at a time, every file whole or not there.

    <cache>/<16 digits of the graph>/<16 digits of the key>.engine    the plan, as TensorRT serialised it
                                     <16 digits of the key>.json      its whole key, size and sha256
                                     <16 digits of the key>.lock      held while it is being built
                                     <16 digits of the key>.kernels   what TensorRT-RTX compiled when it ran
    <cache>/timing-<flavour>-<version>-<gpu>.cache                    how long each kernel took, for the next build

An engine whose note is missing, unreadable or of another engine is as good as none.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from edgebind import atomic, bundle
from edgebind.engines.flavour import Say
from edgebind.engines.key import EngineKey
from edgebind.errors import EdgebindError

FORMAT = "edgebind-engine/1"


@dataclass(frozen=True, slots=True)
class Note:
    """What stands beside an engine."""

    key: EngineKey
    sha256: str
    size: int
    """Bytes."""
    seconds: float
    """How long the build took."""

    def to_json(self) -> str:
        data = {"format": FORMAT, "key": self.key.to_dict(), "sha256": self.sha256, "size": self.size}
        return json.dumps({**data, "seconds": self.seconds}, indent=1) + "\n"


@dataclass(frozen=True, slots=True)
class Found:
    """An engine of the cache that fits."""

    path: Path
    note: Note


def default_cache() -> Path:
    """`EDGEBIND_CACHE`, else `edgebind` in the user's cache folder, as the XDG base directory specification places it."""
    if place := os.environ.get("EDGEBIND_CACHE"):
        return Path(place) / "engines"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgebind" / "engines"


def folder_of(cache: Path, key: EngineKey) -> Path:
    return cache / key.graph[:16]


def path_of(cache: Path, key: EngineKey) -> Path:
    return folder_of(cache, key) / f"{key.digest}.engine"


def find(cache: Path, wanted: EngineKey, *, or_any: bool = False) -> tuple[Found | None, str]:
    """(an engine that fits, "") or (None, why there is none). The engine of exactly that key comes first, then the latest.

    Parameters
    ----------
    or_any: where none fits, take one for other batches or of other options, which somebody built on purpose.
    """
    paths, reasons = list(_there(cache, wanted)), list[str]()
    for any_use in (False, True) if or_any else (False,):
        for path in paths:
            note, why = fitting(path, wanted, any_use=any_use)
            if note is not None:
                return Found(path, note), ""
            reasons.append(f"{path.name}: {why}")
    return None, reasons[0] if reasons else "no engine of this bundle is in the cache"


def _there(cache: Path, wanted: EngineKey) -> Iterator[Path]:
    exact = path_of(cache, wanted)
    if exact.exists() or exact.with_suffix(".json").exists():
        yield exact
    others = [path for path in folder_of(cache, wanted).glob("*.engine") if path != exact]
    yield from sorted(others, key=_built_ns, reverse=True)


def _built_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:  # deleted in this moment
        return 0


def fitting(path: Path, wanted: EngineKey, *, any_use: bool = False) -> tuple[Note | None, str]:
    """The note of the engine at `path`, if it fits and every byte is its own; else None and why it is not loaded."""
    note, why = read_note(path)
    if note is not None:
        why = note.key.mismatch(wanted, any_use=any_use) or damage(path, note)
    return (None if why else note), why


def read_note(path: Path) -> tuple[Note | None, str]:
    """The note beside the engine at `path`, or None and what is wrong with it."""
    beside = path.with_suffix(".json")
    try:
        data: Any = json.loads(beside.read_text(encoding="utf-8"))
        if data["format"] != FORMAT:
            return None, f"its note is of format {data['format']!r}"
        key = EngineKey.from_dict(data["key"])
        return Note(key, str(data["sha256"]), int(data["size"]), float(data["seconds"])), ""
    except FileNotFoundError:
        return None, "its build did not finish"
    except (OSError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError, EdgebindError):
        return None, "its note cannot be read"


def damage(path: Path, note: Note) -> str:
    """What is wrong with the bytes of the engine at `path`; empty if they are those that were built."""
    try:
        size = path.stat().st_size
        if size != note.size:
            return f"it is cut short or grown ({size} bytes, wanted {note.size})"
        return "" if bundle.sha256(path) == note.sha256 else "its bytes were altered"
    except FileNotFoundError:
        return "its file is gone"
    except OSError as error:
        return f"it cannot be read: {error.strerror or error}"


def write(path: Path, key: EngineKey, plan: bytes, seconds: float) -> Note:
    """Store an engine and its note; between the two a reader sees an engine that does not match, which is no engine.

    Raises
    ------
    StorageError: the disk is full or cannot be written; what was there before is still there, or is no engine.
    """
    with atomic.file(path) as scratch:
        scratch.write_bytes(plan)
    note = Note(key, bundle.sha256(path), path.stat().st_size, round(seconds, 3))
    atomic.write_text(path.with_suffix(".json"), note.to_json())
    return note


def forget(path: Path) -> None:
    """Make the engine at `path` none: without its note it is built again.

    Raises
    ------
    StorageError: the cache cannot be written.
    """
    with atomic.storage_errors(path):
        path.with_suffix(".json").unlink(missing_ok=True)


@contextlib.contextmanager
def locked(path: Path, say: Say) -> Iterator[None]:
    """Hold the engine at `path` for building; waits for another process that does. Freed when a process dies.

    Raises
    ------
    StorageError: the folder cannot be made or written.
    """
    atomic.make_folder(path.parent)
    with _opened(path.with_suffix(".lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{path.name}: another process is building it; waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _opened(path: Path) -> BinaryIO:
    with atomic.storage_errors(path):
        return open(path, "wb")
