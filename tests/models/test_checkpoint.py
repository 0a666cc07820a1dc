"""Reading and writing towers: every way a file can be good, and every way it can be bad."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from edgebind import modality
from edgebind.errors import CheckpointError, EdgebindError, OptionError, StorageError
from edgebind.models import checkpoint, imagebind, tensor_file
from edgebind.models.checkpoint import available, load_towers, save_towers

Weights = dict[str, Tensor]
NAMES = ["text", "depth", "imu"]


@pytest.fixture(autouse=True)
def small_towers(monkeypatch: pytest.MonkeyPatch) -> None:
    """ImageBind's structure, 16 wide and one block deep, so that a checkpoint takes no time."""
    for name, full in imagebind.ARCHITECTURES.items():
        monkeypatch.setitem(imagebind.ARCHITECTURES, name, replace(full, width=16, depth=1, heads=2))


@pytest.fixture
def weights(small_towers: None) -> Weights:
    """The state dict of three towers."""
    torch.manual_seed(5)
    return dict(imagebind.build(NAMES).state_dict())


@pytest.fixture
def path(tmp_path: Path, weights: Weights) -> Path:
    return saved(weights, tmp_path / "imagebind.pth")


def saved(content: object, file: Path) -> Path:
    torch.save(content, file)
    return file


def only(name: str, weights: Weights) -> Weights:
    return {key: value for key, value in weights.items() if f".{name}." in key}


def line(path: Path, modalities: list[str] | None = None) -> str:
    """The message with which `path` is refused: one line, naming the file."""
    with pytest.raises(CheckpointError) as caught:
        load_towers(path, modalities)
    message = str(caught.value)
    assert "\n" not in message and str(path) in message
    return message


# ---------------------------------------------------------------------------------------------------------- good files


def legacy(weights: Weights, file: Path) -> None:
    torch.save(weights, file, _use_new_zipfile_serialization=False)


def safetensors(weights: Weights, file: Path) -> None:
    save_file(weights, file)


@pytest.mark.parametrize("write", [torch.save, legacy, safetensors])
def test_every_kind_of_file_gives_the_same_towers(write: Callable[..., None], weights: Weights, tmp_path: Path) -> None:
    file = tmp_path / "towers.bin"  # the content tells, not the name
    write(weights, file)

    towers = load_towers(file)

    assert list(towers) == NAMES == available(file)
    loaded = imagebind.ImageBind(towers).state_dict()
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[key], weights[key]) for key in weights)


def test_towers_are_frozen_in_eval_mode_and_run(path: Path) -> None:
    towers = load_towers(path)

    for name, tower in towers.items():
        assert not any(module.training for module in tower.modules())
        assert not any(parameter.requires_grad for parameter in tower.parameters())
        x = torch.ones(2, *modality.get(name).input_shape, dtype=torch.int64 if name == "text" else torch.float32)
        torch.testing.assert_close(tower(x).norm(dim=1), torch.ones(2))


def test_towers_come_in_the_order_asked_for(path: Path) -> None:
    assert list(load_towers(path, ["imu", "text"])) == ["imu", "text"]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda weights: {"state_dict": weights, "epoch": 3},
        lambda weights: {"model": weights, "optimizer": {"lr": 0.1}},
        lambda weights: {"model": {"state_dict": weights}},
        lambda weights: {f"module.{key}": value for key, value in weights.items()},
        lambda weights: {"state_dict": {f"model.module.{key}": value for key, value in weights.items()}},
        lambda weights: {**weights, "classifier.weight": torch.zeros(3), "step": 7},
    ],
)
def test_what_training_loops_wrap_around_is_taken_off(
    wrap: Callable[[Weights], dict[str, Any]], weights: Weights, tmp_path: Path
) -> None:
    file = saved(wrap(weights), tmp_path / "wrapped.pth")

    assert available(file) == NAMES == list(load_towers(file))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floats_are_cast(dtype: torch.dtype, weights: Weights, tmp_path: Path) -> None:
    file = saved({key: value.to(dtype) for key, value in weights.items()}, tmp_path / "half.pth")

    loaded = imagebind.ImageBind(load_towers(file)).state_dict()

    assert all(value.dtype == torch.float32 for value in loaded.values())
    assert all(torch.equal(loaded[key], weights[key].to(dtype).float()) for key in weights)


def test_a_text_tower_without_its_mask_gets_the_causal_one(weights: Weights, tmp_path: Path) -> None:
    mask = weights.pop("modality_preprocessors.text.mask")
    file = saved(weights, tmp_path / "no_mask.pth")

    assert "text" in available(file)
    assert torch.equal(load_towers(file)["text"].preprocessor.mask, mask)  # type: ignore[arg-type]


def test_non_contiguous_weights_are_read(weights: Weights, tmp_path: Path) -> None:
    key = "modality_heads.imu.3.weight"
    file = saved({**weights, key: weights[key].t().contiguous().t()}, tmp_path / "strided.pth")

    assert torch.equal(load_towers(file, ["imu"])["imu"].state_dict()["head.3.weight"], weights[key])


