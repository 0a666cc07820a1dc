"""What ImageBind's towers are measured on: laid out alike everywhere, and both parts of every kind."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgebind import cli
from edgebind.benchmarks import imagebind_recordings
from edgebind.calibration.windows import recordings
from edgebind.errors import OptionError
from edgebind.sources.pictures import pictures_in


def test_both_parts_of_the_pictures_are_of_the_same_kinds(shared: Path, tmp_path: Path) -> None:
    data, out = shared / "data", tmp_path / "recordings"
    assert cli.main([str(data), str(out)], command=imagebind_recordings.command) == 0
    kind = {name: path.relative_to(data).parts[:2] for name, path in imagebind_recordings.pictures(data)}
    order = [path.name for path in pictures_in(out / "vision")]
    times = np.arange(len(order)) * 33_333_333
    stop, start = recordings.cut(times, times + 33_333_333)
    early = Counter(kind[order[i]] for i in np.flatnonzero(times + 33_333_333 <= stop))
    late = Counter(kind[order[i]] for i in np.flatnonzero(times >= start))
    assert (early.total(), late.total()) == (39, 19)
    assert {name for name, several in Counter(kind.values()).items() if several >= 5} <= set(early) & set(late)


def test_depth_and_prompts_are_laid_out(shared: Path, tmp_path: Path) -> None:
    data, out = shared / "data", tmp_path / "recordings"
    cli.main([str(data), str(out)], command=imagebind_recordings.command)
    frame = np.asarray(Image.open(data / "depth_rgbd" / "redwood_depth.png"))
    cuts = [np.asarray(Image.open(path)) for path in pictures_in(out / "depth" / "redwood_depth")]
    assert len(cuts) == 30
    np.testing.assert_array_equal(cuts[13], frame[80:400, 160:480])  # the middle one of 320 pixels
    prompts = [line for path in (out / "text").iterdir() for line in path.read_text("utf-8").splitlines()]
    assert len(set(prompts)) == 300


def test_a_data_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="thermal_roadscene"):
        list(imagebind_recordings.pictures(tmp_path))


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    assert cli.main([str(tmp_path), str(tmp_path)], command=imagebind_recordings.command) == 2
    assert "the folder is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
