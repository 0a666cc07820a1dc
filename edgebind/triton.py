"""What runs inside Triton Inference Server's Python backend, before the encoder and after it.

`edgebind export --triton` writes a `model.py` of a few lines for each, which names its folder; everything else is here, so that
an update of edgebind reaches the server by pip. Needs NumPy, Pillow and edgebind in the Python that Triton runs.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind import bundle, labels, manifest, preprocess
from edgebind.errors import BundleError, EdgebindError, RecordingError
from edgebind.preprocess import BatchPreprocessor, PixelPreprocessor, Preprocessor
from edgebind.signals import Floats

WINDOW, PREPARED, EMBEDDING, PROBABILITIES = "WINDOW", "PREPARED", "EMBEDDING", "PROBABILITIES"
"""Names of the tensors that go in and out."""

Array = NDArray[Any]


def prepare(preprocessor: Preprocessor, windows: Array) -> Array:
    """Windows in physical units -> the encoder's input, (batch, ...) -> (batch, ...).

    Raises
    ------
    RecordingError: a window of the wrong shape, or values that are no numbers.
    """
    if preprocessor.kind == "text":
        windows = np.array([_as_text(prompt) for prompt in windows.reshape(-1)], dtype=object)
    elif isinstance(preprocessor, BatchPreprocessor):
        return preprocessor.batch(windows)
    return np.stack([preprocessor(window) for window in windows])


def prepare_pixels(preprocessor: PixelPreprocessor, windows: Array) -> Array:
    """Pictures -> 8-bit pixels for an engine that does the rest, (batch, ...) -> uint8 (batch, height, width, channels).

    Raises
    ------
    RecordingError: as from `prepare`.
    """
    return np.stack([preprocessor.pixels(window) for window in windows])


def _as_text(prompt: object) -> str:
    """Triton hands strings over as bytes."""
    try:
        return prompt.decode("utf-8") if isinstance(prompt, bytes) else str(prompt)
    except UnicodeDecodeError as error:
        raise RecordingError("a prompt is no text", wanted="UTF-8") from error


class _Model(ABC):
    """One input tensor -> one output tensor for each request; what is wrong with a request fails that request alone."""

    folder: Path
    """The version folder that `model.py` lies in."""
    takes: str
    gives: str

    def initialize(self, args: dict[str, str]) -> None:
        self._backend: Any = importlib.import_module("triton_python_backend_utils")
        self._compute = self.load()

    @abstractmethod
    def load(self) -> Callable[[Array], Array]:
        """What is done with the tensor."""

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        return [self._answer(request) for request in requests]

    def _answer(self, request: Any) -> Any:
        given = self._backend.get_input_tensor_by_name(request, self.takes).as_numpy()
        try:
            tensor = self._backend.Tensor(self.gives, np.ascontiguousarray(self._compute(given)))
        except EdgebindError as error:
            return self._backend.InferenceResponse(output_tensors=[], error=self._backend.TritonError(str(error)))
        return self._backend.InferenceResponse(output_tensors=[tensor])


class Prepare(_Model):
    """Windows in physical units -> the encoder's input, with the constants of the manifest beside it."""

    takes, gives = WINDOW, PREPARED

    def load(self) -> Callable[[Array], Array]:
        preprocessor = preprocess.build(manifest.read(self.folder / manifest.FILE).preprocess)
        return lambda windows: prepare(preprocessor, windows)


class PreparePixels(_Model):
    """Pictures -> the 8-bit pixels that an engine takes which was built with the end of the preprocessing in it."""

    takes, gives = WINDOW, PREPARED

    def load(self) -> Callable[[Array], Array]:
        preprocessor = preprocess.build(manifest.read(self.folder / manifest.FILE).preprocess)
        if not isinstance(preprocessor, PixelPreprocessor):
            raise BundleError("no pixels come before this input", where=self.folder, got=preprocessor.kind)
        return lambda windows: prepare_pixels(preprocessor, windows)


class Name(_Model):
    """Unit vectors -> the probability of each prompt of the label bank beside it."""

    takes, gives = EMBEDDING, PROBABILITIES

    def load(self) -> Callable[[Array], Array]:
        of = manifest.read(self.folder / manifest.FILE)
        bank = labels.read(self.folder / bundle.LABELS, of.dim, of.space)

        def probabilities(vectors: Floats) -> Floats:
            return bank.probabilities(vectors, of.logit_scale)

        return probabilities
