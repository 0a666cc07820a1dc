"""Sound -> log-mel pictures as the audio tower reads them, in NumPy alone.

Kaldi's filter bank and a windowed-sinc resampler stand here so that a device needs neither torch nor torchaudio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from edgebind.errors import OptionError, RecordingError
from edgebind.preprocess import checks, config
from edgebind.preprocess.waves import read_wave

__all__ = ["AudioPreprocessor", "fbank", "read_wave", "resample_windowed_sinc"]

Floats = NDArray[np.float32]

FRAME_MS, SHIFT_MS = 25, 10
LOW_HZ = 20.0
PREEMPHASIS = 0.97

FLOOR = float(np.finfo(np.float32).eps)
"""Kaldi's: the logarithm of silence is -15.94."""

LOUDEST = 16.0
"""Times full scale; more are 16-bit counts that nobody divided by 32768."""


@dataclass(frozen=True)
class AudioPreprocessor:
    """Sound -> `clips` clips, uniformly placed -> mean removed -> Kaldi filter bank -> `(x - mean) / std`.

    The defaults are ImageBind's. The clips start evenly from 0 to the sound's length minus one clip, as pytorchvideo's
    ConstantClipsPerVideoSampler places them; a sound no longer than one clip gives the same clip each time. Frames that
    a short sound lacks are zeros of the log-mel, before `mean` and `std`.
    """

    kind: str = field(default="audio", init=False)
    rate_hz: int = 16000
    """Hertz, of the samples given; `resample_windowed_sinc` brings them there."""
    clips: int = 3
    clip_seconds: float = 2.0
    mel_bins: int = 128
    frames: int = 204
    """Of 10 ms; the log-mel is cut or padded to so many."""
    mean: float = -4.268
    """Of the log-mel: the published constants are (x + 4.268) / 9.138."""
    std: float = 9.138

    def __post_init__(self) -> None:
        for name in ("rate_hz", "clips", "mel_bins", "frames"):
            value = getattr(self, name)
            config.demand(config.is_size(value) or name == "rate_hz", name, "a positive whole number", value)
        config.demand(_is_rate(self.rate_hz) and self.rate_hz >= 1000, "rate_hz", "whole hertz, >= 1000", self.rate_hz)
        for name in ("clip_seconds", "std"):
            value = getattr(self, name)
            config.demand(config.is_real(value) and value > 0, name, "a positive number", value)
        config.demand(config.is_real(self.mean), "mean", "a finite number", self.mean)

    def __call__(self, samples: NDArray[Any]) -> Floats:
        """(n,) or (channels, n) at full scale ±1 and `rate_hz` -> float32 (clips, 1, mel_bins, frames).

        The mean is removed over all channels together, then the first one is heard: ImageBind's way.

        Raises
        ------
        RecordingError: another shape, counts instead of full scale, NaN, or less than 25 ms.
        """
        wave = _as_channels(samples, self.rate_hz * FRAME_MS // 1000)
        spans = self._spans(wave.shape[1])
        # A live window is exactly one clip long: its three clips are one and the same, computed once.
        pictures = {span: self._picture(wave[:, slice(*span)]) for span in set(spans)}
        return np.stack([pictures[span] for span in spans])

    def _spans(self, length: int) -> list[tuple[int, int]]:
        """Start and stop of each clip, samples. In fractions of the float64 duration: no start is off by one."""
        clip = Fraction(self.clip_seconds)
        latest = max(Fraction(length / self.rate_hz) - clip, Fraction(0))
        starts = [latest * number / max(self.clips - 1, 1) for number in range(self.clips)]
        return [(int(start * self.rate_hz), int((start + clip) * self.rate_hz)) for start in starts]

    def _picture(self, clip: Floats) -> Floats:
        centred = clip - clip.mean(dtype=np.float64).astype(np.float32)
        mel = fbank(centred[0], self.rate_hz, self.mel_bins)[: self.frames]
        padded = np.zeros((self.mel_bins, self.frames), np.float32)
        padded[:, : len(mel)] = mel.T
        scaled: Floats = (padded - np.float32(self.mean)) / np.float32(self.std)
        return scaled[None]

    def to_dict(self) -> dict[str, object]:
        """The `preprocess` dictionary of a manifest."""
        return config.to_dict(self)


def _as_channels(samples: object, shortest: int) -> Floats:
    wave = checks.numeric(samples, "sound")
    if wave.ndim == 1:
        wave = wave[None]
    if wave.ndim != 2:
        raise RecordingError("sound has another shape", wanted="(n,) or (channels, n)", got=wave.shape)
    if wave.shape[0] > wave.shape[1] or wave.shape[1] < shortest:
        raise RecordingError(
            "sound has another shape or is too short",
            wanted=f"(channels, n) with n >= {shortest} samples",
            got=wave.shape,
        )
    loudest = float(np.abs(checks.finite(wave, "sound")).max())
    if wave.dtype.kind != "f" or loudest > LOUDEST:
        raise RecordingError(
            "sound is not at full scale",
            wanted="float, ±1",
            got=f"{wave.dtype} up to {loudest:g}",
            remedy="divide 16-bit counts by 32768",
        )
    return wave.astype(np.float32, copy=False)


# --- filter bank ------------------------------------------------------------------------------------------------------


def fbank(wave: Floats, rate_hz: int = 16000, mel_bins: int = 128) -> Floats:
    """Kaldi's log-mel filter bank of `wave` (n,): float32 (1 + (n - 400) // 160, mel_bins) at 16 kHz.

    `compute-fbank-feats --window-type=hanning --dither=0 --use-energy=false --htk-compat=true --snip-edges=true`: 25 ms
    frames every 10 ms, each without its mean, pre-emphasis 0.97, symmetric Hann window, zero-padded to a power of two,
    power spectrum, triangles on the mel scale from 20 Hz to Nyquist, natural logarithm. `wave` has at least 25 ms.
    """
    length, shift = rate_hz * FRAME_MS // 1000, rate_hz * SHIFT_MS // 1000
    frames = sliding_window_view(wave, length)[::shift]
    frames = frames - frames.mean(axis=1, keepdims=True)
    # The sample before the first is taken to equal it: x[0] - 0.97 x[0].
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    windowed = (frames - np.float32(PREEMPHASIS) * before) * np.hanning(length).astype(np.float32)
    size = 1 << (length - 1).bit_length()
    spectrum = np.fft.rfft(windowed, n=size)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    energy: Floats = np.maximum(power @ _mel_triangles(rate_hz, size, mel_bins), np.float32(FLOOR))
    return np.log(energy)


@lru_cache(maxsize=8)
def _mel_triangles(rate_hz: int, size: int, mel_bins: int) -> Floats:
    """(size / 2 + 1, mel_bins): weight of each frequency in each mel bin. Nyquist weighs nothing, as in Kaldi."""
    corners = np.linspace(_mel(np.float64(LOW_HZ)), _mel(np.float64(rate_hz / 2)), mel_bins + 2)
    left, centre, right = corners[:-2], corners[1:-1], corners[2:]
    mel = _mel(np.arange(size // 2 + 1) * rate_hz / size)[:, None]
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights[-1] = 0.0
    return weights.astype(np.float32)


def _mel(hertz: NDArray[np.float64]) -> NDArray[np.float64]:
    """HTK's mel scale in Kaldi's form."""
    return np.asarray(1127.0 * np.log1p(hertz / 700.0))


# --- resampling -------------------------------------------------------------------------------------------------------

WIDTH = 6
"""Zero crossings of the sinc on each side."""

ROLLOFF = 0.99
"""Cut-off, as a share of the lower of the two Nyquist frequencies."""

_BLOCK = 1 << 15


def resample_windowed_sinc(wave: NDArray[Any], from_rate: int, to_rate: int) -> Floats:
    """`wave` (n,) or (channels, n) at `from_rate` hertz -> float32 (..., ceil(n * to_rate / from_rate)) at `to_rate`.

    Band-limited interpolation with a Hann-windowed sinc (J. O. Smith, "Digital audio resampling"), with the constants
    of ImageBind's reference preprocessing: each output is the sum of the inputs within six zero crossings, weighted by
    sinc(t) cos²(πt / 12) · f, where t is the distance in crossings and f = 0.99 · min(rates) / from_rate.

    Raises
    ------
    OptionError: a rate that is no positive whole number.
    RecordingError: another shape, nothing in it, NaN.
    """
    for name, rate in (("from_rate", from_rate), ("to_rate", to_rate)):
        config.demand(_is_rate(rate), name, "positive whole hertz", rate)
    samples = checks.finite(checks.numeric(wave, "sound"), "sound")
    if samples.ndim not in (1, 2):
        raise RecordingError("sound has another shape", wanted="(n,) or (channels, n)", got=samples.shape)
    ratio = Fraction(int(to_rate), int(from_rate))
    return _interpolate(samples, ratio.denominator, ratio.numerator) if ratio != 1 else samples.copy()


def _is_rate(rate: object) -> bool:
    return isinstance(rate, (int, np.integer)) and not isinstance(rate, bool) and 0 < int(rate) <= 10_000_000


def _interpolate(samples: Floats, old: int, new: int) -> Floats:
    """Resample by `new` / `old`, which have no common divisor. Output i stands at input i * old / new."""
    count = -(-samples.shape[-1] * new // old)
    reach, taps = _taps(old, new, min(count, new))
    sides = [(0, 0)] * (samples.ndim - 1) + [(reach, reach + old + 2)]
    windows = sliding_window_view(np.pad(samples, sides), taps.shape[1], axis=-1)
    output = np.empty((*samples.shape[:-1], count), np.float32)
    for start in range(0, count, _BLOCK):
        index = np.arange(start, min(start + _BLOCK, count))
        # int64 all the way: i * old passes 2³¹ after some seconds.
        near = windows[..., index * old // new, :]
        output[..., index] = np.einsum("...nt,nt->...n", near, taps[index % new])
    return output


def _taps(old: int, new: int, phases: int) -> tuple[int, Floats]:
    """Inputs to each side that an output reaches, and the weights (phases, taps) of output 0, 1, ... new - 1."""
    cutoff = min(old, new) * ROLLOFF
    reach = math.ceil(WIDTH * old / cutoff)
    if phases * (2 * reach + 2) > 1 << 26:
        raise OptionError("rates have no small ratio", wanted="e.g. 44100 -> 16000", got=f"{old} : {new}")
    phase = np.arange(phases)[:, None]
    inputs = phase * old // new + np.arange(-reach, reach + 2)
    # float32 on purpose: the reference rounds its kernel so. Exact weights (4e-6 away) miss its log-mel by 0.004 in the
    # quietest bins; these by 0.0003.
    distance = inputs.astype(np.float32) / np.float32(old) - phase.astype(np.float32) / np.float32(new)
    crossings = np.clip(distance * np.float32(cutoff), -WIDTH, WIDTH)
    window = np.cos(crossings * np.float32(np.pi / (2 * WIDTH))) ** 2
    taps: Floats = np.sinc(crossings) * window * np.float32(cutoff / old)
    return reach, taps
