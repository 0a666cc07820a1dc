"""ImageBind-huge's six towers, one file, to be read from top to bottom.

    input -> preprocessor -> tokens -> trunk -> one token -> head -> vector -> postprocessor -> unit vector x scale
             patches, class            transformer           Linear
             token, positions          blocks

The code is this project's own; the architecture is that of the paper (Girdhar et al., "ImageBind: One Embedding Space To
Bind Them All", CVPR 2023) and of its published checkpoint, whose 1311 keys and shapes the parameters below have. Every
tower stands alone: an IMU tower of 20 M parameters is built without its five siblings.

A head reads one token, so the last block makes no other: it projects all, to have their keys and values, but lets one
attend and pass the MLP. The vectors are the same, and the IMU tower multiplies 13 % less. The published code makes every
token, as `Trunk.every_token` does.

A tower is made for export: `Tower.forward` is the whole graph, from the model's input to a unit vector. What the
reference returns, the unit vector times its modality's logit scale, is `Tower.scaled`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from edgebind import modality as modalities

EMBEDDING = 1024
"""Length of every embedding."""
BLOCK_EPS = 1e-6
"""LayerNorm of blocks, heads and vision's norm before the trunk."""
STEM_EPS = 1e-5
"""LayerNorm right after a patch projection."""
LARGEST_SCALE = 100.0
"""The reference never multiplies an embedding by more."""


@dataclass(frozen=True, slots=True)
class Architecture:
    """What distinguishes one tower from the next; together with the modality it fixes every shape."""

    width: int
    """Length of a token."""
    depth: int
    """Number of transformer blocks."""
    heads: int
    """Heads of attention."""
    tokens: int
    """Length of the sequence: patches and the class token, or text's context."""
    drop_path: float = 0.0
    """Chance that training skips the last block; it rises linearly from 0 at the first."""
    dropout: float = 0.0
    """Dropout before the head's Linear, in training."""
    extra_key: bool = True
    """One learned key and value that every token may attend to."""
    logit_scale: float | None = None
    """What the reference multiplies unit vectors by before training; None: it does not."""


ARCHITECTURES: dict[str, Architecture] = {
    # tokens: 16 x 16 patches of 14 px; 12 mel x 19 frame patches; 14 x 14 patches of 16 px; 250 patches of 8 samples
    "vision": Architecture(1280, 32, 16, tokens=1 + 16 * 16, extra_key=False),
    "text": Architecture(1024, 24, 16, tokens=77, extra_key=False, logit_scale=1 / 0.07),
    "audio": Architecture(768, 12, 12, tokens=1 + 12 * 19, drop_path=0.1, logit_scale=20.0),
    "depth": Architecture(384, 12, 8, tokens=1 + 14 * 14, logit_scale=5.0),
    "thermal": Architecture(768, 12, 12, tokens=1 + 14 * 14, logit_scale=10.0),
    "imu": Architecture(512, 6, 8, tokens=1 + 250, drop_path=0.7, dropout=0.5, logit_scale=5.0),
}


# ------------------------------------------------------------------------------------------- preprocessors: tokens


