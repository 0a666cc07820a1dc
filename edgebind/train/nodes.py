"""A recipe's node -> what turns its samples into vectors.

    tower         samples                       weights
    a student     physical units                fresh, or those of a tower.safetensors; trained unless frozen
    imagebind     physical units, or text       a checkpoint's; frozen or trained on
    bundle        physical units, or text       a bundle's encoder, through its backend; always frozen
    sentences     text                          a sentence encoder; always frozen, so each text is encoded once
    cached        names of items                vectors that `edgebind embed` wrote; always frozen

Each is a torch module, inputs -> unit rows, and a `prepare` that makes its inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from edgebind import archive, preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.manifest import WindowSpec
from edgebind.preprocess import Preprocessor, videos
from edgebind.signals import Floats
from edgebind.train.recipe import Node, Recipe, from_table

Encode = Callable[[tuple[str, ...]], Floats]
"""Texts -> (texts, dim) unit rows."""

SPECIAL = ("imagebind", "bundle", "sentences", "cached")
"""Towers that are no student's architecture."""


@dataclass(frozen=True)
class NodeTower:
    """What speaks for one node."""

    name: str
    node: Node
    module: nn.Module
    """Inputs -> (batch, dim) unit rows."""
    prepare: Callable[[Sequence[Any]], Tensor]
    """Samples in physical units, texts or names -> (batch, ...) inputs."""
    dim: int

    @property
    def is_trained(self) -> bool:
        """Whether any of its weights is learned."""
        return any(p.requires_grad for p in self.module.parameters())

    def train(self) -> None:
        """Into training mode; what does not learn has no dropout and gathers no statistics."""
        self.module.train(not self.node.frozen)


class Table(nn.Module):
    """Vectors by number: an anchor that never changes is computed once and then looked up."""

    def __init__(self, encode: Encode) -> None:
        super().__init__()
        self._encode = encode
        self._numbers: dict[str, int] = {}
        self._vectors = torch.zeros(0, 0)

    def numbers(self, texts: Sequence[str]) -> Tensor:
        """(texts,) int64; texts that are new are encoded first, all at once."""
        new = tuple(dict.fromkeys(text for text in texts if text not in self._numbers))
        if new:
            rows = torch.from_numpy(self._encode(new))
            self._vectors = torch.cat([self._vectors.reshape(-1, rows.shape[1]), rows])
            self._numbers.update({text: len(self._numbers) + at for at, text in enumerate(new)})
        return torch.tensor([self._numbers[text] for text in texts], dtype=torch.int64)

    def forward(self, numbers: Tensor) -> Tensor:
        """(batch,) -> (batch, dim)."""
        return self._vectors.to(numbers.device)[numbers]


class Backed(nn.Module):
    """A bundle's encoder as a module without gradients."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        from edgebind import bundle

        self.bundle = bundle.load(folder, pixels=False)

    def prepare(self, items: Sequence[Any]) -> Tensor:
        """Samples in physical units -> the encoder's inputs."""
        if any(videos.is_read(item) for item in items):
            return torch.from_numpy(videos.inputs(items, lambda item: self.bundle.prepare([item])[0]))
        return torch.from_numpy(self.bundle.prepare(items))

    def forward(self, inputs: Tensor) -> Tensor:
        backend = self.bundle.backend
        found = backend.infer({backend.input_name: inputs.cpu().numpy()})[backend.output_name]
        return torch.from_numpy(found).to(inputs.device)


def open_nodes(recipe: Recipe, encode: Encode | None = None) -> dict[str, NodeTower]:
    """All towers of a recipe, on the CPU; frozen ones first, because they say how long a vector is.

    Parameters
    ----------
    encode: stands in for the sentence encoder.

    Raises
    ------
    OptionError: an unknown tower, two lengths of vectors, or nothing to train.
    CheckpointError, BundleError: weights that cannot be used.
    """
    torch.manual_seed(recipe.seed)
    given = {name: _given(name, node, encode) for name, node in recipe.nodes.items() if _brings_dim(node)}
    dim = _common_dim(recipe, given)
    fresh = {name: _student(name, node, dim) for name, node in recipe.nodes.items() if name not in given}
    towers = {name: _with_head(given[name], dim) if name in given else fresh[name] for name in recipe.nodes}
    for tower in towers.values():
        _require_fitting_window(tower)
    if not any(tower.is_trained for tower in towers.values()):
        raise OptionError("every tower is frozen", wanted="a node that learns", got=", ".join(recipe.nodes))
    return towers


@torch.no_grad()
def _require_fitting_window(tower: NodeTower) -> None:
    """Refuse a window of motion that the tower cannot read; a bundle checks its own."""
    node = tower.node
    if node.modality != "imu" or not node.window or node.tower in ("bundle", "cached"):
        return
    spec: WindowSpec = from_table(WindowSpec, node.window, where="recipe", prefix=f"nodes.{tower.name}.window.")
    try:
        tower.module.eval()(torch.zeros(1, len(spec.channels), spec.length))
    except (RuntimeError, ValueError, ArithmeticError, IndexError) as error:
        got = f"{spec.length} samples: {spec.seconds:g} s at {spec.rate_hz:g} Hz"
        raise OptionError(f"node {tower.name!r} has a window that {node.tower!r} cannot read", got=got) from error


TWO_LENGTHS = "vectors of two lengths"


def _brings_dim(node: Node) -> bool:
    return node.tower in SPECIAL or bool(node.checkpoint)


