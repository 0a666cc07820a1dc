"""How a data set is named on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind.errors import OptionError, RecordingError
from edgebind.evaluate.datasets import ADAPTERS, open_dataset


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("esc51:here", "unknown data set"),
        ("esc50", "no folder is named"),
        ("esc50:", "no folder is named"),
        ("esc50@fold9:here", "unknown split (wanted all or fold1"),
        ("esc50@:here", "unknown split"),
        ("esc50:nowhere/at/all", "nowhere/at/all: no such folder (wanted the folder of ESC-50)"),
    ],
)
def test_a_name_that_does_not_exist_is_one_clear_line(spec: str, says: str) -> None:
    with pytest.raises(OptionError) as caught:
        open_dataset(spec)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ADAPTERS)
def test_an_empty_folder_is_no_data_set(name: str, tmp_path: Path) -> None:
    with pytest.raises((RecordingError, OptionError)) as caught:
        open_dataset(f"{name}:{tmp_path}")
    assert str(tmp_path) in str(caught.value)
    assert caught.value.wanted or caught.value.remedy


@pytest.mark.parametrize("name", ADAPTERS)
def test_help_shows_every_split(name: str) -> None:
    adapter = ADAPTERS[name]
    written = adapter.written(name)
    assert written.startswith(name) and written.endswith(":FOLDER")
    assert len(adapter.splits) == 1 or all(split in written for split in adapter.splits)
