from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from scipy import signal

from edgebind import preprocess
from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess import AudioPreprocessor, audio

RNG = np.random.default_rng(0)


def test_the_reference_picture_of_a_dog(shared: Path) -> None:
    wave, rate = audio.read_wave(shared / "data/imagebind_assets/dog_audio.wav")
    assert (wave.shape, rate) == ((2, 115110), 44100)
    output = preprocess.for_imagebind("audio")(audio.resample_windowed_sinc(wave, rate, 16000))
    expected = np.load(shared / "parity/audio_mel_dog.npz")["expected"]
    assert output.shape == (3, 1, 128, 204)
    np.testing.assert_allclose(output, expected, atol=1e-3)


# --- filter bank ------------------------------------------------------------------------------------------------------


def kaldi(wave: np.ndarray, rate: int, bins: int) -> np.ndarray:
    knf = pytest.importorskip("kaldi_native_fbank")
    options = knf.FbankOptions()
    options.frame_opts.samp_freq = rate
    options.frame_opts.dither = 0
    options.frame_opts.window_type = "hanning"
    options.frame_opts.snip_edges = True
    options.mel_opts.num_bins = bins
    options.mel_opts.low_freq, options.mel_opts.high_freq = 20, 0
    options.use_energy, options.htk_compat = False, True
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(rate, wave.tolist())
    bank.input_finished()
    return np.stack([bank.get_frame(i) for i in range(bank.num_frames_ready)])


@pytest.mark.parametrize(("rate", "bins"), [(16000, 64), (16000, 40), (8000, 40), (44100, 128)])
def test_filter_bank_equals_kaldi(rate: int, bins: int) -> None:
    seconds = np.arange(rate) / rate
    wave = 0.3 * np.sin(2 * np.pi * 440 * seconds) + 0.05 * RNG.normal(size=rate) + 0.1
    sound: np.ndarray = wave.astype(np.float32)
    np.testing.assert_allclose(audio.fbank(sound, rate, bins), kaldi(sound, rate, bins), atol=2e-3)


def test_128_bins_at_16_khz_equal_the_definition() -> None:
    """Kaldi itself refuses 128 bins here, since some narrow ones hold no frequency; ImageBind's port does not."""
    wave = RNG.normal(0, 0.1, 720)
    bank = np.zeros((257, 128))
    low, high = 1127 * math.log(1 + 20 / 700), 1127 * math.log(1 + 8000 / 700)
    step = (high - low) / 129
    for frequency in range(256):
        mel = 1127 * math.log(1 + frequency * 31.25 / 700)
        for mel_bin in range(128):
            bank[frequency, mel_bin] = max(0.0, 1 - abs(mel - low - (mel_bin + 1) * step) / step)
    for number in range(3):
        frame = wave[160 * number : 160 * number + 400] - wave[160 * number : 160 * number + 400].mean()
        sharp = np.array([frame[i] - 0.97 * frame[max(i - 1, 0)] for i in range(400)])
        power = np.abs(np.fft.fft(sharp * signal.windows.hann(400, sym=True), 512)[:257]) ** 2
        expected = np.log(np.maximum(power @ bank, 2.0**-23))
        np.testing.assert_allclose(audio.fbank(wave.astype(np.float32))[number], expected, atol=1e-3)


def test_filter_bank_shape_and_silence() -> None:
    """A second frame needs 160 samples more: 1 + (n - 400) // 160."""
    for samples, frames in ((400, 1), (559, 1), (560, 2), (32000, 198)):
        assert audio.fbank(np.zeros(samples, np.float32)).shape == (frames, 128)
    np.testing.assert_allclose(audio.fbank(np.zeros(400, np.float32)), math.log(2.0**-23), rtol=1e-6)


def test_a_tone_lights_its_own_mel_bin() -> None:
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000).astype(np.float32)
    low, high, at = (1127 * math.log(1 + hertz / 700) for hertz in (20, 8000, 1000))
    expected = (at - low) / (high - low) * 129 - 1
    assert abs(audio.fbank(tone).mean(axis=0).argmax() - expected) <= 1


# --- clips ------------------------------------------------------------------------------------------------------------


def test_clips_start_evenly() -> None:
    """10 s at 16 kHz, three clips of 2 s: 0-2 s, 4-6 s, 8-10 s."""
    assert AudioPreprocessor()._spans(160_000) == [(0, 32_000), (64_000, 96_000), (128_000, 160_000)]
    assert AudioPreprocessor(clips=1)._spans(160_000) == [(0, 32_000)]
    assert AudioPreprocessor()._spans(20_000) == [(0, 32_000)] * 3


def test_clips_are_pictures_of_their_own_stretch() -> None:
    wave = RNG.normal(0, 0.1, 160_000).astype(np.float32)
    three, one = AudioPreprocessor(), AudioPreprocessor(clips=1)
    output = three(wave)
    for clip, start in enumerate((0, 64_000, 128_000)):
        np.testing.assert_array_equal(output[clip], one(wave[start : start + 32_000])[0])


def test_a_window_of_one_clip_gives_it_three_times() -> None:
    output = AudioPreprocessor()(RNG.normal(0, 0.1, (1, 32_000)).astype(np.float32))
    np.testing.assert_array_equal(output[0], output[1])
    np.testing.assert_array_equal(output[0], output[2])


