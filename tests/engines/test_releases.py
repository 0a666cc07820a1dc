"""One path through five releases, walked with stand-ins that have each release's names and no others."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgebind import bundle, cuda, preprocess
from edgebind.cuda import Device, Driver
from edgebind.engines import EngineFile, builder, engine_for, loading, store
from edgebind.engines.builder import Job
from edgebind.engines.flavour import Flavour
from edgebind.engines.key import EngineKey, Options, Profile
from edgebind.engines.watch import listening
from edgebind.errors import BackendError, EdgebindError, MissingDependencyError, OptionError
from edgebind.manifest import Manifest
from tests import bundles
from tests.engines import fakes
from tests.engines.test_api import RELEASES, Api

ORIN = Device("Orin", (8, 7), 0, 8 << 30, (12, 6), 8)
RTX_3060 = Device("NVIDIA GeForce RTX 3060", (8, 6), 0, 12 << 30, (13, 0))
ONE = (Profile(1, 1, 1),)
FULL = [release for release in RELEASES if not release.startswith("rtx")]


@pytest.fixture(scope="module")
def api(shared: Path) -> Api:
    return json.loads((shared / "tensorrt" / "api.json").read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver answers."""
    monkeypatch.setattr(cuda, "driver", lambda: Driver((13, 0)))


def _job(flavour: Flavour, **changes: Any) -> Job:
    device = RTX_3060 if flavour.name == "rtx" else ORIN
    job = Job(Path("encoder.onnx"), flavour, (Profile(1, 1, 1), Profile(1, 4, 16)), (device.sm,), device=device)
    return replace(job, **changes)


def _config(flavour: Flavour) -> Any:
    return flavour.trt.Builder.configs[-1]


@pytest.mark.parametrize("release", RELEASES)
def test_every_release_builds(release: str, api: Api) -> None:
    flavour = fakes.flavour(api[release], release)
    steps: list[tuple[str, int, int]] = []
    job = _job(flavour, options=Options(workspace=64))
    plan = builder.build(job, progress=lambda phase, step, of: steps.append((phase, step, of)))
    assert plan.data == fakes.PLAN
    assert steps == [("build", 0, 2), ("build", 1, 2)]
    config = _config(flavour)
    assert config._flags == ({"REQUIRE_USER_ALLOCATION"} if flavour.name == "rtx" else set())
    assert config._limits == {"WORKSPACE": 64 << 20}
    assert config._profiles == [((1, 6, 10),) * 3, ((1, 6, 10), (4, 6, 10), (16, 6, 10))]
    assert [int(value) for value in config._capabilities.values()] == ([86] if flavour.name == "rtx" else [])


@pytest.mark.parametrize("release", FULL)
def test_what_may_be_asked_of_the_full_tensorrt(release: str, api: Api) -> None:
    flavour = fakes.flavour(api[release], release)
    asked = Options(version_compatible=True, hardware_compatible=True, dla=1, strip_weights=True, tf32=True)
    builder.build(_job(flavour, options=asked, precision="fp16", profiles=(Profile(1, 1, 1), Profile(4, 4, 4))))
    config = _config(flavour)
    wanted = {"TF32", "VERSION_COMPATIBLE", "EXCLUDE_LEAN_RUNTIME", "STRIP_PLAN", "REFIT_IDENTICAL", "GPU_FALLBACK"}
    assert config._flags == wanted
    assert config.hardware_compatibility_level == flavour.trt.HardwareCompatibilityLevel.AMPERE_PLUS
    assert (config.default_device_type, config.DLA_core) == (flavour.trt.DeviceType.DLA, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"options": Options(dla=2), "precision": "int8", "profiles": ONE},
            r"no such DLA core .* on Orin .*wanted less than 2, got 2",
        ),
        (
            {"options": Options(dla=0), "precision": "fp16"},
            r"exact batch sizes only \(got batches 1 to 16.*say --batch 1",
        ),
        ({"options": Options(dla=0)}, "the DLA computes in FP16 and INT8 .*FP32 bundle"),
        ({"sms": ((8, 6),)}, r"builds for the GPU it runs on, and no other \(wanted sm_87, got sm_86\)"),
    ],
)
def test_what_may_not(changes: dict[str, Any], message: str, api: Api) -> None:
    with pytest.raises(OptionError, match=message):
        builder.build(_job(fakes.flavour(api["10.3.0"], "10.3.0"), **changes))