def _common_dim(recipe: Recipe, given: dict[str, NodeTower]) -> int:
    # A fresh Linear takes any length, but for ImageBind's, whose towers keep the shapes of their checkpoint.
    fixed = [tower for tower in given.values() if tower.node.tower == "imagebind" or not tower.node.linear_head]
    dims = {tower.dim for tower in fixed} | ({recipe.dim} if recipe.dim else set())
    if len(dims) > 1:
        got = ", ".join(f"{name} {tower.dim}" for name, tower in given.items())
        raise OptionError(TWO_LENGTHS, got=got, remedy="give one node linear_head = true")
    if not dims:
        raise OptionError(
            "nothing says how long a vector is", wanted="dim in the recipe, or a node that brings weights"
        )
    return dims.pop()


def _given(name: str, node: Node, encode: Encode | None) -> NodeTower:
    """A tower that brings its weights."""
    if node.tower in ("bundle", "sentences", "cached") and (not node.frozen or node.linear_head):
        got = f"tower = {node.tower!r}, frozen = {node.frozen}, linear_head = {node.linear_head}"
        raise OptionError(f"node {name!r} cannot be trained", wanted="frozen = true and no head", got=got)
    if node.tower == "sentences":
        return _sentences(name, node, encode)
    tower = {"imagebind": _imagebind, "bundle": _bundle, "cached": _cached}.get(node.tower, _checkpoint)(name, node)
    tower.module.requires_grad_(not node.frozen)
    return tower


def _with_head(tower: NodeTower, dim: int) -> NodeTower:
    """With a fresh Linear at its end if the node asks for one: all that a frozen tower then learns."""
    if not tower.node.linear_head:
        return tower
    replace_linear(tower.module, dim)
    return replace(tower, dim=dim)


def replace_linear(module: nn.Module, dim: int) -> None:
    """Put a fresh Linear of `dim` outputs in the place of the last one in `module.head`, and let it learn."""
    *way, last = [
        name for name, part in module.named_modules() if name.startswith("head") and isinstance(part, nn.Linear)
    ][-1].split(".")
    parent = module.get_submodule(".".join(way))
    old = parent.get_submodule(last)
    assert isinstance(old, nn.Linear)
    setattr(parent, last, nn.Linear(old.in_features, dim, bias=old.bias is not None))


def _student(name: str, node: Node, dim: int) -> NodeTower:
    from edgebind.models import students

    if node.frozen:
        raise OptionError(f"node {name!r} is frozen and has no weights", wanted="a checkpoint")
    return NodeTower(name, node, students.build(node.tower, dim=dim), stacked(preprocess.build(node.preprocess)), dim)


def _checkpoint(name: str, node: Node) -> NodeTower:
    """A student that goes on from its file, and sees what it saw before unless the recipe says otherwise."""
    from edgebind.models import tower_file

    module, info, _ = tower_file.read(Path(node.checkpoint))
    if info.student != node.tower:
        raise OptionError("the checkpoint has another architecture", wanted=node.tower, got=info.student)
    return NodeTower(name, node, module, stacked(preprocess.build(node.preprocess or info.preprocess)), info.dim)


def _imagebind(name: str, node: Node) -> NodeTower:
    from edgebind.models import checkpoint
    from edgebind.models.imagebind import EMBEDDING

    module = checkpoint.load_towers(node.checkpoint, [node.modality])[node.modality]
    built = preprocess.build(node.preprocess) if node.preprocess else preprocess.for_imagebind(node.modality)
    return NodeTower(name, node, module, stacked(built), EMBEDDING)


def _bundle(name: str, node: Node) -> NodeTower:
    backed = Backed(Path(node.checkpoint))
    return NodeTower(name, node, backed, backed.prepare, backed.bundle.manifest.dim)


def _sentences(name: str, node: Node, encode: Encode | None) -> NodeTower:
    if encode is None:
        from edgebind.models.sentences import SentenceAnchor

        encode = SentenceAnchor(Path(node.checkpoint) if node.checkpoint else None).encode
    table = Table(encode)
    return NodeTower(name, node, table, table.numbers, int(encode(("a probe of its length",)).shape[1]))


def _cached(name: str, node: Node) -> NodeTower:
    vectors = read_cached(Path(node.checkpoint))
    table = Table(lambda names: np.stack([_find(vectors, item, node) for item in names]))
    return NodeTower(name, node, table, table.numbers, len(next(iter(vectors.values()))))


def _find(vectors: dict[str, Floats], item: str, node: Node) -> Floats:
    stem = Path(item).stem
    if stem not in vectors:
        raise OptionError("no vector is cached for an item", where=node.checkpoint, wanted=item)
    return vectors[stem]


def read_cached(path: Path) -> dict[str, Floats]:
    """An NPZ of `edgebind embed` -> stem of each source's name -> its mean vector, at unit length.

    Raises
    ------
    OptionError: missing, or not such a file.
    """
    try:
        arrays = archive.read(path, ("embeddings", "source"))
        rows, names = arrays["embeddings"].astype(np.float32), [Path(str(s)).stem for s in arrays["source"]]
    except (RecordingError, ValueError, KeyError) as error:
        raise OptionError(
            "no cached embeddings",
            where=path,
            wanted="an NPZ with embeddings and source",
            remedy="make it with edgebind embed",
        ) from error
    sums: dict[str, Floats] = {}
    for name, row in zip(names, rows, strict=True):
        sums[name] = sums.get(name, np.zeros_like(row)) + row
    return {name: total / np.linalg.norm(total) for name, total in sums.items()}


def stacked(built: Preprocessor) -> Callable[[Sequence[Any]], Tensor]:
    """One input at a time -> a batch of them; of videos as `edgebind.preprocess.videos.inputs` has them."""
    return lambda items: torch.from_numpy(videos.inputs(items, built))