def test_short_sounds_are_padded_with_zero_log_mel() -> None:
    """One second has 98 frames; behind them stands (0 + 4.268) / 9.138."""
    output = AudioPreprocessor()(RNG.normal(0, 0.1, 16_000).astype(np.float32))
    np.testing.assert_allclose(output[..., 98:], 4.268 / 9.138, rtol=1e-6)
    assert (output[..., :98] != output[0, 0, 0, 203]).all()


def test_mean_of_both_channels_is_removed_from_the_first() -> None:
    """The fbank removes each frame's mean itself, so the picture must not depend on the other channel's offset."""
    left, right = RNG.normal(0, 0.1, (2, 32_000)).astype(np.float32)
    alone = AudioPreprocessor()(left)
    np.testing.assert_allclose(AudioPreprocessor()(np.stack([left, right + 0.5])), alone, atol=0.02)
    assert np.abs(AudioPreprocessor()(np.stack([right, left])) - alone).max() > 0.1


@pytest.mark.parametrize(
    ("wave", "says"),
    [
        (np.zeros(399, np.float32), "n >= 400"),
        (np.zeros((32_000, 2), np.float32), "wanted (channels, n)"),
        (np.zeros((1, 1, 32_000), np.float32), "wanted (n,) or (channels, n)"),
        (np.zeros(32_000, np.int16), "divide 16-bit counts"),
        (np.full(32_000, 12_000.0), "divide 16-bit counts"),
        (np.full(32_000, np.nan), "NaN or infinity"),
        (np.zeros((1, 0)), "is empty"),
    ],
)
def test_wrong_sounds_get_one_line(wave: np.ndarray, says: str) -> None:
    with pytest.raises(RecordingError) as caught:
        preprocess.for_imagebind("audio")(wave)
    assert says in str(caught.value)


# --- resampling -------------------------------------------------------------------------------------------------------


def definition(wave: np.ndarray, old: int, new: int) -> np.ndarray:
    """The sum over every input, written as the formula stands, in float64 and without any table."""
    divisor = math.gcd(old, new)
    old, new = old // divisor, new // divisor
    cutoff = min(old, new) * 0.99
    output = []
    for i in range(-(-len(wave) * new // old)):
        t = np.clip((np.arange(len(wave)) / old - i / new) * cutoff, -6, 6)
        output.append(float(np.sum(wave * np.sinc(t) * np.cos(np.pi * t / 12) ** 2) * cutoff / old))
    return np.array(output)


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (48000, 16000), (8000, 16000), (22050, 16000), (7, 5)])
def test_resampling_equals_its_definition(old: int, new: int) -> None:
    wave = RNG.normal(0, 0.2, 700)
    output = audio.resample_windowed_sinc(wave, old, new)
    assert output.dtype == np.float32
    np.testing.assert_allclose(output, definition(wave, old, new), atol=2e-5)


def test_resampling_agrees_with_scipy_on_a_tone() -> None:
    tone = np.sin(2 * np.pi * 700 * np.arange(44100) / 44100)
    ours, theirs = audio.resample_windowed_sinc(tone, 44100, 16000), signal.resample_poly(tone, 160, 441)
    assert ours.shape == theirs.shape == (16000,)
    np.testing.assert_allclose(ours[200:-200], theirs[200:-200], atol=5e-3)
    truth = np.sin(2 * np.pi * 700 * np.arange(16000) / 16000)
    np.testing.assert_allclose(ours[200:-200], truth[200:-200], atol=2e-3)


def test_resampling_does_not_alias() -> None:
    """12 kHz cannot live at 16 kHz; taking every third sample would turn it into 4 kHz at full strength. Here 54 dB are left of it."""
    tone = np.sin(2 * np.pi * 12000 * np.arange(48000) / 48000)
    assert np.abs(audio.resample_windowed_sinc(tone, 48000, 16000)[100:-100]).max() < 2e-3


def test_resampling_works_in_blocks_and_by_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    wave = RNG.normal(0, 0.2, (2, 5000)).astype(np.float32)
    whole = audio.resample_windowed_sinc(wave, 44100, 16000)
    monkeypatch.setattr(audio, "_BLOCK", 97)
    np.testing.assert_array_equal(audio.resample_windowed_sinc(wave, 44100, 16000), whole)
    np.testing.assert_array_equal(audio.resample_windowed_sinc(wave[1], 44100, 16000), whole[1])


def test_equal_rates_give_a_copy() -> None:
    wave = np.ones(8, np.float32)
    output = audio.resample_windowed_sinc(wave, 16000, 16000)
    output[:] = 2
    assert (wave == 1).all()


def test_wrong_rates_and_waves() -> None:
    for rates in ((0, 16000), (44100.5, 16000), (44100, -1), (True, 16000)):
        with pytest.raises(OptionError, match="positive whole hertz"):
            audio.resample_windowed_sinc(np.zeros(9), *rates)
    with pytest.raises(OptionError, match="no small ratio"):
        audio.resample_windowed_sinc(np.zeros(9_999_991, np.float32), 9_999_991, 9_999_973)
    with pytest.raises(RecordingError, match="wanted"):
        audio.resample_windowed_sinc(np.zeros((1, 1, 9)), 2, 1)
