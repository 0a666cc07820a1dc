"""The recipes that the starter's towers are made by: what they train on is not what they are judged by."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from edgebind import preprocess, starter
from edgebind.models import students
from edgebind.train import recipe
from edgebind.train.data.aligned import bender
from edgebind.train.distil_recipe import DistilRecipe
from tests.conftest import ROOT

MODALITIES = starter.MODALITIES
RECIPES = Path(starter.__file__).parent / "recipes"


@pytest.mark.parametrize("name", MODALITIES)
def test_no_unseen_word_is_trained_on(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent.parent.parent)  # recipes are written for the top of the repository
    edge = recipe.read(RECIPES / f"{name}-teacher.toml").edges[0]
    trained = {_plain(text) for texts in edge.phrasings for text in texts}
    banks = recipe.read_unseen(edge)
    assert len(banks) >= 4
    assert not trained & {_plain(text) for bank in banks for text in bank}


def test_fresh_words_are_neither_trained_on_nor_the_unseen_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(RECIPES.parent.parent.parent)
    edge = recipe.read(RECIPES / "thermal-teacher.toml").edges[0]
    fresh = recipe.read_unseen(replace(edge, unseen=str(RECIPES / "fresh_prompts.toml")))
    texts = [_plain(text) for bank in fresh for text in bank]
    assert len(fresh) == 4
    assert len(set(texts)) == len(texts)
    known = [*edge.phrasings, *recipe.read_unseen(edge)]
    assert not set(texts) & {_plain(text) for mine in known for text in mine}


@pytest.mark.parametrize("name", MODALITIES)
def test_no_text_stands_for_two_classes(name: str) -> None:
    edge = recipe.read(RECIPES / f"{name}-teacher.toml").edges[0]
    texts = [_plain(text) for mine in edge.phrasings for text in mine]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", MODALITIES)
def test_a_student_sees_what_its_teacher_sees(name: str) -> None:
    path = RECIPES / f"{name}.toml"
    student: DistilRecipe = recipe.from_table(DistilRecipe, recipe.read_toml(path, "the recipe"), where=str(path))
    teacher = recipe.read(RECIPES / f"{name}-teacher.toml")
    assert student.teacher.checkpoint == teacher.out
    assert student.student.preprocess == teacher.nodes[name].preprocess
    assert student.licence == teacher.licence
    assert not student.data, "it learns from the teacher's own"


@pytest.mark.parametrize("path", sorted((ROOT / "how-to" / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_of_the_guides_can_be_read_to_its_last_constant(path: Path) -> None:
    plan = recipe.read(path)
    for node in plan.nodes.values():
        bender(node)
        preprocess.build(node.preprocess)
        students.build(node.tower, dim=plan.dim)


def _plain(text: str) -> str:
    return " ".join(text.lower().removesuffix(".").split())