def test_no_dla_at_all_is_told(api: Api) -> None:
    flavour = fakes.flavour(api["10.13.3"], "10.13.3")
    flavour.trt.Builder.num_DLA_cores = 0
    with pytest.raises(OptionError, match="wanted a Jetson with a DLA, and a TensorRT that serves it"):
        builder.build(_job(flavour, options=Options(dla=0), precision="fp16", profiles=ONE))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (Driver(reason="no NVIDIA driver (libcuda.so.1 is not there)"), "TensorRT 10.3.0: no NVIDIA driver"),
        (Driver((11, 8)), r"the NVIDIA driver is too old \(wanted CUDA 12, got 11.8\); update the driver, or install"),
    ],
)
def test_without_a_driver_tensorrt_is_not_touched(
    found: Driver, message: str, api: Api, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(cuda, "driver", lambda: found)
    monkeypatch.setattr("edgebind.engines.flavour.cuda_of", lambda module: 12)
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    with pytest.raises(MissingDependencyError, match=message):
        builder.build(_job(flavour))
    with pytest.raises(MissingDependencyError, match=message):
        loading.load(lambda: pytest.fail("no engine may be looked for"), flavour, tmp_path)
    assert flavour.trt.Builder.configs == []


@pytest.mark.parametrize(
    ("complaint", "message"),
    [
        (
            "Error Code 2: OutOfMemory (Requested size was 8 bytes.)",
            "too little memory for TensorRT 10.3.0 to build it; close",
        ),
        ("Cuda error 2: out of memory", "too little memory"),
        ("no implementation\n  for node X", "TensorRT 10.3.0 cannot build it: no implementation for node X"),
    ],
)
def test_a_failed_build_is_one_line(complaint: str, message: str, api: Api) -> None:
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    flavour.trt.Builder.outcome = staticmethod(lambda logger: logger.log("error", complaint))
    with pytest.raises(BackendError, match=message):
        builder.build(_job(flavour))


def test_measured_times_are_kept_and_used_again(api: Api, tmp_path: Path) -> None:
    flavour, times, said = fakes.flavour(api["10.3.0"], "10.3.0"), tmp_path / "times.cache", list[str]()
    for wanted in (b"+measured", b"+measured+measured"):
        builder.build(_job(flavour, timing=times), say=said.append)
        assert times.read_bytes() == wanted
    assert said == []


@pytest.mark.parametrize("data", [b"broken", b"of another GPU"])
def test_measured_times_that_tensorrt_refuses_are_measured_again(data: bytes, api: Api, tmp_path: Path) -> None:
    times, said = tmp_path / "times.cache", list[str]()
    times.write_bytes(data)
    builder.build(_job(fakes.flavour(api["10.3.0"], "10.3.0"), timing=times), say=said.append)
    assert times.read_bytes() == b"+measured"
    assert "refuses these measured times; measuring again" in said[0]


def test_an_orin_gets_its_engine_and_its_times(api: Api, tiny: tuple[Path, Manifest], tmp_path: Path) -> None:
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    made = engine_for(*tiny, device=ORIN, flavour=flavour, cache=tmp_path)
    assert (made.built, made.path.read_bytes()) == (True, fakes.PLAN)
    assert made.key.gpu == "Orin, 8 multiprocessors"
    assert (tmp_path / "timing-tensorrt-10.3.0-orin-8-multiprocessors-sm87.cache").is_file()
    later = fakes.flavour(api["10.13.3"], "10.13.3")
    again = engine_for(*tiny, device=ORIN, flavour=later, cache=tmp_path)
    assert "it was built by tensorrt 10.3.0, this is tensorrt 10.13.3" in again.why


def test_an_agx_orin_is_no_orin_nano(api: Api, tiny: tuple[Path, Manifest], tmp_path: Path) -> None:
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    engine_for(*tiny, device=ORIN, flavour=flavour, cache=tmp_path)
    agx = engine_for(*tiny, device=replace(ORIN, multiprocessors=16), flavour=flavour, cache=tmp_path)
    assert "built for Orin, 8 multiprocessors (SM 8.7), this is Orin, 16 multiprocessors (SM 8.7)" in agx.why


def test_tensorrt_has_one_logger_and_each_listener_hears_its_own_time(api: Api) -> None:
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    with listening(flavour) as (first, early):
        first.log("error", "one")
    with listening(flavour) as (second, late):
        second.log("error", "two")
        second.log("warning", "not this")
    first.log("error", "nobody hears it")
    assert first is second
    assert (early, late) == (["one"], ["two"])


def _file(path: Path, built: bool = False, **options: Any) -> EngineFile:
    key = EngineKey(
        "a" * 64, "tensorrt", "10.3.0", "linux-aarch64", "Orin", ((8, 7),), (Profile(),), Options(**options)
    )
    store.write(path, key, fakes.PLAN, 1.0)
    return EngineFile(path, key, built, "", 1.0)


def test_an_engine_is_loaded_without_host_code(api: Api, tmp_path: Path) -> None:
    flavour = fakes.flavour(api["11.4.0"], "11.4.0")
    loaded = loading.load(lambda: _file(tmp_path / "e.engine"), flavour, tmp_path)
    assert loaded.engine == fakes.PLAN
    assert loaded.runtime.engine_host_code_allowed is False  # the stand-in also checks it while it deserialises


@pytest.mark.parametrize("release", FULL)
def test_a_stripped_engine_gets_its_weights_from_the_bundle(release: str, api: Api, tmp_path: Path) -> None:
    flavour = fakes.flavour(api[release], release)
    loading.load(lambda: _file(tmp_path / "e.engine", strip_weights=True, dla=1), flavour, tmp_path / "bundle")
    assert flavour.trt.OnnxParserRefitter.read == [str(tmp_path / "bundle" / "encoder.onnx")]


def test_a_stripped_engine_that_takes_pixels_gets_those_of_its_preprocessing_too(api: Api, tmp_path: Path) -> None:
    flavour, folder = fakes.flavour(api["10.3.0"], "10.3.0"), bundles.write_seer(tmp_path / "b")
    tail = preprocess.tail_of(bundle.verify(folder).preprocess)
    assert tail is not None
    file = _file(tmp_path / "e.engine", strip_weights=True)
    for key in (replace(file.key, pixels=tail.digest), replace(file.key, pixels=tail.digest, frame=(48, 64))):
        loading.load(lambda key=key: replace(file, key=key), flavour, folder, tail=tail)  # type: ignore[misc]
    assert flavour.trt.OnnxParserRefitter.read == [str(folder / "encoder.onnx")] * 2


def test_an_engine_that_tensorrt_refuses_is_built_again(api: Api, tmp_path: Path) -> None:
    flavour, said = fakes.flavour(api["10.3.0"], "10.3.0"), list[str]()
    files = [_file(tmp_path / "old.engine"), _file(tmp_path / "new.engine", built=True)]
    answers = [None, "engine"]

    def answer(data: bytes, logger: Any) -> object:
        logger.log("error", "Serialization assertion failed")
        return answers.pop(0)

    flavour.trt.Runtime.outcome = staticmethod(answer)
    loaded = loading.load(lambda: files.pop(0), flavour, tmp_path, say=said.append)
    assert (loaded.engine, loaded.file.path.name) == ("engine", "new.engine")
    assert said == ["old.engine: TensorRT 10.3.0 refuses it (Serialization assertion failed); building it again"]
    assert store.read_note(tmp_path / "old.engine") == (None, "its build did not finish")


@pytest.mark.parametrize(
    ("built", "complaint", "message"),
    [
        (True, "Serialization assertion failed", "refuses an engine of its own: Serialization assertion failed"),
        (False, "CUDA error: out of memory", "too little memory for this engine; close what else uses the GPU"),
    ],
)
def test_what_building_again_would_not_mend_is_one_line(
    built: bool, complaint: str, message: str, api: Api, tmp_path: Path
) -> None:
    flavour = fakes.flavour(api["10.3.0"], "10.3.0")
    flavour.trt.Runtime.outcome = staticmethod(lambda data, logger: logger.log("error", complaint))
    with pytest.raises(EdgebindError, match=message):
        loading.load(lambda: _file(tmp_path / "e.engine", built), flavour, tmp_path)
