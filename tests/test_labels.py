"""Probabilities of prompts, and banks that are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from edgebind import labels
from edgebind.errors import BundleError, OptionError
from edgebind.labels import LabelBank


def _bank(prompts: int = 3, dim: int = 8) -> LabelBank:
    vectors = np.random.default_rng(0).normal(size=(prompts, dim)).astype(np.float32)
    return LabelBank(tuple(f"p{n}" for n in range(prompts)), vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def test_probabilities_are_a_softmax_of_scaled_cosines() -> None:
    bank = _bank()
    vectors = bank.embeddings[::-1]
    expected = softmax(20 * vectors @ bank.embeddings.T, axis=1)
    np.testing.assert_allclose(bank.probabilities(vectors, 20.0), expected, rtol=1e-5)


def test_probabilities_survive_the_largest_scale() -> None:
    odds = _bank().probabilities(_bank().embeddings, 1000.0)
    assert np.isfinite(odds).all()
    np.testing.assert_allclose(odds, np.eye(3), atol=1e-6)


def test_an_empty_bank_names_nothing() -> None:
    assert LabelBank.empty(8).probabilities(_bank().embeddings, 10.0).shape == (3, 0)


def test_a_bank_comes_back_from_disk_as_it_went(tmp_path: Path) -> None:
    bank = LabelBank(("läuft", "a person walking"), _bank(2).embeddings)
    bank.to_npz(tmp_path / "bank.npz")
    again = labels.read(tmp_path / "bank.npz", 8)
    assert again.prompts == bank.prompts
    np.testing.assert_array_equal(again.embeddings, bank.embeddings)


def test_a_bank_of_another_space_is_refused(tmp_path: Path) -> None:
    _bank().to_npz(tmp_path / "bank.npz")
    with pytest.raises(BundleError, match="another space"):
        labels.read(tmp_path / "bank.npz", 384)
    replace(_bank(), space="imagebind").to_npz(tmp_path / "named.npz")
    with pytest.raises(BundleError, match=r"another space \(wanted 'starter', got 'imagebind'\)"):
        labels.read(tmp_path / "named.npz", 8, "starter")


def test_a_bank_of_older_make_is_still_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "old.npz", prompts=np.array(["a"]), embeddings=np.eye(1, 8, dtype=np.float32))
    bank = labels.read(tmp_path / "old.npz", 8, "starter")
    assert (bank.space, bank.logit_scale) == ("starter", 1.0)


def test_the_same_bank_is_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one.npz", "two.npz"):
        replace(_bank(), space="starter").to_npz(tmp_path / name)
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), 1e9])
def test_a_scale_that_cannot_be_is_refused(scale: float, tmp_path: Path) -> None:
    np.savez(tmp_path / "odd.npz", prompts=np.array(["a"]), embeddings=np.eye(1), logit_scale=scale)
    with pytest.raises(BundleError, match="not a label bank"):
        labels.read(tmp_path / "odd.npz")


def test_a_bank_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such label bank"):
        labels.read(tmp_path / "absent.npz")
    (tmp_path / "noise.npz").write_bytes(b"noise")
    with pytest.raises(BundleError, match="not a label bank"):
        labels.read(tmp_path / "noise.npz")
    np.savez(tmp_path / "other.npz", a=np.arange(3))
    with pytest.raises(BundleError, match="not a label bank"):
        labels.read(tmp_path / "other.npz")


def test_a_pickle_in_disguise_is_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "evil.npz", prompts=np.array([{"code": 1}], dtype=object), embeddings=np.eye(1))
    with pytest.raises(BundleError, match="not a label bank"):
        labels.read(tmp_path / "evil.npz")


def test_vectors_that_are_no_unit_vectors_are_refused(tmp_path: Path) -> None:
    LabelBank(("a",), np.full((1, 4), 3.0, np.float32)).to_npz(tmp_path / "long.npz")
    with pytest.raises(BundleError, match="unit vectors"):
        labels.read(tmp_path / "long.npz")


def test_each_prompt_needs_a_vector() -> None:
    with pytest.raises(OptionError, match="one vector a prompt"):
        LabelBank(("a", "b"), np.eye(1, dtype=np.float32))


def test_a_class_is_the_mean_of_its_prompts_at_unit_length() -> None:
    vectors = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], np.float32)
    found = labels.class_vectors(vectors, [("a", "b"), ("c",)])
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5, 0], [0, 0, 1]], atol=1e-6)
