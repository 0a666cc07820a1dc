"""ImageBind's towers against the reference's outputs, and each part against somebody else's code or NumPy by hand."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from edgebind import modality
from edgebind.errors import OptionError
from edgebind.models import imagebind
from edgebind.models.imagebind import ARCHITECTURES, Tower

ALL = tuple(ARCHITECTURES)
Keys = dict[str, list[int]]


@pytest.fixture(scope="module")
def recipe(shared: Path) -> ModuleType:
    """Deterministic full-size weights and inputs; the random stream is checked first, lest the model be blamed."""
    spec = importlib.util.spec_from_file_location("parity_recipe", shared / "parity" / "recipe.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert sha256(module.weights("modality_heads.imu.3.weight", (1024, 512))).startswith("679c7e29fd22")
    assert sha256(module.example("imu")).startswith("d899a99d279f")
    return module


@pytest.fixture(scope="module")
def keys(shared: Path) -> Keys:
    found: Keys = json.loads((shared / "parity" / "keys.json").read_text())
    return found


def sha256(array: np.ndarray) -> str:
    return hashlib.sha256(array.tobytes()).hexdigest()


def full_size(name: str, recipe: ModuleType, depth: int | None = None) -> Tower:
    """The published tower, or its first `depth` blocks, with the recipe's weights."""
    full = ARCHITECTURES[name]
    tower = imagebind.build_tower(name, architecture=replace(full, depth=depth or full.depth), device="meta")
    weights = {}
    for key, like in tower.state_dict().items():
        value = recipe.weights(imagebind.reference_key(name, key), tuple(like.shape))
        weights[key] = imagebind.causal_mask(77) if value is None else torch.as_tensor(value)
    tower.load_state_dict(weights, assign=True)
    return tower.eval().requires_grad_(False)


def tiny(name: str, depth: int = 2) -> Tower:
    """A tower of the real structure, 32 wide, with weights large enough to tell a wrong model from a right one."""
    torch.manual_seed(7)
    tower = imagebind.build_tower(name, architecture=replace(ARCHITECTURES[name], width=32, depth=depth, heads=4))
    with torch.no_grad():
        for key, parameter in tower.named_parameters():
            if not key.endswith("log_logit_scale"):
                parameter.add_(0.3 * torch.randn_like(parameter))
    return tower.eval().requires_grad_(False)


def example(name: str, batch: int = 2) -> Tensor:
    if name == "text":
        return text_ids([5, 6, 7], list(range(100, 175)), [9])[:batch]
    return torch.randn(batch, *modality.get(name).input_shape, generator=torch.Generator().manual_seed(3))


def text_ids(*texts: list[int]) -> Tensor:
    ids = torch.zeros(len(texts), 77, dtype=torch.int64)
    for row, text in zip(ids, texts, strict=True):
        row[: len(text) + 2] = torch.tensor([49406, *text, 49407])
    return ids


def relative_error(got: Tensor, wanted: np.ndarray) -> float:
    return float(np.linalg.norm(got.numpy() - wanted) / np.linalg.norm(wanted))


# ------------------------------------------------------------------------------------------------- the published model


def test_every_key_and_shape_is_the_references(keys: Keys) -> None:
    model = imagebind.build(device="meta")

    assert {key: list(value.shape) for key, value in model.state_dict().items()} == keys
    assert sum(parameter.numel() for parameter in model.parameters()) == 1_200_781_057


@pytest.mark.parametrize("name", ALL)
def test_a_single_tower_has_its_part_of_the_keys(name: str, keys: Keys) -> None:
    model = imagebind.build([name], device="meta")

    assert set(model.state_dict()) == {key for key in keys if key.split(".")[1] == name}
    tower = imagebind.build_tower(name, device="meta")
    assert {imagebind.reference_key(name, key) for key in tower.state_dict()} == set(model.state_dict())


@pytest.mark.parametrize("name", ["imu", "depth"])
def test_outputs_are_the_references(name: str, recipe: ModuleType, shared: Path) -> None:
    tower = full_size(name, recipe)
    x = torch.from_numpy(recipe.example(name))
    with np.load(shared / "parity" / f"{name}.npz") as archive:
        expected = archive["expected"]

    assert relative_error(tower.scaled(x), expected) < 1e-5
    assert relative_error(tower(x), expected / np.linalg.norm(expected, axis=1, keepdims=True)) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["audio", "thermal", "text", "vision"])
