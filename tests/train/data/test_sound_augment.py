"""What an imagined microphone does to a sound: each constant what it says, heard by SciPy and by the tower's own preprocessing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import signal

from edgebind.errors import OptionError
from edgebind.preprocess.audio import AudioPreprocessor
from edgebind.train.data import aligned, pairs
from edgebind.train.data.aligned import ALONE, Together
from edgebind.train.recipe import Node
from tests.train.data.test_pairs import as_it_is

RATE = 16000
Wave = NDArray[Any]


def _noise(seconds: float = 2.0, channels: int = 1) -> Wave:
    return (0.1 * np.random.default_rng(0).standard_normal((channels, round(seconds * RATE)))).astype(np.float32)


def _heard(wave: Wave, *, seed: int = 1, beside: Together = ALONE, **augment: Any) -> Wave:
    bend, _ = aligned.bender(Node("audio", "audio-s", augment=augment))
    before = wave.copy()
    heard: Wave = bend(wave, np.random.default_rng(seed), beside)
    np.testing.assert_array_equal(wave, before, err_msg="what is kept in memory is never changed")
    assert heard.dtype == wave.dtype
    return heard


def _decibels(power: float) -> float:
    return float(10 * np.log10(power))


def test_without_constants_nothing_changes() -> None:
    np.testing.assert_array_equal(_heard(_noise()), _noise())


def test_noise_lies_as_far_below_the_sound_as_it_says_and_is_white_to_pink() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(4 * RATE) / RATE).astype(np.float32)[None] / 4
    slopes = []
    for seed in range(12):
        added = (_heard(tone, seed=seed, noise=1.0, snr_db=[12.0, 12.0]) - tone).astype(np.float64)
        assert _decibels(np.square(tone).mean() / np.square(added).mean()) == pytest.approx(12, abs=0.01)
        hertz, power = signal.welch(added[0], RATE, nperseg=1024)
        slopes.append(np.polyfit(np.log(hertz[8:-8]), np.log(power[8:-8]), 1)[0])
    assert min(slopes) > -1.15 and max(slopes) < 0.15
    assert max(slopes) - min(slopes) > 0.4


def test_noise_comes_as_often_as_it_says_and_leaves_silence_alone() -> None:
    noisy = sum(bool((_heard(_noise(0.1), seed=seed, noise=0.3) != _noise(0.1)).any()) for seed in range(200))
    assert 40 < noisy < 80
    silence = np.zeros((1, RATE), np.float32)
    np.testing.assert_array_equal(_heard(silence, noise=1.0), silence)


def test_loudness_is_one_factor_in_decibels() -> None:
    wave, steps = _noise(0.2), []
    for seed in range(300):
        ratio = _heard(wave, seed=seed, gain_db=6.0) / wave
        np.testing.assert_allclose(ratio[np.abs(ratio * wave) < 0.999], np.median(ratio), rtol=1e-4)
        steps.append(20 * np.log10(np.median(ratio)))
    assert np.std(steps) == pytest.approx(6, rel=0.15) and abs(np.mean(steps)) < 1


def test_what_is_too_loud_is_cut_off_at_full_scale() -> None:
    loud = _noise() * 9
    assert max(np.abs(_heard(loud, seed=seed, gain_db=12.0)).max() for seed in range(8)) <= np.abs(loud).max() + 1e-6
    quiet = _noise()
    assert max(np.abs(_heard(quiet, seed=seed, gain_db=30.0)).max() for seed in range(20)) == 1


def test_a_masked_band_is_silent_and_all_else_as_loud_as_before() -> None:
    wave, widths = _noise(4), []
    before = signal.welch(wave[0], RATE, nperseg=2048)[1]
    for seed in range(20):
        hertz, after = signal.welch(_heard(wave, seed=seed, masked_band=0.4)[0], RATE, nperseg=2048)
        lost = np.flatnonzero(after < 1e-3 * before)
        if not len(lost):
            continue  # narrower than SciPy can see
        np.testing.assert_array_equal(np.diff(lost), 1)
        far = np.r_[: max(lost[0] - 3, 0), lost[-1] + 4 : len(hertz)]
        np.testing.assert_allclose(after[far], before[far], rtol=0.05)
        mel = 2595 * np.log10(
            1 + np.array([20, hertz[lost[0]], hertz[lost[-1]], RATE / 2]) / 700
        )  # O'Shaughnessy's form
        widths.append((mel[2] - mel[1]) / (mel[3] - mel[0]))
    assert 0.3 < max(widths) <= 0.4 and len(widths) > 12


def test_the_tower_sees_a_band_and_a_stretch_at_the_floor() -> None:
    prepare = AudioPreprocessor(clips=1)
    seen = prepare(_noise()) * prepare.std + prepare.mean
    masked = prepare(_heard(_noise(), seed=3, masked_band=0.5)) * prepare.std + prepare.mean
    dark = (seen - masked)[0, 0, :, :198].mean(axis=1) > 4  # 198 frames in 2 s
    assert 5 < dark.sum() < 64 and np.diff(np.flatnonzero(dark)).max() == 1
    gone = prepare(_heard(_noise(), seed=3, masked_time=0.5)) * prepare.std + prepare.mean
    np.testing.assert_allclose(gone[0, 0].min(axis=0)[gone[0, 0].max(axis=0) < -15], np.log(np.finfo(np.float32).eps))


def test_a_lost_stretch_is_silent_in_all_channels_and_the_rest_untouched() -> None:
    wave, lengths = _noise(1, channels=2), []
    for seed in range(30):
        heard = _heard(wave, seed=seed, masked_time=0.25)
        lost = np.flatnonzero((heard == 0).all(axis=0))
        lengths.append(len(lost) / RATE)
        kept = np.setdiff1d(np.arange(RATE), lost)
        np.testing.assert_array_equal(heard[:, kept], wave[:, kept])
        assert len(lost) == 0 or lost[-1] - lost[0] + 1 == len(lost)
    assert 0.2 < max(lengths) <= 0.25 and min(lengths) < 0.05


def test_a_crop_is_a_stretch_of_the_sound_and_long_enough_to_be_heard() -> None:
    ramp = np.arange(RATE, dtype=np.float32)[None] / RATE
    starts, lengths = [], []
    for seed in range(60):
        heard = _heard(ramp, seed=seed, crop=0.5)
        first = round(float(heard[0, 0]) * RATE)
        np.testing.assert_array_equal(heard, ramp[:, first : first + heard.shape[1]])
        starts.append(first / RATE)
        lengths.append(heard.shape[1] / RATE)
    assert 0.5 <= min(lengths) < 0.55 and max(lengths) > 0.95
    assert min(starts) < 0.02 and max(starts) > 0.35
    click = _noise(0.05)
    np.testing.assert_array_equal(_heard(click, crop=0.9), click)


@pytest.mark.parametrize(
    ("modality", "beside", "cut"),
    [
        ("vision", np.zeros((8, 8, 3), np.uint8), True),
        ("vision", np.zeros((1, 2, 8, 8, 3), np.uint8), False),  # a video
        ("imu", np.zeros((6, 200), np.float32), False),
        ("text", "rain", True),
    ],
)
def test_a_sound_is_never_cut_by_itself_beside_what_lasts(modality: str, beside: Any, cut: bool) -> None:
    audio = as_it_is("audio", Node("audio", "audio-s", augment={"crop": 0.5}))
    ends = pairs._Ends(as_it_is(modality, Node(modality, "any")), audio)
    lengths = {ends.bent((beside, _noise(1)), np.random.default_rng(seed))[1].shape[1] for seed in range(5)}
    assert (lengths != {RATE}) == cut


@pytest.mark.parametrize(
    ("augment", "says"),
    [
        ({"gian_db": 3.0}, r"unknown key 'augment\.gian_db' \(wanted crop, gain_db, noise"),
        ({"masked_band": 1.0}, r"augment\.masked_band does not fit .*0 to below 1"),
        ({"noise": 2.0}, r"augment\.noise does not fit .*0 to 1"),
        ({"gain_db": -1.0}, r"augment\.gain_db does not fit .*at least 0"),
        ({"snr_db": [20.0, 10.0]}, r"augment\.snr_db is no range .*low <= high"),
        ({"snr_db": 20.0}, r"key 'augment\.snr_db' has the wrong type"),
    ],
)
def test_a_microphone_that_cannot_be_is_one_clear_line(augment: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says) as caught:
        aligned.bender(Node("audio", "audio-s", augment=augment))
    assert "\n" not in str(caught.value)