# ----------------------------------------------------------------------------------------------------- part of the towers


def test_an_absent_tower_is_refused_by_naming_those_there(path: Path) -> None:
    assert "no vision tower" in line(path, ["imu", "vision"])
    assert "got text, depth, imu" in line(path, ["vision"])


def test_an_incomplete_tower_is_refused_but_hinders_no_other(weights: Weights, tmp_path: Path) -> None:
    del weights["modality_trunks.imu.blocks.0.norm_1.bias"]
    file = saved(weights, tmp_path / "part.pth")

    assert available(file) == ["text", "depth"] == list(load_towers(file, ["text", "depth"]))
    assert "imu tower is incomplete" in line(file)
    assert "without modality_trunks.imu.blocks.0.norm_1.bias" in line(file, ["imu"])


@pytest.mark.parametrize("names", [[], ["radar"], "imu"])
def test_names_that_are_no_modalities_are_refused_before_reading(names: list[str], tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        load_towers(tmp_path / "absent.pth", names)


# ---------------------------------------------------------------------------------------------------- weights that do not fit


NORM = "modality_trunks.imu.blocks.0.norm_1.bias"
MASK = "modality_preprocessors.text.mask"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({NORM: torch.zeros(17)}, "another shape (wanted (16,), got (17,))"),
        ({NORM: torch.zeros(16, dtype=torch.int8)}, "no plain floating-point numbers"),
        ({NORM: torch.zeros(16, dtype=torch.complex64)}, "no plain floating-point numbers"),
        ({NORM: torch.zeros(16).to_sparse()}, "no plain floating-point numbers"),
        ({NORM: torch.zeros(16, device="meta")}, "no plain floating-point numbers"),
        ({NORM: torch.tensor([0.0] * 15 + [float("nan")])}, "NaN or Inf in 1 of 16"),
        ({NORM: torch.full((16,), float("inf"))}, "NaN or Inf in 16 of 16"),
        ({NORM: torch.full((16,), 1e300, dtype=torch.float64)}, "NaN or Inf in 16 of 16"),
        ({NORM: [0.0] * 16}, "not a tensor (wanted a tensor, got list)"),
        ({"modality_trunks.imu.blocks.0.attn.lora_a": torch.zeros(1)}, "has keys that ImageBind-huge's has not"),
        (
            {"modality_trunks.imu.blocks.1.norm_1.bias": torch.zeros(16)},
            "also modality_trunks.imu.blocks.1.norm_1.bias",
        ),
        ({f"module.{NORM}": torch.zeros(16)}, "twice"),
        ({MASK: torch.zeros(77, 77)}, "not causal"),
        ({MASK: torch.full((77, 77), float("nan"))}, "not causal"),
    ],
)
def test_weights_that_do_not_fit_are_refused(
    change: dict[str, Any], message: str, weights: Weights, tmp_path: Path
) -> None:
    assert message in line(saved({**weights, **change}, tmp_path / "bad.pth"))


def test_values_are_not_read_to_tell_what_is_there(weights: Weights, tmp_path: Path) -> None:
    file = saved({**weights, NORM: torch.full((16,), float("nan"))}, tmp_path / "nan.pth")

    assert available(file) == NAMES


# ------------------------------------------------------------------------------------------------------ files that are none


@pytest.mark.parametrize("write", [torch.save, legacy, safetensors])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.99])
def test_a_truncated_file_is_refused(
    write: Callable[..., None], share: float, weights: Weights, tmp_path: Path
) -> None:
    file = tmp_path / "cut"
    write(only("imu", weights), file)
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])

    assert "truncated" in line(file)
    with pytest.raises(CheckpointError, match="truncated"):
        available(file)


def test_paths_that_cannot_be_opened_are_refused(tmp_path: Path) -> None:
    assert "No such file" in line(tmp_path / "absent.pth")
    assert "Is a directory" in line(tmp_path)
    (tmp_path / "file").touch()
    assert "Not a directory" in line(tmp_path / "file" / "x.pth")


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"<!DOCTYPE html><html>", b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n", bytes(100)],
)
def test_files_of_other_kinds_are_refused(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "imagebind_huge.pth"
    file.write_bytes(content)

    assert "not a checkpoint" in line(file)


@pytest.mark.parametrize("content", [[1, 2], 3, torch.zeros(2)])
def test_pickles_of_other_things_are_refused(content: object, tmp_path: Path) -> None:
    assert f"got a {type(content).__name__}" in line(saved(content, tmp_path / "x.pth"))


@pytest.mark.parametrize("content", [{}, {"a": 1}, {1: torch.zeros(1)}, {"modality_trunks.radar.x": torch.zeros(1)}])
def test_mappings_without_a_tower_are_refused(content: object, tmp_path: Path) -> None:
    assert "no ImageBind tower in it" in line(saved(content, tmp_path / "x.pth"))


def test_a_mapping_that_holds_itself_comes_to_an_end(tmp_path: Path) -> None:
    content: dict[str, Any] = {}
    content["model"] = content

    assert "not a checkpoint" in line(saved(content, tmp_path / "x.pth"))


def test_a_zip_of_other_things_and_torchscript_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "x.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/readme.txt", "hello")
    assert "no checkpoint" in line(file)

    traced = tmp_path / "script.pt"
    with zipfile.ZipFile(traced, "w") as archive:  # what torch takes TorchScript to be
        for member in ("constants.pkl", "data.pkl", "version"):
            archive.writestr(f"archive/{member}", b"\x80\x02}q\x00.")
    assert "no checkpoint" in line(traced)


