"""NPZ files that are damaged in every layer: read right, or refused in one line."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edgebind import archive
from edgebind.errors import RecordingError

NAMES = ("times", "samples")
TIMES = np.arange(50, dtype=np.int64)


def written(*, packed: bool) -> bytes:
    stream = io.BytesIO()
    save = np.savez_compressed if packed else np.savez
    save(stream, times=TIMES, samples=np.random.default_rng(0).normal(size=(50, 6)))
    return stream.getvalue()


def read_or_refuse(path: Path, data: bytes) -> bool:
    """Whether it was refused; any other end is a failure."""
    path.write_bytes(data)
    try:
        found = archive.read(path, NAMES)
    except RecordingError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    assert set(found) <= set(NAMES)
    return False


def rows_or_refusal(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    kept = []
    try:
        with archive.rows(path, "samples") as found:
            kept = [] if found is None else list(found)
    except RecordingError as error:
        assert str(path) in str(error) and "\n" not in str(error)
        return True
    assert not kept or np.array_equal(np.stack(kept), np.random.default_rng(0).normal(size=(50, 6)))
    return False


@pytest.mark.parametrize("packed", [False, True])
def test_rows_of_damaged_files(tmp_path: Path, packed: bool) -> None:
    data = written(packed=packed)
    assert not rows_or_refusal(tmp_path / "x.npz", data)
    assert all(rows_or_refusal(tmp_path / "x.npz", data[:length]) for length in range(0, len(data), 17))
    for place in range(0, len(data), 9):
        harmed = bytearray(data)
        harmed[place] ^= 0xFF
        rows_or_refusal(tmp_path / "x.npz", bytes(harmed))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(4, 3, 5), (7,), (0, 3, 3)])
def test_rows_are_numpys(tmp_path: Path, order: str, shape: tuple[int, ...]) -> None:
    values = np.asarray(np.random.default_rng(1).integers(0, 999, shape), np.uint16, order=order)  # type: ignore[call-overload]
    np.savez_compressed(tmp_path / "x.npz", frames=values)
    with archive.rows(tmp_path / "x.npz", "frames") as found:
        assert found is not None
        assert (found.shape, found.dtype, len(found)) == (shape, values.dtype, shape[0])
        for row, expected in zip(found, values, strict=True):
            np.testing.assert_array_equal(row, expected)
    with archive.rows(tmp_path / "x.npz", "other") as found:
        assert found is None


def test_rows_of_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", frames=np.array([None, {}]))
    with pytest.raises(RecordingError, match="no NPZ file of plain arrays"), archive.rows(tmp_path / "x.npz", "frames"):
        pass


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", times=TIMES, other=np.array([None]))  # an object that nobody asks for
    found = archive.read(tmp_path / "x.npz", NAMES)
    assert list(found) == ["times"]
    np.testing.assert_array_equal(found["times"], TIMES)


@pytest.mark.parametrize("packed", [False, True])
def test_cut_off_anywhere(tmp_path: Path, packed: bool) -> None:
    data = written(packed=packed)
    assert all(read_or_refuse(tmp_path / "x.npz", data[:length]) for length in range(0, len(data), 17))


@pytest.mark.parametrize("packed", [False, True])
def test_one_byte_changed_anywhere(tmp_path: Path, packed: bool) -> None:
    data = written(packed=packed)
    refused = 0
    for place in range(0, len(data), 9):
        harmed = bytearray(data)
        harmed[place] ^= 0xFF
        refused += read_or_refuse(tmp_path / "x.npz", bytes(harmed))
    assert refused > len(data) // 9 * 0.9  # the rest changes names and dates in the zip, which nobody reads


@pytest.mark.parametrize("seed", range(4))
def test_a_header_of_rubbish_under_a_right_checksum(tmp_path: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    stream = io.BytesIO()
    np.save(stream, TIMES)
    whole = stream.getvalue()
    for _ in range(100):
        harmed = bytearray(whole)
        harmed[int(random.integers(8, 90))] = int(random.integers(256))
        with zipfile.ZipFile(tmp_path / "made.npz", "w") as made:
            made.writestr("times.npy", bytes(harmed))
        read_or_refuse(tmp_path / "x.npz", (tmp_path / "made.npz").read_bytes())


def test_more_than_any_memory(tmp_path: Path) -> None:
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000, 6), }"
    header += b" " * (117 - len(header)) + b"\n"
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as made:
        made.writestr("samples.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)
    with pytest.raises(RecordingError, match="is no NPZ file of plain arrays"):
        archive.read(tmp_path / "x.npz", NAMES)


def test_absent_and_unreadable(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match=r"x\.npz: cannot be read: No such file"):
        archive.read(tmp_path / "x.npz", NAMES)
    with pytest.raises(RecordingError, match="cannot be read: Is a directory"):
        archive.read(tmp_path, NAMES)


def test_a_single_array(tmp_path: Path) -> None:
    with open(tmp_path / "x.npz", "wb") as stream:
        np.save(stream, TIMES)
    with pytest.raises(RecordingError, match="is one array"):
        archive.read(tmp_path / "x.npz", NAMES)


def test_python_objects_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", times=np.array([{"code": 1}], dtype=object))
    with pytest.raises(RecordingError, match="arrays without objects"):
        archive.read(tmp_path / "x.npz", NAMES)