def test_towers_of_full_width_give_unit_vectors(name: str, recipe: ModuleType) -> None:
    tower = full_size(name, recipe, depth=4)  # all of vision would take a minute
    x = torch.from_numpy(recipe.example(name))

    vectors = tower(x)

    assert vectors.shape == (len(x), 1024)
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(x)))
    assert abs(float(vectors[0] @ vectors[1])) < 0.999, "different inputs, different vectors"
    torch.testing.assert_close(tower(x[:1]), vectors[:1], atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("name", "scale"), [("vision", 1.0), ("text", 1 / 0.07), ("audio", 20), ("depth", 5), ("thermal", 10), ("imu", 5)]
)
def test_logit_scales_are_the_references(name: str, scale: float) -> None:
    tower = tiny(name, depth=1)

    assert imagebind.logit_scale(tower) == pytest.approx(scale)
    if name != "audio":
        torch.testing.assert_close(tower.scaled(example(name)), tower(example(name)) * scale)


def test_a_logit_scale_never_exceeds_100() -> None:
    tower = tiny("imu", depth=1)
    tower.postprocessor[1].log_logit_scale.fill_(1000.0)  # type: ignore[operator]

    assert imagebind.logit_scale(tower) == pytest.approx(100)
    torch.testing.assert_close(tower.scaled(example("imu")).norm(dim=1), torch.full((2,), 100.0))


def test_layer_norms_of_stems_have_their_own_epsilon() -> None:
    model = imagebind.build(device="meta")
    found = {key: module.eps for key, module in model.named_modules() if isinstance(module, nn.LayerNorm)}

    stems = {key for key in found if key.endswith("norm_layer")}
    assert len(stems) == 4, "audio, depth, thermal, IMU"
    assert all(eps == (1e-5 if key in stems else 1e-6) for key, eps in found.items())


def test_an_unknown_modality_is_refused() -> None:
    with pytest.raises(OptionError, match="unknown modality"):
        imagebind.build_tower("radar")


# -------------------------------------------------------------------------------------- parts, by independent code


@pytest.mark.parametrize("extra_key", [False, True])
def test_attention_is_torchs_multihead_attention(extra_key: bool) -> None:
    torch.manual_seed(0)
    ours = imagebind.Attention(48, heads=4, extra_key=extra_key)
    theirs = nn.MultiheadAttention(48, 4, add_bias_kv=extra_key, batch_first=True)
    for parameter in ours.parameters():
        nn.init.normal_(parameter, std=0.5)
    theirs.load_state_dict(ours.state_dict())
    ours, theirs = ours.double(), theirs.double()
    x = torch.randn(3, 11, 48, dtype=torch.float64)
    mask = None if extra_key else imagebind.causal_mask(11).double()

    wanted, _ = theirs(x, x, x, need_weights=False, attn_mask=mask)

    torch.testing.assert_close(ours(x, mask), wanted)


def test_a_block_is_torchs_pre_norm_encoder_layer() -> None:
    torch.manual_seed(0)
    ours = imagebind.Block(48, heads=4, extra_key=False, drop_path=0.0)
    theirs = nn.TransformerEncoderLayer(
        48,
        4,
        dim_feedforward=192,
        dropout=0.0,
        activation="gelu",
        layer_norm_eps=1e-6,
        batch_first=True,
        norm_first=True,
    )
    names = {"attn.": "self_attn.", "mlp.fc1": "linear1", "mlp.fc2": "linear2", "norm_1": "norm1", "norm_2": "norm2"}
    weights = ours.state_dict()
    for old, new in names.items():
        weights = {key.replace(old, new): value for key, value in weights.items()}
    theirs.load_state_dict(weights)
    x = torch.randn(2, 9, 48)

    torch.testing.assert_close(ours(x), theirs(x), atol=1e-5, rtol=1e-5)


def test_an_imu_patch_lists_channel_after_channel() -> None:
    stem = imagebind.ImuStem(48)
    stem.norm_layer = nn.Identity()  # type: ignore[assignment]
    nn.init.eye_(stem.proj.weight)
    signal = torch.arange(6 * 2000.0).reshape(1, 6, 2000)

    patches = stem(signal)

    assert patches.shape == (1, 250, 48)
    # Patch 3 holds samples 24 .. 31: those of channel 0, then those of channel 1, ...
    by_hand = [channel * 2000 + 24 + sample for channel in range(6) for sample in range(8)]
    assert patches[0, 3].tolist() == by_hand


