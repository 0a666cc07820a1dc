from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edgebind import extras, preprocess
from edgebind.errors import MissingDependencyError, RecordingError
from edgebind.preprocess import text


@pytest.fixture(autouse=True)
def tokenizer() -> None:
    pytest.importorskip("ftfy")
    pytest.importorskip("instant_clip_tokenizer")


def test_tokens_equal_the_reference(shared: Path) -> None:
    expected = json.loads((shared / "parity/tokens.json").read_text(encoding="utf-8"))
    ids = text.tokens(list(expected))
    assert ids.shape == (len(expected), 77)
    assert ids.dtype == np.int64
    assert ids.tolist() == list(expected.values())


def test_one_prompt_through_the_preprocessor(shared: Path) -> None:
    expected = json.loads((shared / "parity/tokens.json").read_text(encoding="utf-8"))["a photo of a dog"]
    make = preprocess.for_imagebind("text")
    for prompt in ("a photo of a dog", np.array("a photo of a dog"), np.array(["a photo of a dog"], object)):
        ids = make(prompt)  # type: ignore[arg-type]
        assert ids.dtype == np.int64
        assert ids.tolist() == expected


@pytest.mark.parametrize(
    ("prompt", "cleaned"),
    [
        ("  A  Photo\n\tof ", "a photo of"),
        ("fish &amp;amp; chips", "fish & chips"),
        ("naÃ¯ve", "naïve"),
        ("it’s", "it's"),
        ("x\u00a0y", "x y"),
    ],
)
def test_cleaning_by_hand(prompt: str, cleaned: str) -> None:
    assert text.clean(prompt) == cleaned


def test_long_prompts_keep_their_end() -> None:
    """Without an end token the text head would read the start token, and every long prompt would embed alike."""
    long = text.tokens("a thermal image of a person " * 40)
    assert long.shape == (1, 77)
    assert (long[0, 0], long[0, -1]) == (49406, 49407)
    assert (long == 49407).sum() == 1
    whole = text.tokens(" ".join(["dog"] * 75))[0]
    assert whole[1:76].tolist() == [1929] * 75
    assert whole[76] == 49407


def test_a_shorter_context() -> None:
    ids = preprocess.TextPreprocessor(context=5)("a photo of a dog")
    assert ids.tolist() == [49406, 320, 1125, 539, 49407]


@pytest.mark.parametrize("prompts", [[], "", ["dog", " \n"], [3], [None], ["&nbsp;"]])
def test_wrong_prompts_get_one_line(prompts: list[str]) -> None:
    with pytest.raises(RecordingError) as caught:
        text.tokens(prompts)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_text_are_replaced_not_fatal() -> None:
    """A shell hands undecodable bytes over as lone surrogates; ftfy turns them into U+FFFD."""
    assert text.tokens("dog \udcff").shape == (1, 77)


def test_several_prompts_are_no_single_input() -> None:
    with pytest.raises(RecordingError, match="wanted one prompt, got 2 values"):
        preprocess.for_imagebind("text")(np.array(["dog", "cat"]))


@pytest.mark.parametrize("package", ["ftfy", "instant_clip_tokenizer"])
def test_missing_packages_name_the_remedy(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text._tokenizer.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependencyError, match=re.escape(extras.remedy("text"))):
        text.tokens("dog")
