"""Prompts become a bank that knows its space and the scale of the tower that embedded them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner
from onnx import TensorProto, helper, numpy_helper
from scipy.special import softmax

import edgebind
from edgebind import bundle, cli, labels
from edgebind.errors import OptionError
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from edgebind.prompts import embed_prompts
from tests import bundles

pytest.importorskip("instant_clip_tokenizer")

TEXT = replace(
    bundles.IMU,
    modality="text",
    logit_scale=50.0,
    window=WindowSpec(1.0, 1.0, 1.0, ("token",), ("id",)),
    preprocess={"kind": "text"},
)
PROMPTS = ("a person walking", "a robot on ice")


def _text_encoder(dim: int) -> bytes:
    """ONNX of token ids -> the first `dim` of them behind the start token -> unit rows."""
    nodes = [
        helper.make_node("Cast", ["ids"], ["numbers"], to=TensorProto.FLOAT),
        helper.make_node("Gather", ["numbers", "places"], ["raw"], axis=1),
        helper.make_node("ReduceL2", ["raw", "axes"], ["length"], keepdims=1),
        helper.make_node("Div", ["raw", "length"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny text",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["batch", 77])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch", dim])],
        [numpy_helper.from_array(np.arange(1, 1 + dim), "places"), numpy_helper.from_array(np.array([1]), "axes")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    data: bytes = model.SerializeToString()
    return data


@pytest.fixture
def text(tmp_path: Path) -> Path:
    bundle.write(tmp_path / "text-fp32", TEXT, {bundle.ENCODER: _text_encoder(TEXT.dim)})
    return tmp_path / "text-fp32"


def test_both_towers_scales_stand_before_the_cosine(text: Path) -> None:
    bank = embed_prompts(PROMPTS, text_bundle=text)
    sensor = np.array([[0.6, 0.8, 0, 0], [0, 0, 0, 1]], np.float32)
    # As ImageBind has it: unit vectors are multiplied by their own tower's scale, then the softmax is taken.
    expected = softmax((5.0 * sensor) @ (50.0 * bank.embeddings).T, axis=1)
    np.testing.assert_allclose(bank.probabilities(sensor, 5.0), expected, rtol=1e-4)


def test_a_bank_keeps_space_and_scale_on_disk(text: Path, tmp_path: Path) -> None:
    embed_prompts(PROMPTS, text_bundle=text).to_npz(tmp_path / "labels.npz")
    bank = labels.read(tmp_path / "labels.npz", 4, "test")
    assert (bank.prompts, bank.space, bank.logit_scale) == (PROMPTS, "test", 50.0)


def test_what_is_no_text_tower_is_refused(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="not a text tower"):
        embed_prompts(PROMPTS, text_bundle=bundles.write(tmp_path / "imu-fp32"))


def test_another_space_is_refused(text: Path, tmp_path: Path) -> None:
    other = bundles.write(tmp_path / "imu-fp32", replace(bundles.IMU, space="other"))
    with edgebind.load(other) as like, pytest.raises(OptionError, match="wanted 'other', got 'test'"):
        embed_prompts(PROMPTS, text_bundle=text, like=like)


def test_another_dimension_is_refused(text: Path, tmp_path: Path) -> None:
    longer = bundles.write(tmp_path / "imu-fp32", replace(bundles.IMU, dim=5), bank=None)
    with edgebind.load(longer) as like, pytest.raises(OptionError, match="wanted 5 dimensions, got 4"):
        embed_prompts(PROMPTS, text_bundle=text, like=like)


def test_a_space_of_another_name_is_known_by_its_prompts(text: Path, tmp_path: Path) -> None:
    bank = embed_prompts(("a dog barking", "rain"), text_bundle=text)
    own = bundles.write(tmp_path / "imu-fp32", replace(bundles.IMU, space="ours"), replace(bank, space="ours"))
    out = tmp_path / "labels.npz"
    arguments = ["labels", *PROMPTS, "--text-bundle", str(text), "--bundle", str(own), "--out", str(out)]
    done = CliRunner().invoke(cli.group, arguments)
    assert done.exit_code == 0, done.output
    assert "nearest known prompt" in done.output
    assert labels.read(out, 4, "ours").prompts == PROMPTS


def test_a_bundle_without_labels_only_has_its_name(text: Path, tmp_path: Path) -> None:
    own = bundles.write(tmp_path / "imu-fp32", replace(bundles.IMU, space="ours"), bank=None)
    with edgebind.load(own) as like, pytest.raises(OptionError, match="another space"):
        embed_prompts(PROMPTS, text_bundle=text, like=like)


def test_a_bank_that_names_no_space_is_taken_for_the_bundles(tmp_path: Path) -> None:
    bank = LabelBank(("a",), np.eye(1, 4, dtype=np.float32))
    assert bank.space == ""
    with edgebind.load(bundles.write(tmp_path / "imu-fp32", bank=bank)) as opened:
        assert opened.labels.space == "test"


# --- several phrasings of a label -------------------------------------------------------------------------------------

WORDS = """
[[imu]]
label = "walking"
texts = ["a person walking", "someone goes for a stroll"]

