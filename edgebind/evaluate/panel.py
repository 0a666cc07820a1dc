"""The encoders that stand side by side, and whoever speaks for the words of their spaces."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from functools import cached_property, partial
from pathlib import Path

from edgebind import labels, prompts, starter
from edgebind.closing import Closing
from edgebind.errors import OptionError
from edgebind.evaluate import encoders
from edgebind.evaluate.dataset import Clip
from edgebind.evaluate.encoder import Encoder
from edgebind.evaluate.encoders import HERE, Where
from edgebind.evaluate.vectors import Store
from edgebind.signals import Floats


class Panel(Closing):
    """The models of an evaluation; each encoder is opened when it is first needed."""

    def __init__(self, models: Sequence[str], *, text: Path | None = None, where: Where = HERE) -> None:
        """Look at the models.

        Parameters
        ----------
        models: `PATH`, or `NAME=PATH` to say how reports call it.
        text: what embeds words, where no model does: a text bundle, a checkpoint, or a sentence encoder's folder.

        Raises
        ------
        OptionError: a path without a model, one without a name, or two of one name.
        BundleError, CheckpointError: a damaged one.
        """
        self.where, self._text = where, text
        self._stack = ExitStack()
        self._opened: dict[tuple[str, str], Encoder] = {}
        self._spoke: dict[Encoder, str | Path] = {}
        self.models = _named(models)
        self.modalities = {name: encoders.modalities_of(path) for name, path in self.models.items()}

    def of(self, modality: str) -> list[Encoder]:
        """The encoders of a modality, in the order of the models."""
        return [self._open(name, modality) for name, there in self.modalities.items() if modality in there]

    def together(self, first: str, second: str) -> list[tuple[Encoder, Encoder]]:
        """Encoders of two modalities that share a space. Words are embedded by the one encoder that speaks for the space."""
        if first == "text":
            return [(self.words_of(other), other) for other in self.of(second)]
        if second == "text":
            return [(other, self.words_of(other)) for other in self.of(first)]
        return [
            (one, other) for one in self.of(first) for other in self.of(second) if _space_of(one) == _space_of(other)
        ]

    def words_of(self, sensor: Encoder) -> Encoder:
        """What embeds words into the space of `sensor`.

        Raises
        ------
        OptionError: nothing does.
        MissingDependencyError: the starter's sentence encoder would, and is not installed.
        """
        candidates = [self._given] if self._given else self.of("text")
        if not candidates and (sensor.space == starter.SPACE or len(sensor.bank)):
            candidates = [self._sentences]
        for candidate in candidates:
            if _speaks_for(candidate, sensor):
                if candidate not in self._opened.values():
                    self._spoke[candidate] = self._text or "the packaged sentence encoder"
                return candidate
        raise OptionError(
            f"nothing embeds words into the space {sensor.space!r}",
            where=sensor.name,
            got=", ".join(f"{one.name} of the space {one.space!r}" for one in candidates) or "no text encoder",
            remedy="give the space's own text tower with --text",
        )

    @cached_property
    def _given(self) -> Encoder | None:
        if self._text is None:
            return None
        return self._stack.enter_context(encoders.open_encoder(self._text, "text", where=self.where))

    @cached_property
    def _sentences(self) -> Encoder:
        return self._stack.enter_context(encoders.open_sentences())

    def _open(self, name: str, modality: str) -> Encoder:
        key = (name, modality)
        if key not in self._opened:
            found = encoders.open_encoder(self.models[name], modality, name=name, where=self.where)
            self._opened[key] = self._stack.enter_context(found)
        return self._opened[key]

    @property
    def used(self) -> list[tuple[Encoder, str | Path]]:
        """Every encoder that was needed so far, and where it lies; last the one from outside that spoke for words."""
        found: list[tuple[Encoder, str | Path]] = [(one, self.models[name]) for (name, _), one in self._opened.items()]
        return [*found, *self._spoke.items()]

    def close(self) -> None:
        self._stack.close()


def class_vectors(panel: Panel, store: Store, sensor: Encoder, texts: Sequence[Sequence[str]]) -> Floats:
    """(classes, dim) unit rows in the space of `sensor`: of each class the mean of its prompts.

    Where the encoder brings all of these prompts with it, as a bundle of the starter does, no text encoder is needed.
    """
    flat = [text for prompts_of_class in texts for text in prompts_of_class]
    known = {prompt: at for at, prompt in enumerate(sensor.bank.prompts)}
    if all(text in known for text in flat):
        rows = sensor.bank.embeddings[[known[text] for text in flat]]
    else:
        unique = list(dict.fromkeys(flat))
        clips = [Clip(text, partial(str, text)) for text in unique]
        places = {text: at for at, text in enumerate(unique)}
        found = store.embed(panel.words_of(sensor), clips, f"{len(unique)} prompts").vectors
        rows = found[[places[text] for text in flat]]
    return labels.class_vectors(rows, texts)


def _space_of(encoder: Encoder) -> tuple[str, int]:
    return encoder.space, encoder.dim


def _speaks_for(words: Encoder, sensor: Encoder) -> bool:
    """Whether they share a space, by its name or because they put the sensor's own prompts in the same places."""
    if _space_of(words) == _space_of(sensor):
        return True
    known = sensor.bank
    return bool(len(known)) and prompts.agrees(words.run(known.prompts), known.embeddings)


def _named(models: Sequence[str]) -> dict[str, Path]:
    """Name -> path, of `PATH` and `NAME=PATH`."""
    found: dict[str, Path] = {}
    for model in models:
        given, equals, rest = model.partition("=")
        is_named = bool(equals) and not Path(model).exists()
        path = Path(rest if is_named else model)
        name = given if is_named else encoders.name_of(path)
        if not name.strip():
            raise OptionError("a model without a name", wanted="NAME=MODEL or MODEL", got=repr(model))
        if name in found:
            raise OptionError(
                f"two models are called {name!r}", got=f"{found[name]} and {path}", remedy=f"say OTHER_NAME={path}"
            )
        found[name] = path
    return found