@pytest.mark.parametrize(
    ("height", "width", "stride", "rows", "columns"), [(128, 204, 10, 12, 19), (224, 224, 16, 14, 14)]
)
def test_picture_patches_run_row_by_row(height: int, width: int, stride: int, rows: int, columns: int) -> None:
    stem = imagebind.PatchStem(8, 16, stride)
    picture = torch.randn(1, 1, height, width)

    tokens = stem(picture).detach().numpy()[0]

    assert tokens.shape == (rows * columns, 8)
    row, column = 2, 5
    top, left = row * stride, column * stride
    patch = picture[0, 0, top : top + 16, left : left + 16].numpy()
    by_hand = (stem.proj.weight.detach().numpy()[:, 0] * patch).sum(axis=(1, 2))
    by_hand = (by_hand - by_hand.mean()) / np.sqrt(by_hand.var() + 1e-5)
    np.testing.assert_allclose(tokens[row * columns + column], by_hand, atol=1e-5)


def test_vision_sees_a_still_as_two_frames() -> None:
    stem = imagebind.VideoStem(8)
    picture = torch.randn(2, 3, 224, 224)

    tokens = stem(picture).detach().numpy()

    kernel = stem.state_dict()["proj.1.weight"].numpy()  # (8, 3, 2, 14, 14)
    patches = picture.numpy().reshape(2, 3, 16, 14, 16, 14)  # batch, colour, row, y, column, x
    by_hand = np.einsum("bcrykx,octyx->brko", patches, kernel, optimize=True).reshape(2, 256, 8)
    np.testing.assert_allclose(tokens, by_hand, atol=1e-4)


@pytest.mark.parametrize("name", ["vision", "audio", "depth", "thermal", "imu"])
def test_the_class_token_comes_first_and_the_head_reads_it(name: str) -> None:
    tower = tiny(name)
    x = example(name)[:, 0] if name == "audio" else example(name)
    tokens = tower.preprocessor(x)
    parameters = dict(tower.preprocessor.named_parameters())
    positions = next(value for key, value in parameters.items() if key.endswith("pos_embed"))

    torch.testing.assert_close(tokens[:, 0], (parameters["cls_token"][0, 0] + positions[0, 0]).expand(2, -1))
    head = tower.head
    assert isinstance(head, nn.Sequential)
    read, tokens = tower.trunk(tokens), tower.trunk.pre_transformer_layer(tokens)
    for block in tower.trunk.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(read, tokens[:, :1])
    torch.testing.assert_close(head(read), head[-1](head[0](tokens)[:, 0]))


def test_only_visions_trunk_begins_with_a_layer_norm() -> None:
    for name in ALL:
        first = imagebind.build_tower(name, device="meta").trunk.pre_transformer_layer[0]
        assert isinstance(first, nn.LayerNorm if name == "vision" else nn.Identity)


@pytest.mark.parametrize("name", ALL)
def test_tokens_that_nobody_reads_change_nothing(name: str) -> None:
    tower, x = tiny(name).requires_grad_(True), example(name)
    found, gradients = _vector_and_gradients(tower, x)
    tower.trunk.every_token = True

    wanted, wanted_gradients = _vector_and_gradients(tower, x)

    torch.testing.assert_close(found, wanted, atol=2e-6, rtol=0)
    torch.testing.assert_close(gradients, wanted_gradients, atol=1e-5, rtol=1e-3)


def _vector_and_gradients(tower: Tower, x: Tensor) -> tuple[Tensor, Tensor]:
    """Of a sum that no direction of the vectors leaves unchanged; the gradients one after the other."""
    vectors = tower(x)
    parameters = [parameter for key, parameter in tower.named_parameters() if not key.endswith("log_logit_scale")]
    gradients = torch.autograd.grad((vectors * torch.linspace(-1, 1, 1024)).sum(), parameters)
    return vectors.detach(), torch.cat([gradient.flatten() for gradient in gradients])


# ------------------------------------------------------------------------------------------------------ text and audio


def test_what_follows_the_end_of_a_text_changes_nothing() -> None:
    tower = tiny("text")
    ids = text_ids([320, 1929, 40])
    after, before = ids.clone(), ids.clone()
    after[0, 5:] = torch.randint(1, 49000, (72,))
    before[0, 2] = 41

    torch.testing.assert_close(tower(after), tower(ids))
    assert float((tower(before) - tower(ids)).norm()) > 1e-3


def test_a_text_is_read_at_its_end_whatever_its_length() -> None:
    tower = tiny("text")
    ids = text_ids([5, 6, 7], list(range(100, 175)), [])
    tokens = tower.preprocessor(ids)
    for block in tower.trunk.blocks:
        tokens = block(tokens, imagebind.causal_mask(77))

    by_hand = tower.head.proj(torch.stack([tokens[0, 4], tokens[1, 76], tokens[2, 1]]))  # type: ignore[operator]

    torch.testing.assert_close(tower(ids), by_hand / by_hand.norm(dim=1, keepdim=True))


