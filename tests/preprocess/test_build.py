"""The `preprocess` dictionary of a manifest, there and back."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping

import numpy as np
import pytest

from edgebind import modality, preprocess
from edgebind.errors import BundleError, OptionError

EXAMPLES: dict[str, object] = {
    "imu": preprocess.ImuPreprocessor(offset=(0.0, 0.0, 9.8, 0.0, 0.0, 0.1), clip=8.0),
    "thermal": preprocess.ThermalPreprocessor(
        size=96, low=-20.0, high=60.0, resize="letterbox", normalise="robust", mean=0.1, std=1.5
    ),
    "depth": preprocess.DepthPreprocessor(size=64, baseline=0.05, focal=600.0, holes="far", far=10.0),
    "audio": preprocess.AudioPreprocessor(clips=1, frames=198),
    "vision": preprocess.VisionPreprocessor(size=96, resize="squash", mean=(0.5,) * 3, std=(0.25,) * 3),
    "text": preprocess.TextPreprocessor(context=32),
}


@pytest.mark.parametrize("kind", preprocess._KINDS)
def test_round_trip_through_json(kind: str) -> None:
    for original in (preprocess.for_imagebind(kind), EXAMPLES[kind]):
        config = json.loads(json.dumps(original.to_dict()))  # type: ignore[attr-defined]
        assert config["kind"] == kind
        again = preprocess.build(config)
        assert again == original
        assert again.to_dict() == config


@pytest.mark.parametrize("kind", sorted(set(modality.MODALITIES) - {"text"}))
def test_imagebind_inputs_have_the_tower_shape(kind: str) -> None:
    sizes = {"imu": (6, 2000), "audio": (2, 40000), "vision": (30, 50, 3)}
    samples = np.random.default_rng(0).uniform(0.5, 0.9, sizes.get(kind, (30, 50))).astype(np.float32)
    if kind == "vision":
        samples = (samples * 255).astype(np.uint8)
    output = preprocess.for_imagebind(kind)(samples)
    wanted = modality.get(kind)
    assert output.shape == wanted.input_shape
    assert output.dtype == wanted.input_dtype
    assert output.flags.c_contiguous


def test_absent_keys_take_their_defaults() -> None:
    assert preprocess.build({"kind": "thermal", "size": 64}) == preprocess.ThermalPreprocessor(size=64)


def test_integers_stand_for_floats() -> None:
    built = preprocess.build({"kind": "thermal", "low": 0, "high": 40})
    assert built == preprocess.ThermalPreprocessor(low=0.0, high=40.0)
    assert isinstance(built.to_dict()["low"], float)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ([], "is no dictionary"),
        ({}, "unknown kind"),
        ({"kind": "lidar"}, "unknown kind"),
        ({"kind": ["imu"]}, "unknown kind"),
        ({"kind": "imu", "scael": [1.0] * 6}, "unknown key 'scael'"),
        ({"kind": "imu", "scale": [1.0] * 5}, "6 numbers"),
        ({"kind": "imu", "scale": "ones"}, "6 numbers"),
        ({"kind": "imu", "scale": [1.0] * 5 + [0.0]}, "six positive numbers"),
        ({"kind": "imu", "offset": [float("nan")] * 6}, "a finite number"),
        ({"kind": "imu", "clip": -1.0}, "a positive number or null"),
        ({"kind": "thermal", "size": 64.0}, "wanted int"),
        ({"kind": "thermal", "size": True}, "wanted int"),
        ({"kind": "thermal", "size": 0}, "a positive whole number"),
        ({"kind": "thermal", "size": None}, "wanted int"),
        ({"kind": "thermal", "low": 5.0}, "or both null"),
        ({"kind": "thermal", "low": 5.0, "high": 5.0}, "low < high"),
        ({"kind": "thermal", "resize": "crop"}, "letterbox"),
        ({"kind": "thermal", "normalise": "minmax"}, "robust"),
        ({"kind": "thermal", "percentiles": [99.0, 1.0]}, "0 <= low < high <= 100"),
        ({"kind": "thermal", "epsilon": 0}, "a positive number"),
        ({"kind": "thermal", "std": "1"}, "a finite number"),
        ({"kind": "depth", "near": 60.0}, "less than far"),
        ({"kind": "depth", "holes": "max"}, "nearest or far"),
        ({"kind": "depth", "focal": 0.0}, "a positive number"),
        ({"kind": "audio", "rate_hz": 100}, "whole hertz"),
        ({"kind": "audio", "clips": 0}, "a positive whole number"),
        ({"kind": "vision", "std": [1.0, 0.0, 1.0]}, "three positive numbers"),
        ({"kind": "text", "context": 2}, "a whole number >= 3"),
    ],
)
def test_wrong_dictionaries_get_one_line(config: Mapping[str, object], says: str) -> None:
    with pytest.raises(BundleError) as caught:
        preprocess.build(config)
    line = str(caught.value)
    assert line.startswith("manifest.json: preprocess: ")
    assert says in line
    assert "\n" not in line


def test_wrong_constants_in_code_are_option_errors() -> None:
    with pytest.raises(OptionError, match="size does not fit"):
        preprocess.ThermalPreprocessor(size=-1)


def test_unknown_modality() -> None:
    with pytest.raises(OptionError, match="unknown modality"):
        preprocess.for_imagebind("lidar")


def test_preprocessors_are_frozen_and_hashable() -> None:
    for original in EXAMPLES.values():
        hash(original)
        with pytest.raises(AttributeError):
            original.kind = "other"  # type: ignore[attr-defined]


def test_import_brings_numpy_and_nothing_heavy() -> None:
    """Pillow, PyAV, ftfy and the tokenizer load on first use; torch and scipy never."""
    heavy = ("torch", "torchvision", "torchaudio", "scipy", "onnx", "PIL", "av", "ftfy", "instant_clip_tokenizer")
    code = f"import sys, edgebind.preprocess; print([name for name in {heavy} if name in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"
