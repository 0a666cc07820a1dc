"""What a data set is to an evaluation, whatever its folders look like.

Clip             one item as one sensor saw it; loaded when it is needed
Classification   clips with classes and their prompts      zero-shot, few-shot
Pairing          clips of two modalities that belong together    retrieval, alignment
Recordings       long signals with a label for each sample; an encoder's window makes a classification of them
Published        what the literature reports for it, to stand beside our number

Classifications (or pairings) of one data set whose clips have the same names in two modalities can be fused: their vectors
are added. Numbers published for that carry the modalities in their metric: `recall@1 audio+vision`.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import RecordingError
from edgebind.manifest import WindowSpec
from edgebind.preprocess.videos import Video
from edgebind.signals import Chunk, Floats, Times, Window
from edgebind.window import Windower

Sample = NDArray[Any] | str | Chunk | Window | Video
"""What one clip holds, in physical units.

an array    a frame; a sound (channels, n) at 16 kHz; an IMU (6, n) on the grid of `edgebind.modality`, which is 400 Hz
Chunk       a signal at any rate, with its times: each encoder cuts its own windows, whose mean vector stands for the clip
Video       a stretch of a file, not yet read: the evaluation says which frames stand for it
Window      a signal that has been cut by the encoder's own window already
str         text
"""


SENTENCES = ("{}",)
"""The template of words that are whole sentences already."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One item as one sensor saw it."""

    name: str
    """Path below the data set's root, for reports and for the cache of embeddings."""
    load: Callable[[], Sample]
    """Physical units, as the modality's preprocessor takes them: see `edgebind.preprocess`. Text is a string.

    Raises RecordingError when the file is damaged: an evaluation leaves the clip out and says so."""
    stamp: str = ""
    """Another one where another thing would be loaded: vectors that were kept are of this one."""


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
    words: tuple[tuple[str, ...], ...]
    """For each class what it is called: names to be put into templates, or whole sentences."""
    templates: tuple[str, ...] = SENTENCES
    """Sentences with `{}` in the place of a name."""
    by_nearest: bool = False
    """Whether a class is as near as the nearest of its words; otherwise the mean of all its prompts stands for it."""
    metric: str = "top1"
    """`top1`, or `map` where a clip may have several classes: what the data set's own protocol reports."""
    published: tuple[Published, ...] = ()
    groups: tuple[str, ...] = ()
    """For each clip the person, run, date or fold it comes from: few-shot draws and tests from different groups. Empty: none."""
    training: tuple[int, ...] = ()
    """Clips that the data set gives for learning: few-shot draws from them alone, and whoever asks, only the others are judged."""

    @property
    def prompts(self) -> tuple[tuple[str, ...], ...]:
        """For each class all that is said of it, word by word in every template."""
        return tuple(tuple(text for word in mine for text in self.said(word)) for mine in self.words)

    def said(self, word: str) -> tuple[str, ...]:
        """A word in every template."""
        return tuple(template.replace("{}", word) for template in self.templates)

    @property
    def several(self) -> bool:
        """Whether a clip may have several classes."""
        return self.metric == "map"

    @property
    def judged(self) -> list[int]:
        """Rows of the clips that are not there to learn from."""
        learned = set(self.training)
        return [row for row in range(len(self.clips)) if row not in learned]

    def only(self, rows: Sequence[int]) -> Classification:
        """The clips `rows`, in that order."""
        places = {row: at for at, row in enumerate(rows)}
        return replace(
            self,
            clips=[self.clips[row] for row in rows],
            targets=tuple(self.targets[row] for row in rows),
            groups=tuple(self.groups[row] for row in rows) if self.groups else (),
            training=tuple(sorted(places[row] for row in self.training if row in places)),
        )


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

    def only(self, left: Sequence[int], right: Sequence[int]) -> Pairing:
        """The clips `left` and `right`, in that order, and the pairs among them."""
        places, others = ({row: at for at, row in enumerate(rows)} for rows in (left, right))
        return replace(
            self,
            left=[self.left[row] for row in left],
            right=[self.right[row] for row in right],
            pairs=tuple((places[a], others[b]) for a, b in self.pairs if a in places and b in others),
        )


@dataclass(frozen=True)
class Labelled:
    """One recording as it was made: its own times, and the label of each sample."""

    name: str
    """Path below the data set's root."""
    group: str
    """Person or run; a group is either learned from or judged, never both."""
    carrier: str
    """What bore the sensor: phone, watch, robot."""
    times: Times
    """(n,) nanoseconds."""
    samples: Floats
    """(n, channels) in SI units; of an IMU the accelerometer first."""
    labels: NDArray[np.str_]
    """(n,) names as the data has them; empty where nobody said."""

    def windows(self, spec: WindowSpec) -> Iterator[tuple[Window, str]]:
        """The windows that the runtime would cut, each with the label at its centre."""
        windower = Windower(spec)
        for part in (windower.push(Chunk(self.times, self.samples, origin=self.name)), windower.finish()):
            for window in part:
                yield window, self.label_at((window.start_ns + window.stop_ns) // 2)

    def label_at(self, time_ns: int) -> str:
        """The label of the sample nearest to a time."""
        at = int(np.clip(np.searchsorted(self.times, time_ns), 1, len(self.times) - 1))
        earlier = time_ns - self.times[at - 1] < self.times[at] - time_ns
        return str(self.labels[at - 1 if earlier else at])


@dataclass(frozen=True)
class Recordings:
    """Long signals with a label for each sample: what an item is depends on the window of the encoder that is judged."""

    name: str
    modality: str
    recordings: Sequence[Labelled]
    classes: tuple[str, ...]
    """Labels that are asked about; windows of all others are left out."""
    prompts: tuple[tuple[str, ...], ...]
    published: tuple[Published, ...] = ()

    def classification(self, spec: WindowSpec) -> Classification:
        """Every whole window of `spec` whose centre carries one of the classes.

        Raises
        ------
        RecordingError: there is none.
        """
        clips, targets, groups = [], [], []
        for recording in self.recordings:
            for window, label in recording.windows(spec):
                if label in self.classes:
                    clips.append(_window_clip(window))
                    targets.append((self.classes.index(label),))
                    groups.append(recording.group)
        if not clips:
            raise RecordingError(f"no whole window of {spec.seconds:g} s shows any of the classes", where=self.name)
        return Classification(
            self.name,
            self.modality,
            clips,
            tuple(targets),
            self.classes,
            self.prompts,
            published=self.published,
            groups=tuple(groups),
        )


def _window_clip(window: Window) -> Clip:
    return Clip(f"{window.origin}@{window.start_ns}", lambda: window, stamp_of(window.samples.tobytes()))


def stamp_of(content: bytes) -> str:
    """A clip's stamp, where what it loads is in memory already."""
    return f"{zlib.crc32(content):08x}"


@dataclass(frozen=True)
class Dataset:
    """One data set in its published layout, opened at a root folder."""

    name: str
    classifications: tuple[Classification, ...] = ()
    pairings: tuple[Pairing, ...] = ()
    notes: dict[str, str] = field(default_factory=dict)
    """What a reader of the report should know: split, licence, protocol."""
    recordings: tuple[Recordings, ...] = ()
