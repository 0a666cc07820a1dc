"""Opening what makes vectors: FP32 and INT8, teacher and student, sensor and words, all with one face.

    bundles/imu-int8/        a bundle, in any precision, through its backend
    tower.safetensors        a tower made by `edgebind bind` or `edgebind distil`, in torch
    imagebind_huge.pth       any tower of an ImageBind checkpoint, in torch
    all-MiniLM-L6-v2/        a sentence encoder; the packaged one where no folder is given

What goes in is physical units, what comes out are unit rows: each encoder cuts, resamples and preprocesses for itself.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgebind import __version__, extras, manifest, preprocess, starter
from edgebind import bundle as bundles
from edgebind.errors import MissingDependencyError, OptionError
from edgebind.evaluate.encoder import Encoder
from edgebind.manifest import WindowSpec
from edgebind.preprocess import Preprocessor, videos
from edgebind.preprocess.videos import PUBLISHED, Sampling
from edgebind.signals import Floats

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True, slots=True)
class Where:
    """Where encoders run, and what they see of videos."""

    backend: str = "auto"
    """Of bundles."""
    threads: int | None = None
    """Upper bound, of bundles."""
    device: str = "cpu"
    """Of torch."""
    video: Sampling = PUBLISHED
    """Which frames stand for a video."""


HERE = Where()


def modalities_of(path: Path) -> tuple[str, ...]:
    """What the model at `path` can embed; no weights are loaded.

    Raises
    ------
    OptionError: there is nothing, or nothing that could be a model.
    BundleError, CheckpointError: it is one, and damaged.
    MissingDependencyError: it needs torch, which is not installed.
    """
    if (path / manifest.FILE).is_file():
        return (manifest.read(path / manifest.FILE).modality,)
    if (path / "modules.json").is_file():
        return ("text",)
    if not path.is_file():
        raise OptionError(
            "no model here",
            where=path,
            wanted="a bundle's folder, a tower.safetensors, or imagebind_huge.pth",
            got="a folder" if path.is_dir() else "nothing",
        )
    _require_torch(path)
    from edgebind.models import checkpoint, tower_file

    return (tower_file.read(path)[1].modality,) if tower_file.is_tower_file(path) else tuple(checkpoint.available(path))


def open_encoder(path: Path, modality: str | None = None, *, name: str = "", where: Where = HERE) -> Encoder:
    """Open the encoder of `modality` in the model at `path`; see the top of this file for what that can be.

    Parameters
    ----------
    modality: may be left out where the model has only one.
    name: how reports call it; by default by its folder or file.

    Raises
    ------
    OptionError: no model, none of that modality, or several to choose from.
    BundleError, CheckpointError: it is damaged.
    MissingDependencyError: what runs it is not installed.
    """
    there = modalities_of(path)
    if modality is None and len(there) == 1:
        modality = there[0]
    if modality not in there:
        got = modality or "several"
        raise OptionError("the model embeds something else", where=path, wanted=" or ".join(there), got=got)
    called = name or name_of(path)
    if (path / manifest.FILE).is_file():
        return _from_bundle(path, called, where)
    if path.is_dir():
        return open_sentences(path, name=called)
    from edgebind.models import tower_file

    return (
        _from_tower_file(path, called, where)
        if tower_file.is_tower_file(path)
        else _from_checkpoint(path, modality, called, where)
    )


def open_sentences(folder: Path | None = None, *, name: str = "") -> Encoder:
    """A sentence encoder, by default the starter's anchor.

    Raises
    ------
    MissingDependencyError: sentence-transformers, or the packaged model, is not installed.
    OptionError: no such model in `folder`.
    """
    from edgebind.models.sentences import SentenceAnchor

    anchor = SentenceAnchor(folder)
    dim = int(anchor.encode(["a probe of its length"]).shape[1])
    return Encoder(
        name=name or anchor.name,
        space=starter.SPACE,
        modality="text",
        dim=dim,
        precision="fp32",
        runtime="torch",
        logit_scale=1.0,
        window=WindowSpec.of_imagebind("text"),
        digest=_digest("sentences", *_folder_digests(anchor.folder)),
        run=anchor.encode,
    )


def name_of(path: Path) -> str:
    """How a model is called unless somebody says otherwise: by its folder, a tower by its run, another file by its stem."""
    absolute = path.resolve()
    return absolute.parent.name if absolute.stem.startswith("tower") and absolute.is_file() else absolute.stem


def _require_torch(path: Path) -> None:
    try:
        import safetensors  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"a checkpoint needs {error.name}, which is not installed", where=path, remedy=extras.remedy("train")
        ) from error


def _from_bundle(folder: Path, name: str, where: Where) -> Encoder:
    opened = bundles.load(folder, backend=where.backend, threads=where.threads)
    of = opened.manifest
    backend = opened.backend
    return Encoder(
        name=name,
        space=of.space,
        modality=of.modality,
        dim=of.dim,
        precision=of.precision,
        runtime=backend.name,
        logit_scale=of.logit_scale,
        window=of.window,
        digest=_digest(
            of.to_json(), backend.name, Path(str(getattr(backend, "graph", ""))).name, *_seen(of.modality, where)
        ),
        video=where.video,
        run=opened.embed,
        bank=opened.labels,
        shut=opened.close,
    )


def _from_tower_file(path: Path, name: str, where: Where) -> Encoder:
    from edgebind.models import tower_file

    module, info, bank = tower_file.read(path)
    return Encoder(
        name=name,
        space=info.space,
        modality=info.modality,
        dim=info.dim,
        precision="fp32",
        runtime="torch",
        logit_scale=info.logit_scale,
        window=info.window,
        digest=_digest(bundles.sha256(path), where.device, *_seen(info.modality, where)),
        video=where.video,
        run=_in_torch(module, preprocess.build(info.preprocess), where.device),
        bank=bank,
    )


def _from_checkpoint(path: Path, modality: str, name: str, where: Where) -> Encoder:
    from edgebind.models import checkpoint
    from edgebind.models.clips import takes_together
    from edgebind.models.imagebind import EMBEDDING, logit_scale

    tower = checkpoint.load_towers(path, [modality])[modality]
    prepare = preprocess.for_imagebind(modality)
    return Encoder(
        name=name,
        space="imagebind",
        modality=modality,
        dim=EMBEDDING,
        precision="fp32",
        runtime="torch",
        logit_scale=logit_scale(tower),
        window=WindowSpec.of_imagebind(modality),
        digest=_digest(*_weight_digests(tower), json.dumps(prepare.to_dict()), where.device, *_seen(modality, where)),
        video=where.video,
        takes_together=takes_together(tower),
        run=_in_torch(tower, prepare, where.device),
    )


def _in_torch(module: nn.Module, prepare: Preprocessor, device: str) -> Callable[[Sequence[Any]], Floats]:
    import torch

    from edgebind.models import clips

    try:
        module.to(device).eval()
    except (RuntimeError, AssertionError) as error:  # torch raises either for a device that is not there
        reason = str(error).splitlines()[0]
        raise OptionError(f"torch cannot compute there: {reason}", where="--device", got=repr(device)) from error

    @torch.inference_mode()
    def run(samples: Sequence[Any]) -> Floats:
        inputs = torch.from_numpy(videos.inputs(samples, prepare))
        rows: Floats = clips.embed(module, inputs.to(device)).float().cpu().numpy()
        return rows

    return run


# --- telling one encoder from another ---------------------------------------------------------------------------------


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join([__version__, *parts]).encode()).hexdigest()


def _seen(modality: str, where: Where) -> tuple[str, ...]:
    """What else changes vectors of videos."""
    return (repr(where.video),) if modality == "vision" else ()


def _weight_digests(module: nn.Module) -> Iterator[str]:
    for name, value in module.state_dict().items():
        yield f"{name} {hashlib.sha256(value.contiguous().numpy().tobytes()).hexdigest()}"


def _folder_digests(folder: Path) -> Iterator[str]:
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        yield f"{path.relative_to(folder)} {bundles.sha256(path)}"
