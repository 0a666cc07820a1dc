"""Prompts -> token ids of CLIP's byte-pair encoding, as ImageBind's text tower reads them."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import extras
from edgebind.errors import MissingDependencyError, RecordingError
from edgebind.preprocess import config

Tokens = NDArray[np.int64]

CONTEXT = 77
"""Ids a prompt has, start and end included."""

START, END = 49406, 49407


@dataclass(frozen=True)
class TextPreprocessor:
    """One prompt -> int64 (context,): 49406, the prompt's ids, 49407, zeros.

    A prompt that is too long loses its tail and keeps its end token: the text head reads the token of the largest id,
    so without one all long prompts would embed alike (in ImageBind's own tokenizer they do).
    """

    kind: str = field(default="text", init=False)
    context: int = CONTEXT

    def __post_init__(self) -> None:
        fits = config.is_size(self.context) and self.context >= 3
        config.demand(fits, "context", "a whole number >= 3", self.context)

    def __call__(self, samples: str | NDArray[Any]) -> Tokens:
        """A prompt, as a str or an array that holds one str -> int64 (context,).

        Raises
        ------
        RecordingError: no text, or nothing but white space.
        MissingDependencyError: ftfy or instant-clip-tokenizer is not installed.
        """
        prompts = np.asarray(samples).ravel().tolist()
        if len(prompts) != 1:
            raise RecordingError("text input has another shape", wanted="one prompt", got=f"{len(prompts)} values")
        row: Tokens = tokens(prompts, self.context)[0]
        return row

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)


def tokens(prompts: str | Sequence[str], context: int = CONTEXT) -> Tokens:
    """Ids of `prompts`, int64 (n, context); a single str gives (1, context).

    Raises
    ------
    RecordingError: a prompt is no str or holds nothing but white space, or there are none.
    MissingDependencyError: ftfy or instant-clip-tokenizer is not installed.
    """
    listed = [prompts] if isinstance(prompts, str) else list(prompts)
    if not listed:
        raise RecordingError("there are no prompts", wanted="at least one")
    cleaned = [clean(prompt) for prompt in listed]
    return np.asarray(_tokenizer().tokenize_batch(cleaned, context_length=context), dtype=np.int64).reshape(-1, context)


def clean(prompt: str) -> str:
    """`prompt` as CLIP cleans it: mojibake repaired, HTML entities resolved (twice), white space single, lower case."""
    if not isinstance(prompt, str):
        raise RecordingError("prompt is no text", wanted="str", got=type(prompt).__name__)
    plain = html.unescape(html.unescape(_fix_text()(prompt)))
    cleaned = re.sub(r"\s+", " ", plain).strip().lower()
    if not cleaned:
        raise RecordingError("prompt is empty", wanted="words", got=repr(prompt[:20]))
    return cleaned


def _missing(package: str, error: ImportError) -> MissingDependencyError:
    remedy = f"{extras.remedy('text')} (x86-64 and Python 3.10 to 3.12, for which the tokenizer has wheels)"
    line = MissingDependencyError(f"{package} is not installed", remedy=remedy)
    line.__cause__ = error
    return line


def _fix_text() -> Callable[[str], str]:
    try:
        from ftfy import fix_text
    except ImportError as error:
        raise _missing("ftfy", error) from error
    return fix_text


@lru_cache(maxsize=1)
def _tokenizer() -> Any:
    """CLIP's 49,408 tokens; made once, since that takes 60 ms."""
    try:
        from instant_clip_tokenizer import Tokenizer  # type: ignore[import-untyped, unused-ignore]
    except ImportError as error:
        raise _missing("instant-clip-tokenizer", error) from error
    return Tokenizer()
