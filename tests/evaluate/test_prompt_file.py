"""Files of other words: prompts class by class, and templates around the names that a data set gives."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgebind.errors import OptionError
from edgebind.evaluate import prompt_file
from edgebind.evaluate.dataset import Classification, Recordings

PETS = Classification(
    "pets", "vision", [], (), ("cat", "dog"), (("cat",), ("dog", "hound")), ("a photo of a {}.", "a {}.")
)
WALKS = Recordings("walks", "imu", [], ("WALKING",), (("a person walking",),))


def _file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "words.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_templates_go_around_every_name(tmp_path: Path) -> None:
    # A list of Python, as CLIP's authors published theirs, is one of TOML.
    path = _file(tmp_path, "vision = [\n    'itap of a {}.',\n    'a drawing of the {}.', 'itap of a {}.',\n]\n")
    templates = prompt_file.read_templates(path)
    found = prompt_file.retemplated(PETS, templates)
    assert isinstance(found, Classification)
    assert found.prompts == (
        ("itap of a cat.", "a drawing of the cat."),
        ("itap of a dog.", "a drawing of the dog.", "itap of a hound.", "a drawing of the hound."),
    )
    assert PETS.prompts[0] == ("a photo of a cat.", "a cat.")
    assert prompt_file.retemplated(WALKS, templates) is WALKS  # another sensor keeps its words


def test_whole_sentences_have_no_name_for_a_template() -> None:
    assert prompt_file.retemplated(WALKS, {"imu": ("a film of {}",)}) is None
    said = prompt_file.reworded(PETS, {"vision": {"cat": ("a cat purrs",), "dog": ("a dog barks", "woof")}})
    assert isinstance(said, Classification)
    assert said.prompts == (("a cat purrs",), ("a dog barks", "woof"))
    assert prompt_file.retemplated(said, {"vision": ("a photo of {}",)}) is None


def test_words_for_some_of_the_classes_do_not_fit() -> None:
    assert prompt_file.reworded(PETS, {"vision": {"cat": ("a cat purrs",)}}) is None


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no templates"),
        ("sight = ['a {}']", "unknown modality"),
        ("vision = 'a {}'", "'vision' is no list of templates"),
        ("vision = []", "'vision' is no list of templates"),
        ("vision = [1]", "'vision' is no list of templates"),
        ("vision = ['a {}', 'a photo']", "a template has one place for the label"),
        ("vision = ['a {} and a {}']", "a template has one place for the label"),
        ("[[vision]]\nlabel = 'cat'\ntexts = ['a cat']", "'vision' is no list of templates"),
        ("vision = ", "the file of templates is no TOML"),
    ],
)
def test_what_is_no_file_of_templates_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        prompt_file.read_templates(path)
    assert says in str(caught.value) and str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("vision = ['a photo of a {}']", "key 'vision' has the wrong type"),
        ("[[vision]]\nlabel = 'cat'\ntexts = ['a']\n[[vision]]\nlabel = 'cat'\ntexts = ['b']", "a label stands twice"),
        ("[[sight]]\nlabel = 'cat'\ntexts = ['a']", "unknown modality"),
        ("[[vision]]\nlabel = 'cat'", "'vision.texts' is missing"),
    ],
)
def test_what_is_no_file_of_prompts_is_one_clear_line(tmp_path: Path, text: str, says: str) -> None:
    path = _file(tmp_path, text)
    with pytest.raises(OptionError) as caught:
        prompt_file.read(path)
    assert says in str(caught.value) and str(path) in str(caught.value)
