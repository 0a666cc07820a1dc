"""What a data set is to an evaluation, whatever its folders look like.

Clip             one item as one sensor saw it; loaded when it is needed
Classification   clips with classes and their prompts      zero-shot, few-shot
Pairing          clips of two modalities that belong together    retrieval, alignment
Published        what the literature reports for it, to stand beside our number
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Clip:
    """One item as one sensor saw it."""

    name: str
    """Path below the data set's root, for reports and for the cache of embeddings."""
    load: Callable[[], NDArray[Any] | str]
    """Physical units, as the modality's preprocessor takes them: see `edgebind.preprocess`. Text is a string.

    Raises RecordingError when the file is damaged: an evaluation leaves the clip out and says so."""


@dataclass(frozen=True, slots=True)
class Published:
    """Numbers of the literature, in percent."""

    metric: str
    """`top1`, `map`, `recall@1`, ...; `recall@1 audio+vision` is of the sum of two modalities' vectors. Recall is from left to
    right: captions are on the left."""
    random: float | None = None
    text_paired: float | None = None
    """The best model that was trained on pairs of this modality with text."""
    imagebind: float | None = None
    supervised: float | None = None
    """The best model that was trained on this data set."""
    source: str = "Girdhar et al., ImageBind, CVPR 2023"


@dataclass(frozen=True)
class Classification:
    """Clips of one modality and the classes they belong to."""

    name: str
    modality: str
    clips: Sequence[Clip]
    targets: tuple[tuple[int, ...], ...]
    """For each clip the indices of its classes: one, or several where the data set has several labels a clip."""
    classes: tuple[str, ...]
    prompts: tuple[tuple[str, ...], ...]
    """For each class the prompts whose mean vector stands for it."""
    metric: str = "top1"
    """`top1`, or `map` where a clip may have several classes: what the data set's own protocol reports."""
    published: tuple[Published, ...] = ()
    groups: tuple[str, ...] = ()
    """For each clip the person, run, date or fold it comes from: few-shot draws and tests from different groups. Empty: none."""
    training: tuple[int, ...] = ()
    """Clips that the data set gives for learning (few-shot draws from them alone); the others are judged. Empty: judged all."""


@dataclass(frozen=True)
class Pairing:
    """Clips of two modalities; `left[i]` belongs to `right[j]` where `(i, j)` is in `pairs`."""

    name: str
    left_modality: str
    left: Sequence[Clip]
    right_modality: str
    right: Sequence[Clip]
    pairs: tuple[tuple[int, int], ...]
    """A clip with five captions stands in five pairs."""
    published: tuple[Published, ...] = ()


@dataclass(frozen=True)
class Dataset:
    """One data set in its published layout, opened at a root folder."""

    name: str
    classifications: tuple[Classification, ...] = ()
    pairings: tuple[Pairing, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    """What a reader of the report should know: split, licence, protocol."""
