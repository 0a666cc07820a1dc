"""Where an encoder comes from: a bundle in FP32, a tower of ImageBind, or one trained by `edgebind bind`.

All three end as the same thing: a simplified FP32 graph with the manifest and the labels it goes with.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgebind import bundle as bundles
from edgebind import extras, labels, preprocess
from edgebind import modality as modalities
from edgebind.errors import BundleError, CheckpointError, MissingDependencyError, OptionError
from edgebind.export import parity, simplify
from edgebind.labels import LabelBank
from edgebind.manifest import Manifest, WindowSpec

if TYPE_CHECKING:
    from torch import nn

    from edgebind.models.imagebind import Tower

Progress = Callable[[str], None]

IMAGEBIND = "imagebind"
GRAPH = bundles.ENCODER


@dataclass(frozen=True, slots=True)
class Original:
    """An FP32 encoder, ready for any precision."""

    graph: Path
    description: Manifest
    """Precision fp32; its files and gate are left empty."""
    bank: LabelBank


def from_bundle(folder: Path) -> Original:
    """The encoder of an FP32 bundle.

    Raises
    ------
    BundleError: no bundle, an altered one, or one that is not FP32.
    """
    description = bundles.verify(folder)
    if description.precision != "fp32":
        raise BundleError("only FP32 can be converted", where=folder, wanted="fp32", got=description.precision)
    bank = LabelBank.empty(description.dim)
    if bundles.LABELS in description.files:
        bank = labels.read(folder / bundles.LABELS, description.dim, description.space)
    return Original(folder / GRAPH, replace(description, files={}, gate={}), bank)


def from_module(
    module: nn.Module, example: np.ndarray, description: Manifest, bank: LabelBank, scratch: Path, progress: Progress
) -> Original:
    """Export a torch module that maps (batch, ...) to unit rows.

    Parameters
    ----------
    example: two or more inputs; parity is checked on them.
    scratch: folder for the graphs.

    Raises
    ------
    MissingDependencyError, ExportError, ParityError: see `edgebind.export.torch_onnx` and `edgebind.export.parity`.
    """
    from edgebind.export.torch_onnx import to_onnx

    raw, graph = scratch / "exported.onnx", scratch / GRAPH
    progress("torch -> ONNX")
    expected = to_onnx(module, example, raw)
    progress("simplify")
    simplify.simplify(raw, graph)
    raw.unlink(missing_ok=True)
    progress("parity against torch")
    difference = parity.check(expected, graph, example)
    provenance = {**description.provenance, "parity": {"max_abs": difference, "against": "torch, float32, CPU"}}
    return Original(graph, replace(description, provenance=provenance), bank)


def modalities_of(path: Path) -> tuple[str, ...]:
    """Whose towers a checkpoint holds, complete or not.

    Raises
    ------
    MissingDependencyError: torch is not installed.
    CheckpointError: the file is missing, damaged or unsafe, or has no tower in it.
    """
    if _is_tower_file(path):
        from edgebind.models import tower_file

        return (tower_file.read(path)[1].modality,)
    from edgebind.models import checkpoint

    return tuple(checkpoint.present(path))


def window_of(path: Path, modality: str) -> WindowSpec:
    """The window that a tower of a checkpoint reads, without building an encoder of ImageBind.

    Raises
    ------
    OptionError: a tower of `edgebind bind` of another modality.
    MissingDependencyError, CheckpointError: see `modalities_of`.
    """
    if not _is_tower_file(path):
        return WindowSpec.of_imagebind(modality)
    from edgebind.models import tower_file

    _, info, _ = tower_file.read(path)
    _require_modality(path, [modality], info.modality)
    return info.window


def from_checkpoint(
    path: Path, wanted: Sequence[str], scratch: Path, progress: Callable[[str, str], None]
) -> Iterator[Original]:
    """Every wanted tower of a checkpoint, one after the other, each in a folder of its own below `scratch`.

    Parameters
    ----------
    path: ImageBind's `.pth` or `.safetensors`, or the `tower.safetensors` of `edgebind bind`.
    wanted: names of modalities; none means all that the file has.
    progress: called with the modality and the stage.

    Raises
    ------
    MissingDependencyError: torch is not installed.
    CheckpointError: the file is missing, damaged, unsafe, or lacks a wanted tower.
    """
    if _is_tower_file(path):
        yield _from_tower_file(path, wanted, scratch, progress)
    else:
        yield from _from_imagebind(path, wanted, scratch, progress)


def _is_tower_file(path: Path) -> bool:
    """Whether the checkpoint at `path` was made by `edgebind bind`."""
    _require_torch()
    from edgebind.models import tower_file

    if not path.is_file():
        raise CheckpointError("no such checkpoint", where=path)
    return path.suffix == ".safetensors" and tower_file.is_tower_file(path)


def _require_torch() -> None:
    try:
        import onnxscript  # noqa: F401
        import torch  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"a checkpoint needs {error.name}, which is not installed", remedy=extras.remedy("train")
        ) from error


def _from_tower_file(
    path: Path, wanted: Sequence[str], scratch: Path, progress: Callable[[str, str], None]
) -> Original:
    from edgebind.models import tower_file

    module, info, bank = tower_file.read(path)
    _require_modality(path, wanted, info.modality)
    description = Manifest(
        space=info.space,
        modality=info.modality,
        dim=info.dim,
        precision="fp32",
        logit_scale=info.logit_scale,
        window=info.window,
        preprocess=info.preprocess,
        labels=bank.prompts,
        provenance=dict(info.provenance),
    )
    shape = _input_shape(description)
    folder = _folder(scratch, info.modality)
    return from_module(
        module,
        parity.example(shape, "float32"),
        description,
        bank,
        folder,
        lambda stage: progress(info.modality, stage),
    )


def _require_modality(path: Path, wanted: Sequence[str], held: str) -> None:
    if wanted and set(wanted) != {held}:
        raise OptionError("the checkpoint holds another modality", where=path, wanted=" ".join(wanted), got=held)


def _input_shape(description: Manifest) -> tuple[int, ...]:
    """Shape of one input: that of a window, or of a frame, behind the preprocessing."""
    prepare = preprocess.build(description.preprocess)
    if modalities.get(description.modality).is_camera:
        size = int(description.preprocess["size"])
        colours = (3,) if description.modality == "vision" else ()
        return prepare(np.full((size, size, *colours), 128, np.uint8)).shape
    window = np.zeros((len(description.window.channels), description.window.length), np.float32)
    return prepare(window).shape


def _from_imagebind(
    path: Path, wanted: Sequence[str], scratch: Path, progress: Callable[[str, str], None]
) -> Iterator[Original]:
    from edgebind.models import checkpoint

    # Every tower that is there at all: one that does not fit is said so, not passed over.
    for name in wanted or checkpoint.present(path):
        folder = _folder(scratch, name)
        yield _from_tower(path, name, folder, lambda stage, name=name: progress(name, stage))  # type: ignore[misc]
        shutil.rmtree(folder)  # a tower can be gigabytes, and six of them would stand side by side


def _from_tower(path: Path, name: str, scratch: Path, progress: Progress) -> Original:
    """In a function of its own, so that the weights leave the memory before the graph is calibrated."""
    from edgebind.models import checkpoint

    progress("load checkpoint")
    tower = checkpoint.load_towers(path, [name])[name]
    description = describe_imagebind(tower, path)
    example = parity.example_of(tower.modality)
    return from_module(tower, example, description, LabelBank.empty(description.dim), scratch, progress)


def describe_imagebind(tower: Tower, path: Path) -> Manifest:
    """Manifest of a tower of ImageBind."""
    from edgebind.models.checkpoint import LICENCE_NOTE
    from edgebind.models.imagebind import EMBEDDING, logit_scale

    return Manifest(
        space=IMAGEBIND,
        modality=tower.modality,
        dim=EMBEDDING,
        precision="fp32",
        logit_scale=logit_scale(tower),
        window=WindowSpec.of_imagebind(tower.modality),
        preprocess=dict[str, Any](preprocess.for_imagebind(tower.modality).to_dict()),
        provenance={"checkpoint": path.name, "licence": LICENCE_NOTE},
    )


def _folder(scratch: Path, modality: str) -> Path:
    folder = scratch / modality
    folder.mkdir()
    return folder
