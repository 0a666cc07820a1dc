"""AudioSet, VGGSound, Clotho and AudioCaps: what is a clip, a class, a caption."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind.errors import RecordingError
from edgebind.evaluate.datasets import open_dataset
from edgebind.preprocess.videos import Video
from tests.evaluate.datasets import made, trees


def test_a_clip_of_audioset_has_all_its_classes(tmp_path: Path) -> None:
    trees.audioset(tmp_path)
    task, _ = open_dataset(f"audioset:{tmp_path}").classifications
    assert task.classes == ("Speech", "Male speech, man speaking", "Music")
    assert task.targets == ((0, 1), (2,), (0, 2))
    assert [clip.name for clip in task.clips] == [
        "eval_segments/Y--4gqARaEJE.wav",
        "eval_segments/--BfvyPmVMo_20.000_30.000.wav",
        "eval_segments/-0DLPzsiXXE_130.mp4",
    ]
    assert "a sound of male speech, man speaking." in task.prompts[1]
    video = made.array(task.clips[2])
    assert made.loudest_hertz(video, 16000) == pytest.approx(440.0, abs=2)


@pytest.mark.parametrize("name", ["audioset", "vggsound"])
def test_what_sounds_is_also_seen_where_the_file_holds_pictures(name: str, tmp_path: Path) -> None:
    trees.TREES[name](tmp_path)
    heard, seen = open_dataset(f"{name}:{tmp_path}").classifications
    assert (heard.modality, seen.modality) == ("audio", "vision")
    assert seen.classes == heard.classes, "so that an evaluation can add their vectors"
    (row,) = (at for at, clip in enumerate(heard.clips) if clip.name.endswith(".mp4"))
    assert [clip.name for clip in seen.clips] == [heard.clips[row].name]
    assert seen.targets == (heard.targets[row],)
    assert isinstance(seen.clips[0].load(), Video)
    assert seen.published == ()


def test_the_balanced_segments_have_no_published_number(tmp_path: Path) -> None:
    trees.audioset(tmp_path)
    (task,) = open_dataset(f"audioset@balanced:{tmp_path}").classifications
    assert task.targets == ((2,),)
    assert task.published == ()


def test_clips_of_audioset_may_lie_anywhere_below_the_root(tmp_path: Path) -> None:
    trees.audioset(tmp_path)
    (tmp_path / "eval_segments").rename(tmp_path / "wavs")
    assert len(open_dataset(f"audioset:{tmp_path}").classifications[0].clips) == 3


def test_a_class_that_audioset_does_not_list_is_refused(tmp_path: Path) -> None:
    trees.audioset(tmp_path)
    table = tmp_path / "eval_segments.csv"
    table.write_text(table.read_text().replace("/m/04rlf", "/m/none"))
    with pytest.raises(RecordingError, match=r"eval_segments\.csv: unknown class .*got /m/none"):
        open_dataset(f"audioset:{tmp_path}")


def test_a_video_without_sound_is_counted_as_absent(tmp_path: Path) -> None:
    trees.audioset(tmp_path)
    made.video(tmp_path / "eval_segments/-0DLPzsiXXE_130.mp4", hertz=None)
    dataset = open_dataset(f"audioset:{tmp_path}")
    assert dataset.classifications[0].targets == ((0, 1), (2,))
    assert dataset.notes["clips"].startswith("2 of the protocol's 3; 1 are absent or cannot be read")


def test_vggsound_judges_its_test_split_among_all_classes(tmp_path: Path) -> None:
    trees.vggsound(tmp_path)
    task, _ = open_dataset(f"vggsound:{tmp_path}").classifications
    assert task.classes == ("bird chirping, tweeting", "people marching", "waterfall burbling")
    assert task.targets == ((1,), (0,))
    assert made.loudest_hertz(made.array(task.clips[1]), 16000) == pytest.approx(1000.0, abs=1)
    (training,) = open_dataset(f"vggsound@train:{tmp_path}").classifications
    assert training.targets == ((2,),)


def test_a_second_that_is_no_number_is_refused(tmp_path: Path) -> None:
    trees.vggsound(tmp_path)
    made.table(tmp_path / "vggsound.csv", (), [("---g-f_I2yQ", "one", "people marching", "test")])
    with pytest.raises(RecordingError, match=r"vggsound\.csv: first second is no number \(got 'one'\)"):
        open_dataset(f"vggsound:{tmp_path}")


def test_five_captions_of_clotho_are_five_queries(tmp_path: Path) -> None:
    trees.clotho(tmp_path)
    (pairing,) = open_dataset(f"clotho:{tmp_path}").pairings
    assert (len(pairing.left), len(pairing.right)) == (10, 2)
    assert pairing.pairs == tuple((query, query // 5) for query in range(10))
    assert pairing.left[6].load() == "Rain, night.wav said in way 2"
    assert pairing.left[6].name == "evaluation/Rain, night.wav#caption2"


def test_captions_of_an_absent_sound_go_with_it(tmp_path: Path) -> None:
    trees.clotho(tmp_path)
    (tmp_path / "evaluation/Santa Motor.wav").unlink()
    (pairing,) = open_dataset(f"clotho:{tmp_path}").pairings
    assert len(pairing.left) == 5
    assert pairing.left[0].load() == "Rain, night.wav said in way 1"
    assert {right for _, right in pairing.pairs} == {0}


def test_captions_of_audiocaps_are_gathered_by_clip(tmp_path: Path) -> None:
    trees.audiocaps(tmp_path)
    dataset = open_dataset(f"audiocaps:{tmp_path}")
    (pairing,) = dataset.pairings
    assert [clip.load() for clip in pairing.left] == [
        "Rustling occurs, ducks quack",
        "Ducks quack while water splashes",
        "An audience gives applause",
    ]
    assert pairing.pairs == ((0, 0), (1, 0), (2, 1))
    assert dataset.notes["protocol"].startswith("all of the data set's split")


@pytest.mark.parametrize("folder", ["", "AudioCaps_retrieval_dataset"])
def test_the_list_that_imagebind_was_judged_by_goes_before_the_data_sets_own(tmp_path: Path, folder: str) -> None:
    trees.audiocaps(tmp_path)
    titles, row = ("audiocap_id", "youtube_id", "start_time", "caption"), (103548, "tdWhHV3X25Q", 60, "Applause")
    made.table(tmp_path / folder / "retrieval_test.csv", titles, [row])
    dataset = open_dataset(f"audiocaps:{tmp_path}")
    (pairing,) = dataset.pairings
    assert ([clip.load() for clip in pairing.left], len(pairing.right)) == (["Applause"], 1)
    assert dataset.notes["protocol"].startswith("clips of the audio retrieval benchmark")
