"""The recipes that the starter's towers are made by: what they train on is not what they are judged by."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind import starter
from edgebind.train import recipe

RECIPES = Path(starter.__file__).parent / "recipes"


@pytest.mark.parametrize("name", ["imu", "thermal", "thermal_teacher"])
def test_no_unseen_word_is_trained_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent.parent.parent)  # recipes are written for the top of the repository
    edge = recipe.read(RECIPES / f"{name}.toml").edges[0]
    trained = {_plain(text) for prompts in edge.prompts for text in prompts.texts}
    banks = recipe.read_unseen(edge)
    assert len(banks) >= 4
    assert not trained & {_plain(text) for bank in banks for text in bank}


@pytest.mark.parametrize("name", ["imu", "thermal", "thermal_teacher"])
def test_no_text_stands_for_two_classes(name: str) -> None:
    texts = [
        _plain(text) for prompts in recipe.read(RECIPES / f"{name}.toml").edges[0].prompts for text in prompts.texts
    ]
    assert len(set(texts)) == len(texts)


def _plain(text: str) -> str:
    return " ".join(text.lower().removesuffix(".").split())
