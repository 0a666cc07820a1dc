"""Small torch encoders of every kind of layer, a compiler for machines without a GPU, and a starter space to export."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgebind import drawing, preprocess, starter
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec

torch = pytest.importorskip("torch")
pytest.importorskip("onnxscript")
nn = torch.nn

DIM = 24
IMU = WindowSpec(50.0, 2.0, 1.0, ("ax", "ay", "az", "gx", "gy", "gz"), ("m/s²",) * 3 + ("rad/s",) * 3)
CAMERA = WindowSpec(8.0, 0.125, 0.125, ("intensity",), ("grey level",))


class Mixed(nn.Module):  # type: ignore[misc, name-defined]
    """Convolution with BatchNorm, GELU and dropout, one attention block, and a linear head: (batch, 6, 64) -> (batch, 24)."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(6, 32, 9, 4, 4), nn.BatchNorm1d(32), nn.GELU(), nn.Dropout(0.5))
        self.norm = nn.LayerNorm(32)
        self.qkv, self.mixed = nn.Linear(32, 96), nn.Linear(32, 32)
        self.head = nn.Linear(32, DIM)

    def forward(self, window: Any) -> Any:
        tokens = self.stem(window).transpose(1, 2)
        query, key, value = (
            part.unflatten(2, (2, 16)).transpose(1, 2) for part in self.qkv(self.norm(tokens)).chunk(3, 2)
        )
        attended = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
        return nn.functional.normalize(self.head((tokens + self.mixed(attended)).mean(dim=1)), dim=1)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """For exports whose page nobody looks at: drawing it is four fifths of their time."""
    monkeypatch.setattr(drawing, "is_there", lambda: False)


@pytest.fixture(scope="session")
def mixed() -> Any:
    torch.manual_seed(0)
    return Mixed()


@pytest.fixture(scope="session")
def mixed_graph(mixed: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`mixed`, exported and simplified."""
    from edgebind.export import parity, simplify
    from edgebind.export.torch_onnx import to_onnx

    folder = tmp_path_factory.mktemp("mixed")
    to_onnx(mixed, parity.example((6, 64), "float32"), folder / "exported.onnx")
    simplify.simplify(folder / "exported.onnx", folder / "encoder.onnx")
    return folder / "encoder.onnx"


@pytest.fixture(scope="session")
def compile_rtx() -> Callable[[Path], int]:
    """Builds a strongly typed TensorRT-RTX engine for Ampere without a GPU; returns its size."""
    try:
        import tensorrt_rtx as trt
    except ImportError:
        pytest.importorskip("tensorrt_rtx_libs")
        trt = pytest.importorskip("tensorrt_rtx_bindings")
    logger = trt.Logger(trt.Logger.ERROR)

    def build(graph: Path) -> int:
        builder = trt.Builder(logger)
        network = builder.create_network(0)
        parser = trt.OnnxParser(network, logger)
        assert parser.parse_from_file(str(graph)), [parser.get_error(i).desc() for i in range(parser.num_errors)]
        config = builder.create_builder_config()
        config.num_compute_capabilities = 1
        assert config.set_compute_capability(trt.ComputeCapability.SM86, 0)
        profile, data = builder.create_optimization_profile(), network.get_input(0)
        shape = tuple(data.shape)[1:]
        profile.set_shape(data.name, (1, *shape), (1, *shape), (8, *shape))
        config.add_optimization_profile(profile)
        engine = builder.build_serialized_network(network, config)
        assert engine is not None
        return int(engine.nbytes)

    return build


@pytest.fixture(scope="session")
def towers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Checkpoints as `edgebind bind` writes them, of untrained students with settled BatchNorms."""
    folder = tmp_path_factory.mktemp("towers")
    return {"imu": _imu_tower(folder), "thermal": _thermal_tower(folder)}


def _imu_tower(folder: Path) -> Path:
    from edgebind.models import students

    torch.manual_seed(1)
    student = students.ImuStudent(dim=384, length=200)
    return _settled(
        folder, "imu", "imu-s", student, torch.randn(64, 6, 200), WindowSpec(50, 4, 2, IMU.channels, IMU.units)
    )


def _thermal_tower(folder: Path) -> Path:
    from edgebind.models import students

    torch.manual_seed(2)
    return _settled(
        folder, "thermal", "thermal-s", students.build("thermal-s", dim=384), torch.rand(16, 1, 64, 64), CAMERA
    )


def _settled(folder: Path, modality: str, name: str, student: Any, example: Any, window: WindowSpec) -> Path:
    from edgebind.models import tower_file

    with torch.no_grad():
        for _ in range(20):
            student(example)
    config = {"kind": "thermal", "size": 64} if modality == "thermal" else {"kind": "imu"}
    vectors = torch.nn.functional.normalize(torch.randn(4, 384), dim=1).numpy()
    bank = LabelBank(("a", "b", "c", "d"), vectors)
    prepared = dict(preprocess.build(config).to_dict())
    info = tower_file.TowerInfo("starter", modality, name, 384, 14.0, window, prepared)
    tower_file.write(folder / f"{modality}.safetensors", student, info, bank)
    return folder / f"{modality}.safetensors"


@pytest.fixture
def walks(tmp_path: Path) -> Path:
    """A folder of three IMU recordings, 100 Hz, 60 s each."""
    folder = tmp_path / "walks"
    folder.mkdir()
    for place in range(3):
        _write_walk(folder / f"walk_{place}.csv.gz", np.random.default_rng(place))
    return folder


def _write_walk(path: Path, random: np.random.Generator) -> None:
    times = np.arange(0, 60, 0.01)
    samples = random.normal(size=(len(times), 6)) * (1 + np.sin(times)[:, None]) + np.array([0, 0, 9.8, 0, 0, 0])
    header = "time,ax,ay,az,gx,gy,gz"
    with gzip.open(path, "wt") as stream:
        np.savetxt(stream, np.column_stack([times, samples]), delimiter=",", header=header, comments="", fmt="%.5f")


@pytest.fixture
def frames(tmp_path: Path) -> Path:
    """Two folders of thermal pictures."""
    random = np.random.default_rng(0)
    for folder in ("day", "night"):
        (tmp_path / "frames" / folder).mkdir(parents=True)
        for place in range(24):
            picture = random.integers(0, 255, (16, 20), np.uint8)
            Image.fromarray(picture).resize((80, 64)).save(tmp_path / "frames" / folder / f"{place:02}.png")
    return tmp_path / "frames"


@pytest.fixture(scope="session")
def fp32_bundles(towers: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`imu-fp32` and `thermal-fp32`."""
    from edgebind.export.road import Request, export

    folder = tmp_path_factory.mktemp("bundles")
    for checkpoint in towers.values():
        list(export(Request("fp32", folder, checkpoint)))
    return folder


@pytest.fixture
def starter_space(
    fp32_bundles: Path, walks: Path, frames: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The package's starter folder, replaced by untrained towers and other recordings."""
    home = tmp_path / "starter"
    shutil.copytree(fp32_bundles, home)
    for part in ("calibration", "gate"):
        (home / "recordings" / part).mkdir(parents=True)
        (home / "recordings" / part / "imu").symlink_to(walks)
        (home / "recordings" / part / "thermal").symlink_to(frames)
    monkeypatch.setattr(starter, "HERE", home)
    monkeypatch.setattr(starter, "RECORDINGS", home / "recordings")
    return home
