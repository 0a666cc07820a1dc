"""An engine is built once, found again, and never taken where it does not fit."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgebind import bundle
from edgebind.engines import EngineFile, Profile, engine_for, store
from edgebind.engines.flavour import Flavour
from edgebind.engines.key import EngineKey, Options
from edgebind.errors import OptionError, StorageError
from edgebind.manifest import Manifest
from tests import bundles
from tests.engines.conftest import ADA

Tiny = tuple[Path, Manifest]


def _get(tiny: Tiny, rtx: Flavour, cache: Path, **options: object) -> tuple[EngineFile, list[str]]:
    said: list[str] = []
    given = {"device": ADA, **options}
    return engine_for(*tiny, flavour=rtx, cache=cache, say=said.append, **given), said  # type: ignore[arg-type]


def test_the_second_time_it_is_found(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    first, said = _get(tiny, rtx, tmp_path / "cache")
    assert first.built
    assert "no engine of this bundle is in the cache" in said[0]
    again, said = _get(tiny, rtx, tmp_path / "cache")
    assert (again.path, again.built, again.why, said) == (first.path, False, "", [])
    assert again.key == first.key
    assert again.seconds == pytest.approx(first.seconds, abs=0.01)


def _cut(engine: EngineFile) -> None:
    engine.path.write_bytes(engine.path.read_bytes()[:-100])


def _flip(engine: EngineFile) -> None:
    data = bytearray(engine.path.read_bytes())
    data[len(data) // 2] ^= 1
    engine.path.write_bytes(data)


def _lose(engine: EngineFile) -> None:
    engine.path.unlink()


def _lose_note(engine: EngineFile) -> None:
    """As a process leaves it that was killed between the two files."""
    engine.path.with_suffix(".json").unlink()


def _spoil_note(engine: EngineFile) -> None:
    engine.path.with_suffix(".json").write_text("{")


def _rewrite(engine: EngineFile, **values: object) -> None:
    note = engine.path.with_suffix(".json")
    data = json.loads(note.read_text())
    data["key"] |= values
    note.write_text(json.dumps(data))


def _other_release(engine: EngineFile) -> None:
    _rewrite(engine, version="1.6.0")


def _other_gpu(engine: EngineFile) -> None:
    _rewrite(engine, sms=[[8, 6]])


def _other_machine(engine: EngineFile) -> None:
    _rewrite(engine, platform="linux-mips")


def _later_format(engine: EngineFile) -> None:
    note = engine.path.with_suffix(".json")
    note.write_text(note.read_text().replace(store.FORMAT, "edgebind-engine/9"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "it is cut short or grown"),
        (_flip, "its bytes were altered"),
        (_lose, "its file is gone"),
        (_lose_note, "its build did not finish"),
        (_spoil_note, "its note cannot be read"),
        (_later_format, "its note is of format 'edgebind-engine/9'"),
        (_other_release, "it was built by rtx 1.6.0, this is rtx 1."),
        (_other_gpu, "it was built for SM 8.6, this is SM 8.9"),
        (_other_machine, "it was built on linux-mips, this is linux-"),
    ],
)
def test_a_spoilt_or_foreign_engine_is_built_again_with_a_reason(
    spoil: object, reason: str, tiny: Tiny, rtx: Flavour, tmp_path: Path
) -> None:
    first, _ = _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 1, 1))
    data = first.path.read_bytes()
    spoil(first)  # type: ignore[operator]
    again, said = _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 1, 1))
    assert again.built
    assert reason in again.why
    assert reason in said[0]
    assert again.path.read_bytes() == data
    assert not _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 1, 1))[0].built


def test_another_graph_is_another_engine(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    first, _ = _get(tiny, rtx, tmp_path / "cache")
    other = bundles.write(tmp_path / "other", replace(bundles.IMU, dim=3), bank=None)
    second, _ = _get((other, bundle.verify(other)), rtx, tmp_path / "cache")
    assert second.built
    assert second.path.parent != first.path.parent


def test_weights_beside_a_graph_are_a_part_of_its_key(tiny: Tiny) -> None:
    from edgebind.engines.key import graph_digest

    manifest = tiny[1]
    large = manifest.with_files({**manifest.files, "encoder.onnx.data": "1" * 64})
    other = manifest.with_files({**manifest.files, "encoder.onnx.data": "2" * 64})
    labels = manifest.with_files({**manifest.files, "labels.npz": "3" * 64})
    assert len({graph_digest(m) for m in (manifest, large, other)}) == 3
    assert graph_digest(labels) == graph_digest(manifest)


def test_an_engine_for_more_batches_serves_fewer(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    wide, _ = _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 1, 16))
    assert _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 4, 8))[0].path == wide.path
    wider, said = _get(tiny, rtx, tmp_path / "cache", profile=Profile(1, 1, 32))
    assert wider.built
    assert "it accepts batches 1 to 16, best at 1, and batches 1 to 32, best at 1 is wanted" in said[0]


def test_a_runtime_takes_what_somebody_built_on_purpose(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    """Whoever bounded the workspace, or wanted exact sizes, finds that used, and nothing is built behind his back."""
    cache = tmp_path / "cache"
    _get(tiny, rtx, cache, profile=Profile(2, 2, 2))
    first, said = _get(tiny, rtx, cache, or_any=True)
    assert (first.built, first.key.profiles) == (True, (Profile(1, 1, 16),))
    assert "batch 2" in said[0]
    store.forget(first.path)
    first.path.unlink()
    small, _ = _get(tiny, rtx, cache, profile=(Profile(1, 1, 1), Profile(16, 16, 16)), options=Options(workspace=64))
    _get(tiny, rtx, cache, profile=Profile(1, 1, 16), options=Options(tf32=True))
    assert _get(tiny, rtx, cache, or_any=True)[0].path == small.path
    assert _get(tiny, rtx, cache, or_any=False)[0].built, "who builds gets what was asked for"
    again = _get(tiny, rtx, cache, or_any=True)[0]
    assert again.key.profiles == (Profile(1, 1, 16),), "one for what was wanted goes first"


@pytest.mark.parametrize(
    ("count", "sizes"), [(0, []), (1, [1]), (2, [1, 1]), (7, [4, 1, 1, 1]), (16, [16]), (37, [16, 16, 4, 1])]
)
def test_what_no_profile_accepts_goes_in_pieces(count: int, sizes: list[int]) -> None:
    profiles = (Profile(16, 16, 16), Profile(1, 1, 1), Profile(4, 4, 4))
    engine = EngineFile(Path("e.engine"), replace(ORIN, profiles=profiles), False, "", 1.0)
    rows = engine.pieces(count)
    assert [row.stop - row.start for row in rows] == sizes
    assert [at for row in rows for at in range(row.start, row.stop)] == list(range(count))
    with pytest.raises(
        OptionError, match=r"accepts no such batch \(wanted batch 4; batches 8 to 16, best at 8, got 19\)"
    ):
        replace(engine, key=replace(ORIN, profiles=(Profile(4, 4, 4), Profile(8, 8, 16)))).pieces(19)


def test_several_profiles_in_one_engine(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    engine, _ = _get(tiny, rtx, tmp_path / "cache", profile=(Profile(1, 1, 1), Profile(2, 8, 16), Profile(1, 1, 32)))
    assert [engine.profile_for(batch) for batch in (1, 2, 16, 17, 32)] == [0, 1, 1, 2, 2]
    with pytest.raises(OptionError, match=r"accepts no such batch .*got 33"):
        engine.profile_for(33)


def test_an_engine_for_several_gpus_serves_each(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    fleet, _ = _get(tiny, rtx, tmp_path / "cache", sms=((8, 6), (8, 9)))
    assert _get(tiny, rtx, tmp_path / "cache")[0].path == fleet.path


def test_a_cache_that_cannot_be_made_is_one_line(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="folder cannot be made"):
        _get(tiny, rtx, tmp_path / "file" / "cache")


def test_the_key_survives_json() -> None:
    key = EngineKey(
        "a" * 64, "tensorrt", "10.3.0", "linux-aarch64", "Orin", ((8, 7),), (Profile(1, 2, 3),), Options(dla=1)
    )
    assert EngineKey.from_dict(json.loads(json.dumps(key.to_dict()))) == key


ORIN = EngineKey("a" * 64, "tensorrt", "10.3.0", "linux-aarch64", "Orin", ((8, 7),), (Profile(),))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({}, ""),
        ({"graph": "b" * 64}, "another graph"),
        (
            {"gpu": "NVIDIA GeForce RTX 3060", "sms": ((8, 6),)},
            "built for NVIDIA GeForce RTX 3060 (SM 8.6), this is Orin",
        ),
        ({"gpu": "Orin NX"}, "built for Orin NX (SM 8.7), this is Orin (SM 8.7)"),
        ({"gpu": "", "sms": ((8, 6), (8, 7))}, ""),
        ({"sms": ((8, 6),), "gpu": "other", "options": Options(hardware_compatible=True)}, ""),
        ({"flavour": "rtx"}, "built by rtx 10.3.0"),
        ({"options": Options(workspace=64)}, "built with workspace 64, and None is wanted"),
        ({"options": Options(strip_weights=True)}, "built with strip_weights True"),
    ],
)
def test_what_fits_an_orin(changed: dict[str, object], reason: str) -> None:
    found = replace(ORIN, **changed).mismatch(ORIN)  # type: ignore[arg-type]
    assert reason in found if reason else found == ""


def test_a_hardware_compatible_engine_is_not_for_turing() -> None:
    turing = replace(ORIN, sms=((7, 5),), gpu="T4")
    assert "this is T4" in replace(ORIN, options=Options(hardware_compatible=True)).mismatch(turing)


def test_the_cache_is_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGEBIND_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.default_cache() == tmp_path / "edgebind" / "engines"
    monkeypatch.setenv("EDGEBIND_CACHE", str(tmp_path / "mine"))
    assert store.default_cache() == tmp_path / "mine" / "engines"


def test_copied_cache_still_fits(tiny: Tiny, rtx: Flavour, tmp_path: Path) -> None:
    _get(tiny, rtx, tmp_path / "cache")
    shutil.copytree(tmp_path / "cache", tmp_path / "device")
    assert not _get(tiny, rtx, tmp_path / "device")[0].built


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from(["format", "key", "sha256", "size", "seconds", *(f"key.{name}" for name in ORIN.to_dict())]), VALUES
)
def test_no_note_can_crash_the_reader(place: str, value: object) -> None:
    """Whatever stands in the place of one of its values, the engine is taken or there is a reason."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "e.engine"
        data = json.loads(store.write(path, ORIN, b"plan", 1.0).to_json())
        (data["key"] if place.startswith("key.") else data)[place.removeprefix("key.")] = value
        path.with_suffix(".json").write_text(json.dumps(data))
        note, why = store.fitting(path, ORIN)
        assert (note is None) == bool(why)


@pytest.mark.parametrize("text", ["[" * 100_000, "\x00", "null", "[]", '{"format": Infinity}'])
def test_a_file_that_is_no_note_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "e.json").write_text(text)
    note, why = store.read_note(tmp_path / "e.engine")
    assert note is None
    assert why