def test_clips_are_averaged_after_the_scale_and_normalised_again() -> None:
    tower = tiny("audio")
    clips = example("audio")  # (2, 3, 1, 128, 204)

    units = torch.stack([tower(clips[:, [clip]]) for clip in range(3)])  # (3, 2, 1024), each from one clip
    mean = units.mean(dim=0)

    assert (mean.norm(dim=1) < 0.9999).all(), "clips that differ"
    torch.testing.assert_close(tower.scaled(clips), mean * 20)
    torch.testing.assert_close(tower(clips), mean / mean.norm(dim=1, keepdim=True))


# ------------------------------------------------------------------------------------------------------------- training


@pytest.mark.parametrize(
    ("name", "last"), [("audio", 0.1), ("imu", 0.7), ("vision", 0.0), ("text", 0.0), ("depth", 0.0)]
)
def test_drop_path_rises_linearly(name: str, last: float) -> None:
    blocks = imagebind.build_tower(name, device="meta").trunk.blocks

    rates = [module.rate for module in blocks.modules() if isinstance(module, imagebind.DropPath)]

    np.testing.assert_allclose(rates, np.linspace(0, last, len(blocks)))


def test_drop_path_drops_whole_examples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    drop = imagebind.DropPath(0.7)
    x = torch.ones(20_000, 2, 3)

    dropped = drop(x)

    assert (dropped == dropped[:, :1, :1]).all(), "an example goes as a whole"
    assert float(dropped.mean()) == pytest.approx(1, abs=0.03)
    assert drop.eval()(x) is x


def test_randomness_belongs_to_training_alone() -> None:
    tower = tiny("imu").train()
    x = example("imu")

    assert not torch.equal(tower(x), tower(x))
    assert torch.equal(tower.eval()(x), tower(x))
    assert [module.p for module in tower.modules() if isinstance(module, nn.Dropout)] == [0.5]


def test_gradients_reach_every_parameter_but_the_logit_scale() -> None:
    for name in ALL:
        tower = tiny(name, depth=1).requires_grad_(True)
        tower(example(name)).sum().backward()
        unreached = [key for key, parameter in tower.named_parameters() if parameter.grad is None]
        assert unreached == (["postprocessor.1.log_logit_scale"] if name == "text" else [])


def test_a_model_shares_its_towers_weights() -> None:
    towers = {name: tiny(name) for name in ("imu", "depth")}
    model = imagebind.ImageBind(towers)

    outputs = model({name: example(name) for name in towers})

    for name, tower in towers.items():
        assert torch.equal(outputs[name], tower(example(name)))
    model.train()
    assert towers["imu"].training and towers["imu"].trunk.training
    assert len(list(model.parameters())) == sum(len(list(tower.parameters())) for tower in towers.values())


def test_new_weights_are_finite_and_small() -> None:
    for key, value in imagebind.build_tower("imu").state_dict().items():
        assert value.isfinite().all() and float(value.abs().max()) < 2, key


# --------------------------------------------------------------------------------------------------------------- export


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ALL)
def test_a_tower_exports_with_native_layer_norms_and_any_batch(name: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    tower, path = tiny(name, depth=1), tmp_path / "tower.onnx"

    torch.onnx.export(
        tower,
        (example(name),),
        path,
        dynamo=True,
        opset_version=18,
        input_names=[name],
        output_names=["embedding"],
        dynamic_shapes=({0: "batch"},),
        verbose=False,
    )

    nodes = [node.op_type for node in onnx.load(path, load_external_data=False).graph.node]
    norms = sum(isinstance(module, nn.LayerNorm) for module in tower.modules())
    assert nodes.count("LayerNormalization") == norms
    assert nodes.count("Shape") <= 1, "lengths are constants, only the batch is computed"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        x = example(name, batch)
        [got] = session.run(None, {name: x.numpy()})
        np.testing.assert_allclose(got, tower(x).numpy(), atol=1e-5)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_exported_tower_multiplies_less_by_what_nobody_reads(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from edgebind.calibration.graph import Graph
    from edgebind.export.simplify import simplify
    from edgebind.export.torch_onnx import to_onnx

    def macs() -> int:
        to_onnx(tower, x, tmp_path / "raw.onnx")
        simplify(tmp_path / "raw.onnx", tmp_path / "tower.onnx")
        return sum(Graph.read(tmp_path / "tower.onnx").macs(x[:1], tmp_path / "tower.onnx").values())

    tower, x = tiny("imu", depth=2), example("imu").numpy()
    saving = macs()
    tower.trunk.every_token = True
    # Of 250 tokens of 251: attention's two products with 252 keys, the projection behind it and the MLP's two, four times as wide.
    assert macs() - saving == 250 * (2 * 252 * 32 + 32 * 32 + 8 * 32 * 32)