class PatchStem(nn.Module):
    """Square, maybe overlapping patches -> tokens, row by row: (batch, 1, height, width) -> (batch, patches, token)."""

    def __init__(self, token: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(1, token, kernel, stride, bias=False)
        self.norm_layer = nn.LayerNorm(token, eps=STEM_EPS)

    def forward(self, picture: Tensor) -> Tensor:
        return self.norm_layer(self.proj(picture).flatten(2).transpose(1, 2))


class StillAsVideo(nn.Module):
    """Repeats a still picture in time: (batch, 3, height, width) -> (batch, 3, 2, height, width). A clip stays what it is."""

    def forward(self, picture: Tensor) -> Tensor:
        return picture if picture.ndim == 5 else torch.stack([picture, picture], dim=2)


class VideoStem(nn.Module):
    """Patches of 2 frames x 14 x 14 pixels -> tokens, row by row: (batch, 3, height, width) -> (batch, patches, token).

    A clip of two frames is (batch, 3, 2, height, width). Without a LayerNorm: vision's stands before the trunk, behind class
    token and positions.
    """

    def __init__(self, token: int) -> None:
        super().__init__()
        patch = (2, 14, 14)
        self.proj = nn.Sequential(StillAsVideo(), nn.Conv3d(3, token, patch, patch, bias=False))

    def forward(self, picture: Tensor) -> Tensor:
        return self.proj(picture).flatten(2).transpose(1, 2)


class ImuStem(nn.Module):
    """Patches of 8 samples -> tokens: (batch, 6, 2000) -> (batch, 250, token).

    A patch lists the eight samples of channel 0, then those of channel 1, and so on: 48 values.
    """

    samples = 8

    def __init__(self, token: int, channels: int = 6) -> None:
        super().__init__()
        self.proj = nn.Linear(channels * self.samples, token, bias=False)
        self.norm_layer = nn.LayerNorm(token, eps=STEM_EPS)

    def forward(self, signal: Tensor) -> Tensor:
        # Not Tensor.unfold, which has been exported wrongly without a word.
        channels, length = signal.shape[1:]
        grid = signal.reshape(-1, channels, length // self.samples, self.samples)  # (batch, 6, 250, 8)
        patches = grid.transpose(1, 2).reshape(-1, length // self.samples, channels * self.samples)
        return self.norm_layer(self.proj(patches))


class Positions(nn.Module):
    """Holds the learned position of each token."""

    def __init__(self, tokens: int, token: int) -> None:
        super().__init__()
        self.pos_embed = learned(1, tokens, token)


class PicturePreprocessor(nn.Module):
    """Vision, audio, depth and thermal: a picture (audio's is a mel spectrogram) -> (batch, tokens, token)."""

    def __init__(self, stem_name: str, stem: nn.Module, tokens: int, token: int) -> None:
        super().__init__()
        self.stem_name = stem_name  # the checkpoint calls depth's by another name
        self.cls_token = learned(1, 1, token)
        self.add_module(stem_name, stem)
        self.pos_embedding_helper = Positions(tokens, token)

    def forward(self, picture: Tensor) -> Tensor:
        patches = self.get_submodule(self.stem_name)(picture)
        return with_class_token(self.cls_token, patches) + self.pos_embedding_helper.pos_embed


class ImuPreprocessor(nn.Module):
    """(batch, 6, 2000) -> (batch, 251, token)."""

    def __init__(self, tokens: int, token: int) -> None:
        super().__init__()
        self.pos_embed = learned(1, tokens, token)
        self.cls_token = learned(1, 1, token)
        self.imu_stem = ImuStem(token)

    def forward(self, signal: Tensor) -> Tensor:
        return with_class_token(self.cls_token, self.imu_stem(signal)) + self.pos_embed


class TextPreprocessor(nn.Module):
    """Token ids -> tokens: (batch, 77) int64 -> (batch, 77, token). No class token: the head reads the end of the text."""

    vocabulary = 49408

    def __init__(self, tokens: int, token: int) -> None:
        super().__init__()
        self.pos_embed = learned(1, tokens, token)
        self.token_embedding = nn.Embedding(self.vocabulary, token)
        self.mask: Tensor
        self.register_buffer("mask", causal_mask(tokens))

    def forward(self, ids: Tensor) -> Tensor:
        # Spelt so that it becomes a plain Gather whose output is not called "embedding", as exported graphs' is.
        tokens = self.token_embedding.weight.index_select(0, ids.reshape(-1))
        return tokens.reshape(-1, *self.pos_embed.shape[1:]) + self.pos_embed


def with_class_token(class_token: Tensor, patches: Tensor) -> Tensor:
    """(1, 1, token), (batch, n, token) -> (batch, 1 + n, token)."""
    return torch.cat([class_token.expand(patches.shape[0], -1, -1), patches], dim=1)


def causal_mask(tokens: int) -> Tensor:
    """(tokens, tokens): -inf above the diagonal, so that a token sees itself and what came before, else 0."""
    return torch.full((tokens, tokens), -math.inf).triu(1)


def learned(*shape: int) -> nn.Parameter:
    """A parameter with the small random start that is customary for transformers."""
    return nn.Parameter(torch.randn(shape) * 0.02)


def make_preprocessor(modality: str, size: Architecture) -> nn.Module:
    if modality == "imu":
        return ImuPreprocessor(size.tokens, size.width)
    if modality == "text":
        return TextPreprocessor(size.tokens, size.width)
    name = "depth_stem" if modality == "depth" else "rgbt_stem"
    return PicturePreprocessor(name, make_stem(modality, size.width), size.tokens, size.width)


def make_stem(modality: str, token: int) -> nn.Module:
    if modality == "vision":
        return VideoStem(token)
    return PatchStem(token, kernel=16, stride=10 if modality == "audio" else 16)


# ----------------------------------------------------------------------------------------- trunk: tokens -> tokens


Place = int | Tensor
"""Which token: one number for all examples, or (batch,) where each has its own."""


def token_at(tokens: Tensor, place: Place) -> Tensor:
    """(batch, tokens, token) -> (batch, 1, token)."""
    if isinstance(place, int):
        return tokens[:, place : place + 1]
    return tokens.gather(1, place.reshape(-1, 1, 1).expand(-1, 1, tokens.shape[2]))


class Attention(nn.Module):
    """Self-attention, (batch, tokens, token) -> the same; with `extra_key`, over one more learned key and value.

    The extra pair enters behind the projections and comes last, as in `torch.nn.MultiheadAttention(add_bias_kv=True)`.
    That class is not used because its fast path is a fused operator that no exporter knows.
    """

    def __init__(self, token: int, heads: int, extra_key: bool) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = learned(3 * token, token)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * token))
        self.bias_k = learned(1, 1, token) if extra_key else None
        self.bias_v = learned(1, 1, token) if extra_key else None
        self.out_proj = nn.Linear(token, token)

    def forward(self, x: Tensor, mask: Tensor | None = None, place: Place | None = None) -> Tensor:
        """With `place` only of the token there, (batch, 1, token); `mask` is (tokens, tokens) all the same."""
        query, key, value = functional.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        if place is not None:
            query = token_at(query, place)  # behind the product, so that it stays one and its weights whole
            mask = None if mask is None else mask[place].reshape(-1, 1, 1, mask.shape[1])  # each example's row
        key, value = self._extended(key, self.bias_k), self._extended(value, self.bias_v)
        query, key, value = self._split(query), self._split(key), self._split(value)
        # Written out: torch's fused operator becomes a dozen shape computations in ONNX, this becomes four nodes.
        scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(2, 3)  # (batch, heads, tokens, keys)
        mixed = (scores if mask is None else scores + mask).softmax(dim=-1) @ value
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def _extended(self, x: Tensor, last: Tensor | None) -> Tensor:
        return x if last is None else torch.cat([x, last.expand(x.shape[0], -1, -1)], dim=1)

    def _split(self, x: Tensor) -> Tensor:
        """(batch, n, token) -> (batch, heads, n, token / heads)."""
        # -1 stands for the batch: the lengths are fixed, so that the graph has constants to reshape to.
        return x.reshape(-1, x.shape[1], self.heads, x.shape[2] // self.heads).transpose(1, 2)


class Mlp(nn.Module):
    """Each token on its own through a hidden layer four times as wide; GELU in its exact (erf) form."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(token, 4 * token)
        self.fc2 = nn.Linear(4 * token, token)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(functional.gelu(self.fc1(x)))


class DropPath(nn.Module):
    """In training, leaves out a residual branch for a share `rate` of the examples (stochastic depth)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.rate == 0:
            return x
        kept = 1 - self.rate
        return x * torch.bernoulli(x.new_full((x.shape[0], 1, 1), kept)) / kept  # the mean stays what it was


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); with `place` only of the token there, (batch, 1, token)."""

    def __init__(self, token: int, heads: int, extra_key: bool, drop_path: float) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(token, eps=BLOCK_EPS)
        self.attn = Attention(token, heads, extra_key)
        self.norm_2 = nn.LayerNorm(token, eps=BLOCK_EPS)
        self.mlp = Mlp(token)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor, mask: Tensor | None = None, place: Place | None = None) -> Tensor:
        attended = self.attn(self.norm_1(x), mask, place)
        x = (x if place is None else token_at(x, place)) + self.drop_path(attended)
        return x + self.drop_path(self.mlp(self.norm_2(x)))


class Trunk(nn.Module):
    """The blocks: (batch, tokens, token) -> (batch, 1, token), what becomes of the token at `place`.

    Vision has a LayerNorm in front of them.
    """

    every_token = False
    """Let the last block make all tokens, though one is read: the work that the published code does."""

    def __init__(self, size: Architecture, norm_first: bool) -> None:
        super().__init__()
        self.pre_transformer_layer = nn.Sequential(
            nn.LayerNorm(size.width, eps=BLOCK_EPS) if norm_first else nn.Identity()
        )
        last = max(size.depth - 1, 1)
        rates = [size.drop_path * place / last for place in range(size.depth)]
        self.blocks = nn.ModuleList(Block(size.width, size.heads, size.extra_key, rate) for rate in rates)

    def forward(self, tokens: Tensor, mask: Tensor | None = None, place: Place = 0) -> Tensor:
        tokens = self.pre_transformer_layer(tokens)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens, mask)
        return token_at(last(tokens, mask), place) if self.every_token else last(tokens, mask, place)


# ----------------------------------------------------------------------- head and postprocessor: one token -> vector


class OnlyToken(nn.Module):
    """(batch, 1, token) -> (batch, token)."""

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens[:, 0]


class TextHead(nn.Module):
    """(batch, 1, token) -> (batch, 1024)."""

    def __init__(self, token: int) -> None:
        super().__init__()
        self.proj = nn.Sequential(nn.LayerNorm(token, eps=BLOCK_EPS), nn.Linear(token, EMBEDDING, bias=False))

    def forward(self, tokens: Tensor) -> Tensor:
        return self.proj(tokens[:, 0])


class UnitLength(nn.Module):
    """Divides each vector by its Euclidean length."""

    def forward(self, vectors: Tensor) -> Tensor:
        return functional.normalize(vectors, dim=-1)


class LogitScale(nn.Module):
    """Multiplies by min(exp(s), 100). In the reference only text's s is a parameter; the others are fixed."""

    def __init__(self, start: float, trained: bool) -> None:
        super().__init__()
        self.log_logit_scale: Tensor
        value = torch.tensor(math.log(start))
        if trained:
            self.log_logit_scale = nn.Parameter(value)
        else:
            self.register_buffer("log_logit_scale", value)

    def forward(self, vectors: Tensor) -> Tensor:
        return vectors * self.log_logit_scale.exp().clamp(max=LARGEST_SCALE)


def make_head(modality: str, size: Architecture) -> nn.Module:
    if modality == "text":
        return TextHead(size.width)
    layers = [nn.LayerNorm(size.width, eps=BLOCK_EPS), OnlyToken(), nn.Linear(size.width, EMBEDDING, bias=False)]
    if size.dropout:  # only then does the checkpoint count a dropout among the head's layers
        layers.insert(2, nn.Dropout(size.dropout))
    return nn.Sequential(*layers)


def make_postprocessor(modality: str, size: Architecture) -> nn.Sequential:
    if size.logit_scale is None:
        return nn.Sequential(UnitLength())
    return nn.Sequential(UnitLength(), LogitScale(size.logit_scale, trained=modality == "text"))


# ------------------------------------------------------------------------------------------------- towers and model


class Tower(nn.Module):
    """One modality's encoder. Its input is (batch, *modality.input_shape), float32 or, of text, int64.

    Vision also takes clips of two frames, (batch, 3, 2, 224, 224).
    """

    def __init__(self, modality: str, architecture: Architecture) -> None:
        super().__init__()
        self.modality = modality
        self.architecture = architecture
        self.preprocessor = make_preprocessor(modality, architecture)
        self.trunk = Trunk(architecture, norm_first=modality == "vision")
        self.head = make_head(modality, architecture)
        self.postprocessor = make_postprocessor(modality, architecture)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> (batch, 1024), unit rows: what is exported."""
        unit = self.postprocessor[0]
        if self.modality == "audio":  # the mean of several clips' unit vectors is shorter than 1: normalised twice
            return unit(self._mean_of_clips(x, unit))
        return unit(self._vectors(x))

    def scaled(self, x: Tensor) -> Tensor:
        """(batch, *input_shape) -> (batch, 1024): what the reference returns, unit vectors x `logit_scale`."""
        if self.modality == "audio":
            return self._mean_of_clips(x, self.postprocessor)
        return self.postprocessor(self._vectors(x))

    def _mean_of_clips(self, clips: Tensor, finish: Callable[[Tensor], Tensor]) -> Tensor:
        """(batch, clips, 1, mel, frames) -> (batch, 1024): `finish` each clip's vector, then average."""
        vectors = finish(self._vectors(clips.flatten(0, 1)))
        return vectors.reshape(-1, clips.shape[1], EMBEDDING).mean(dim=1)

    def _vectors(self, x: Tensor) -> Tensor:
        tokens = self.preprocessor(x)
        if isinstance(self.preprocessor, TextPreprocessor):
            end = x.int().argmax(dim=1)  # the id that ends a text, 49407, is the largest
            return self.head(self.trunk(tokens, self.preprocessor.mask, end))
        return self.head(self.trunk(tokens))


class ImageBind(nn.Module):
    """Any of the towers under the names of the reference's state dict.

    The four groups own the weights; `towers` are views of them, so an optimiser sees each parameter once.
    """

    def __init__(self, towers: Mapping[str, Tower]) -> None:
        super().__init__()
        self.towers = dict(towers)  # a plain dict: its weights are not registered a second time
        self.modality_preprocessors = nn.ModuleDict({name: tower.preprocessor for name, tower in towers.items()})
        self.modality_trunks = nn.ModuleDict({name: tower.trunk for name, tower in towers.items()})
        self.modality_heads = nn.ModuleDict({name: tower.head for name, tower in towers.items()})
        self.modality_postprocessors = nn.ModuleDict({name: tower.postprocessor for name, tower in towers.items()})

    def forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """{modality: (batch, *input_shape)} -> {modality: (batch, 1024)}, unit rows."""
        return {name: self.towers[name](x) for name, x in inputs.items()}

    def train(self, mode: bool = True) -> ImageBind:
        for tower in self.towers.values():
            tower.train(mode)
        return super().train(mode)


def build_tower(modality: str, *, architecture: Architecture | None = None, device: str = "cpu") -> Tower:
    """A tower with random weights, in training mode; on the device "meta" it costs neither time nor memory.

    `architecture` defaults to ImageBind-huge's.

    Raises
    ------
    OptionError: there is no modality of that name.
    """
    modalities.get(modality)
    with torch.device(device):
        return Tower(modality, architecture or ARCHITECTURES[modality])


def build(names: Iterable[str] = tuple(ARCHITECTURES), *, device: str = "cpu") -> ImageBind:
    """ImageBind with the named towers; the keys of its state dict are those of the reference, of these towers."""
    return ImageBind({name: build_tower(name, device=device) for name in names})


def logit_scale(tower: Tower) -> float:
    """What the reference multiplies this tower's unit vectors by: min(exp(s), 100), for vision 1."""
    last = tower.postprocessor[-1]
    return math.exp(min(float(last.log_logit_scale), math.log(LARGEST_SCALE))) if isinstance(last, LogitScale) else 1.0


def reference_key(modality: str, key: str) -> str:
    """A tower's own key -> the reference's: imu, "trunk.blocks.0.norm_1.bias" -> "modality_trunks.imu.blocks.0.norm_1.bias"."""
    group, rest = key.split(".", 1)
    return f"modality_{group}s.{modality}.{rest}"
