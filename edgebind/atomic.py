"""Writing files and directories so that a reader sees all of them or none.

Everything is written beside its target, flushed to the disk and renamed. A full disk, Ctrl-C or a power cut leaves the
old state and never half of the new one.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgebind import utf8
from edgebind.errors import StorageError

_ONLY_WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_AT_FDCWD, _RENAME_EXCHANGE = -100, 2
"""Of Linux's renameat2: paths are taken from the working folder; both paths exist and change places."""


@contextlib.contextmanager
def directory(target: Path) -> Iterator[Path]:
    """A scratch directory beside `target` that takes its place when the block ends without an error.

    An older `target` is exchanged with the new one in one step, so that there is no instant without it. Where the system
    knows no such step, it is moved aside first and removed only once the new one stands.

    Raises
    ------
    StorageError: when the disk is full or cannot be written.
    """
    make_folder(target.parent)
    try:
        scratch = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise _as_storage_error(error, target) from error
    try:
        with storage_errors(target):
            yield scratch
            _flush_tree(scratch)
            scratch.chmod(0o755)  # mkdtemp makes it private, a bundle is for everybody
            _take_place(scratch, target)
    finally:
        _remove(scratch)


@contextlib.contextmanager
def file(target: Path) -> Iterator[Path]:
    """A scratch path beside `target` that takes its place when the block ends without an error.

    Raises
    ------
    StorageError: when the disk is full or cannot be written, or `target` is a folder or a device.
    """
    with storage_errors(target):
        if target.exists() and not target.is_file():
            raise _not_ordinary(target)
    make_folder(target.parent)
    scratch = _scratch_file(target, target.parent)
    try:
        with storage_errors(target):
            yield scratch
            _flush(scratch)
            scratch.chmod(0o644)
            scratch.replace(target)
            _flush_folder(target.parent)
    finally:
        scratch.unlink(missing_ok=True)


def require_place(target: Path) -> None:
    """Find out before hours of work, not after, whether `target` can be written. Leaves nothing, and makes no folder.

    Raises
    ------
    StorageError: `target` is a device, its folder cannot be made or written, or it is a folder that cannot.
    """
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            raise _not_ordinary(target)
        above = target.absolute().parents
        folder = target if target.is_dir() else next(place for place in above if place.exists())
    except OSError as error:  # a name that is too long, a folder that may not be looked into
        raise _as_storage_error(error, target) from error
    _scratch_file(target, folder).unlink()


@contextlib.contextmanager
def turn(folder: Path) -> Iterator[None]:
    """Names are chosen and files changed in `folder` by one process after the other, as far as each asks for its turn.

    The folder itself is locked, so nothing is left behind, and a process that dies lets go. NFS cannot lock one: there
    nobody waits.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        hold(handle, wait=True)
        yield
    finally:
        os.close(handle)


def hold(handle: int, *, wait: bool) -> bool:
    """Lock the open file or folder `handle` until it is closed; False if somebody else has it and we do not `wait`.

    Where a file system knows no such lock, everybody holds everything.
    """
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EBADF, errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    return True


def _not_ordinary(target: Path) -> StorageError:
    return StorageError("is no ordinary file", where=target, remedy="choose another place; nothing was written")


def _scratch_file(target: Path, folder: Path) -> Path:
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=target.suffix, dir=folder)
    except OSError as error:
        raise _as_storage_error(error, target) from error
    os.close(handle)
    return Path(name)


def write_text(target: Path, text: str) -> None:
    """Write `target` in UTF-8.

    Raises
    ------
    StorageError: as from `file`.
    """
    with file(target) as scratch:
        scratch.write_bytes(utf8.encoded(text))


def write_json(target: Path, data: Any) -> None:
    """Write a report: one entry a line, so that two of them can be compared, and letters of every language as they are.

    Raises
    ------
    StorageError: as from `file`.
    """
    write_text(target, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _take_place(scratch: Path, target: Path) -> None:
    if not target.exists():
        scratch.rename(target)
    elif not _exchange(scratch, target):
        _replace_in_two_steps(scratch, target)
    _flush_folder(target.parent)


def _exchange(one: Path, other: Path) -> bool:
    """Let two paths change places at once, as Linux can since 3.15; False where kernel, library or file system cannot."""
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    rename.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint)
    if rename(_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number), str(other))


def _replace_in_two_steps(scratch: Path, target: Path) -> None:
    old = Path(tempfile.mkdtemp(prefix=f".{target.name}.old.", dir=target.parent)) / target.name
    target.rename(old)
    try:
        scratch.rename(target)
    except BaseException:
        old.rename(target)
        raise
    finally:
        shutil.rmtree(old.parent, ignore_errors=True)


def _remove(path: Path) -> None:
    """Whatever `path` is: the scratch folder, or what was in the target's place before."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _flush_tree(root: Path) -> None:
    for path in sorted(root.rglob("*")):
        if path.is_file():
            _flush(path)
        elif path.is_dir():
            _flush_folder(path)
    _flush_folder(root)


def _flush_folder(folder: Path) -> None:
    """The names in a folder, without which a flushed file can be lost in a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some file systems have no such thing as a folder to flush
            raise
    finally:
        os.close(handle)


def _flush(path: Path) -> None:
    with open(path, "rb+") as stream:
        os.fsync(stream.fileno())


def make_folder(folder: Path) -> None:
    """`folder` and what is missing above it.

    Raises
    ------
    StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder cannot be made: {error.strerror}",
            where=folder,
            remedy="choose another place; nothing was written",
        ) from error


@contextlib.contextmanager
def storage_errors(target: Path) -> Iterator[None]:
    """Trouble with the disk while the block writes `target` comes out as a StorageError, one clear line.

    An error that names a file elsewhere is left as it is: the block was about to read that one. But no disk is too full to
    be read: a copy that fails so names its source.
    """
    try:
        yield
    except OSError as error:
        named = None if error.errno in _ONLY_WRITING else error.filename
        if named is not None and not _is_ours(Path(os.fsdecode(named)), target):
            raise
        raise _as_storage_error(error, target) from error


def _is_ours(path: Path, target: Path) -> bool:
    """Whether `path` is `target`, lies in it, or in its scratch folder."""
    scratch = str(target.absolute().parent / f".{target.name}.")
    return path.absolute().is_relative_to(target.absolute()) or str(path.absolute()).startswith(scratch)


def _as_storage_error(error: OSError, target: Path) -> StorageError:
    remedies = {
        errno.ENOSPC: ("the disk is full", "free some space or choose another place"),
        errno.EDQUOT: ("the disk quota is used up", "free some space or choose another place"),
        errno.EROFS: ("the file system is read-only", "choose another place"),
        errno.EACCES: ("no permission to write", "choose another place or change its owner"),
        errno.ENOTDIR: ("a part of the path is a file", "choose another place"),
    }
    what, remedy = remedies.get(
        error.errno or 0, (f"cannot be written: {error.strerror or error}", "choose another place")
    )
    return StorageError(what, where=target, remedy=f"{remedy}; nothing was written")