# ---------------------------------------------------------------------------------------------------------- hostile files


class Trap:
    """Unpickled without restrictions, it makes the directory `trap`."""

    def __init__(self, trap: Path) -> None:
        self.trap = str(trap)

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (self.trap,)


def trapped_pickle(content: object, file: Path) -> None:
    file.write_bytes(pickle.dumps(content, protocol=2))


@pytest.mark.parametrize("write", [torch.save, legacy, trapped_pickle])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_none(
    write: Callable[..., None], weights: Weights, tmp_path: Path
) -> None:
    file, trap = tmp_path / "evil.pth", tmp_path / "trap"
    write({"extra": Trap(trap), **({} if write is trapped_pickle else weights)}, file)

    message = line(file)

    assert "may want to run code and was refused" in message and "mkdir" in message
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(trap)))
    assert trap.exists(), "the trap is a real one"


def test_a_pickled_model_is_refused_with_the_way_out(tmp_path: Path) -> None:
    message = line(saved(torch.nn.Linear(2, 2), tmp_path / "model.pth"))

    assert "torch.nn.modules.linear.Linear" in message and "state dict alone" in message


def test_a_tar_archive_is_refused_even_when_it_looks_like_a_pickle(tmp_path: Path) -> None:
    file, trap = tmp_path / "x.pth", tmp_path / "trap"
    with tarfile.open(file, "w", format=tarfile.GNU_FORMAT, encoding="latin-1") as archive:
        member = tarfile.TarInfo("\x80storages")
        content = pickle.dumps(Trap(trap))
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    assert file.read_bytes().startswith(b"\x80")

    assert "not a checkpoint" in line(file)
    assert not trap.exists()


# --------------------------------------------------------------------------------------------------------------- writing


def test_what_is_saved_is_loaded_again(path: Path, tmp_path: Path) -> None:
    towers = load_towers(path, ["imu", "text"])
    file = tmp_path / "new" / "two.safetensors"

    save_towers(file, towers)

    assert available(file) == ["text", "imu"]
    again = imagebind.ImageBind(load_towers(file)).state_dict()
    before = imagebind.ImageBind(towers).state_dict()
    assert again.keys() == before.keys() and all(torch.equal(again[key], before[key]) for key in before)


@pytest.mark.parametrize(("options", "stated"), [({}, checkpoint.LICENCE_NOTE), ({"licence": None}, None)])
def test_the_licence_travels_with_the_weights(
    options: dict[str, Any], stated: str | None, path: Path, tmp_path: Path
) -> None:
    file = tmp_path / "imu.safetensors"
    save_towers(file, load_towers(path, ["imu"]), **options)

    with safe_open(file, framework="pt") as archive:
        assert archive.metadata().get("licence") == stated
    assert "CC-BY-NC 4.0" in checkpoint.LICENCE_NOTE


def test_towers_can_be_saved_over_the_file_they_are_mapped_from(path: Path, tmp_path: Path) -> None:
    file = tmp_path / "imu.safetensors"
    save_towers(file, load_towers(path, ["imu"]))
    towers = load_towers(file)
    before = {key: value.clone() for key, value in towers["imu"].state_dict().items()}

    save_towers(file, towers)

    for state in (towers["imu"].state_dict(), load_towers(file)["imu"].state_dict()):
        assert all(torch.equal(state[key], before[key]) for key in before)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        ("Error while serializing: I/O error: No space left on device (os error 28)", StorageError),
        ("Error while serializing: something else", SafetensorError),
    ],
)
def test_a_failed_save_leaves_the_old_file(
    message: str, error: type[Exception], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(tensors: Weights, file: Path, metadata: dict[str, str]) -> None:
        file.write_bytes(b"half")
        raise SafetensorError(message)

    file = tmp_path / "imu.safetensors"
    file.write_bytes(b"old")
    monkeypatch.setattr(tensor_file, "save_file", full_disk)

    with pytest.raises(error):
        save_towers(file, load_towers(path, ["imu"]))

    assert file.read_bytes() == b"old"
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["imagebind.pth", "imu.safetensors"]


def test_only_safetensors_are_written_and_never_nothing(path: Path, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"\.safetensors"):
        save_towers(tmp_path / "imu.pth", load_towers(path, ["imu"]))
    with pytest.raises(OptionError, match="no tower"):
        save_towers(tmp_path / "none.safetensors", {})
    assert not (tmp_path / "imu.pth").exists()


def test_every_refusal_is_of_the_tree() -> None:
    assert issubclass(CheckpointError, EdgebindError)
