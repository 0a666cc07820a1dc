"""ESC-50 in its published layout."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset
from edgebind.preprocess.waves import read_wave
from tests.evaluate.datasets import made, trees

TITLES = ("filename", "fold", "target", "category", "esc10", "src_file", "take")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    trees.esc50(tmp_path)
    return tmp_path


def test_clips_classes_and_folds_are_those_of_the_table(root: Path) -> None:
    dataset = open_dataset(f"esc50:{root}")
    (task,) = dataset.classifications
    assert task.modality == "audio"
    assert task.classes == ("dog", "rooster", "chirping_birds")
    assert task.targets == ((0,), (1,), (2,), (0,))
    assert task.groups == ("fold 1", "fold 2", "fold 3", "fold 5")
    assert task.training == ()
    assert task.clips[1].name == "audio/2-117615-A-1.wav"
    assert "a sound of chirping birds." in task.prompts[2]
    assert dataset.notes["clips"] == "all 4 of the protocol"
    (judged,) = open_dataset(f"esc50@fold2:{root}").classifications
    assert ([judged.clips[row].name for row in judged.judged], judged.training) == (
        ["audio/2-117615-A-1.wav"],
        (0, 2, 3),
    )


def test_a_clip_is_its_sound_at_16_kilohertz(root: Path) -> None:
    (task,) = open_dataset(f"esc50:{root}").classifications
    wave = made.array(task.clips[0])
    assert wave.shape == (1, 5 * 16000)
    assert wave.dtype == np.float32
    assert made.loudest_hertz(wave, 16000) == 440.0
    assert np.abs(wave).max() == pytest.approx(0.5, abs=0.02)


def test_a_fold_is_judged_after_learning_from_the_others(root: Path) -> None:
    (task,) = open_dataset(f"esc50@fold2:{root}").classifications
    assert task.training == (0, 2, 3)


def test_a_fold_of_which_nothing_is_there_is_refused(root: Path) -> None:
    (root / "audio" / "2-117615-A-1.wav").unlink()
    with pytest.raises(RecordingError, match="to learn from and none to judge"):
        open_dataset(f"esc50@fold2:{root}")


def test_a_clip_that_is_not_there_is_counted_and_the_others_are_used(root: Path) -> None:
    (root / "audio" / "2-117615-A-1.wav").unlink()
    (root / "audio" / "5-9032-A-0.wav").write_bytes(b"")
    dataset = open_dataset(f"esc50:{root}")
    assert len(dataset.classifications[0].clips) == 2
    assert dataset.classifications[0].targets == ((0,), (2,))
    assert dataset.notes["clips"].startswith("2 of the protocol's 4; 2 are absent")
    assert "2-117615-A-1.wav" in dataset.notes["clips"]


def test_a_target_that_is_no_number_is_refused(root: Path) -> None:
    made.table(root / "meta" / "esc50.csv", TITLES, [("a.wav", 1, "dog", "dog", 1, 1, "A")])
    made.sound(root / "audio" / "a.wav")
    with pytest.raises(RecordingError, match=r"esc50\.csv: target is no whole number \(got 'dog'\)"):
        open_dataset(f"esc50:{root}")


def test_real_recordings_of_the_set_load(shared: Path, tmp_path: Path) -> None:
    """ESC-10 is a tenth of ESC-50's sounds, here as Ogg; the layout is made around them."""
    folders = [folder for folder in sorted((shared / "data" / "audio_esc10").iterdir()) if folder.is_dir()]
    rows = []
    (tmp_path / "audio").mkdir()
    for target, folder in enumerate(folders):
        sound = min(folder.glob("*.ogg"))
        shutil.copy(sound, tmp_path / "audio" / sound.name)
        rows.append((sound.name, sound.name[0], target, folder.name.lower(), "True", 1, "A"))
    made.table(tmp_path / "meta" / "esc50.csv", TITLES, rows)
    (task,) = open_dataset(f"esc50:{tmp_path}").classifications
    assert len(task.classes) == len(folders) == 10
    for clip, row in zip(task.clips[:3], rows, strict=False):
        original, rate = read_wave(tmp_path / "audio" / row[0])
        assert made.array(clip).shape[1] == -(-original.shape[1] * 16000 // rate)
        made.goes_through(clip, "audio")