[[imu]]
label = "ice"
texts = ["a robot on ice"]
"""


def _labels(text: Path, *arguments: str | Path) -> tuple[str, str]:
    done = CliRunner().invoke(cli.group, ["labels", "--text-bundle", str(text), *map(str, arguments)])
    return done.output, str(done.exception or "")


def test_a_label_is_the_mean_of_its_phrasings(text: Path, tmp_path: Path) -> None:
    (tmp_path / "words.toml").write_text(WORDS)
    said, error = _labels(text, "--phrasings", tmp_path / "words.toml", "--out", tmp_path / "labels.npz")
    assert not error, said
    bank = labels.read(tmp_path / "labels.npz", 4, "test")
    assert bank.prompts == ("walking", "ice")
    one, other, ice = embed_prompts(
        ("a person walking", "someone goes for a stroll", "a robot on ice"), text_bundle=text
    ).embeddings
    np.testing.assert_allclose(bank.embeddings[0], (one + other) / np.linalg.norm(one + other), atol=1e-6)
    np.testing.assert_allclose(bank.embeddings[1], ice, atol=1e-6)
    assert bank.logit_scale == 50.0


def test_templates_are_phrasings(text: Path, tmp_path: Path) -> None:
    out = tmp_path / "labels.npz"
    _labels(text, "a dog", "rain", "--template", "a photo of {}", "--template", "{} from above", "--out", out)
    bank = labels.read(out, 4, "test")
    assert bank.prompts == ("a dog", "rain")
    both = embed_prompts(("a photo of rain", "rain from above"), text_bundle=text).embeddings.sum(axis=0)
    np.testing.assert_allclose(bank.embeddings[1], both / np.linalg.norm(both), atol=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("a dog", "--template", "a photo"), "a template has one place for the label"),
        (("--phrasings", "words.toml"), "prompts of several sensors"),
        (("--phrasings", "words.toml", "--bundle", "depth-fp32"), "no prompts for this sensor"),
        (("--phrasings", "twice.toml"), "the same prompt stands twice"),
        (("--phrasings", "bare.toml"), "a label without prompts"),
        (("--phrasings", "nowhere.toml"), "the file of prompts cannot be read"),
    ],
)
def test_phrasings_that_make_no_labels_are_one_clear_line(
    text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("words.toml").write_text(WORDS + '[[thermal]]\nlabel = "car"\ntexts = ["a car"]\n')
    Path("twice.toml").write_text(WORDS.replace("a robot on ice", "a person walking"))
    Path("bare.toml").write_text(WORDS.replace('"a robot on ice"', ""))
    bundles.write(Path("depth-fp32"), replace(bundles.IMU, modality="depth"))
    _, error = _labels(text, *arguments, "--out", "labels.npz")
    assert message in error
    assert not Path("labels.npz").exists()


@pytest.mark.parametrize("arguments", [(), ("a dog", "--phrasings", "words.toml")])
def test_prompts_come_from_one_place(text: Path, arguments: tuple[str, ...]) -> None:
    said, _ = _labels(text, *arguments)
    assert "--phrasings" in said
    assert "Usage" in said
