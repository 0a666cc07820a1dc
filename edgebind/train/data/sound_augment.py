"""How another microphone, elsewhere in the room, would have heard the same: in the wave, before any preprocessing.

    another moment -> noise of the room -> distance and amplifier -> a band that is lost -> full scale -> a stretch that is lost

Nothing is stretched or shifted in pitch: a slower or deeper sound is another sound. A band and a stretch that are silent are to
the log-mel what the frequency and time masks of SpecAugment are (Park et al. 2019), and every tower that hears them agrees on where.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgebind.errors import OptionError
from edgebind.preprocess.audio import LOW_HZ
from edgebind.train import limits

Wave = NDArray[Any]
LEAST_S = 0.1
"""So much is never cut away: a filter bank needs 25 ms."""


@dataclass(frozen=True)
class SoundAugment:
    """Probabilities and strengths for a sound at full scale."""

    crop: float = 0.0
    """Largest share of the time that may be cut away, at both ends together. Beside a video or a movement nothing is cut."""
    gain_db: float = 0.0
    """Standard deviation of the loudness, decibels."""
    noise: float = 0.0
    """Probability of noise, anything from white to pink..."""
    snr_db: tuple[float, ...] = (10.0, 40.0)
    """...so many decibels below the sound: a range."""
    masked_band: float = 0.0
    """Largest share of the mel scale that is silent."""
    masked_time: float = 0.0
    """Largest share of the time that is silent."""

    def __post_init__(self) -> None:
        for name in ("crop", "masked_band", "masked_time"):
            limits.share(f"augment.{name}", getattr(self, name), whole=False)
        limits.share("augment.noise", self.noise)
        limits.at_least("augment.gain_db", self.gain_db, 0)
        if len(self.snr_db) != 2 or not -math.inf < self.snr_db[0] <= self.snr_db[1] < math.inf:
            wanted = "two numbers, low <= high"
            raise OptionError("augment.snr_db is no range", where="recipe", wanted=wanted, got=list(self.snr_db))


@dataclass(frozen=True)
class Microphone:
    """An imagined microphone."""

    how: SoundAugment
    rate_hz: float

    def hear(self, wave: Wave, rng: np.random.Generator, *, in_time: bool) -> Wave:
        """(n,) or (channels, n) at full scale -> the same sound elsewhere, as floats of the same kind.

        Parameters
        ----------
        in_time: what happens beside the sound happens at the same time, so that nothing may be cut off.
        """
        if self.how == SoundAugment() or wave.dtype.kind != "f":
            return wave  # counts are refused by preprocessing
        part = wave if in_time else self._moment(wave, rng)
        heard = self._noisy(part.astype(np.float64), rng)
        heard *= 10 ** (rng.normal(0, self.how.gain_db) / 20)
        heard = self._without_band(heard, rng)
        # What is too loud for an amplifier is cut off at full scale, unless the sound was beyond it before.
        loudest = max(1.0, float(np.abs(part).max(initial=0.0)))
        np.clip(heard, -loudest, loudest, out=heard)
        self._interrupt(heard, rng)
        return heard.astype(wave.dtype)

    def _moment(self, wave: Wave, rng: np.random.Generator) -> Wave:
        length = wave.shape[-1]
        kept = max(round(length * (1 - self.how.crop * rng.random())), min(length, round(LEAST_S * self.rate_hz)))
        first = int(rng.integers(length - kept + 1))
        return wave[..., first : first + kept]

    def _noisy(self, wave: Wave, rng: np.random.Generator) -> Wave:
        if rng.random() >= self.how.noise:
            return wave
        noise, (low, high) = _coloured(wave.shape, rng.random(), rng), self.how.snr_db
        level = math.sqrt(float(np.square(wave).mean())) * 10 ** (-rng.uniform(low, high) / 20)
        return wave + noise * level

    def _without_band(self, wave: Wave, rng: np.random.Generator) -> Wave:
        if not self.how.masked_band:
            return wave
        width = self.how.masked_band * rng.random()
        low = rng.random() * (1 - width)
        bottom, top = (self._hertz(share) for share in (low, low + width))
        spectrum, length = np.fft.rfft(wave, axis=-1), wave.shape[-1]
        hertz = np.fft.rfftfreq(length, 1 / self.rate_hz)
        spectrum[..., (hertz >= bottom) & (hertz < top)] = 0
        return np.fft.irfft(spectrum, length, axis=-1)

    def _hertz(self, share: float) -> float:
        """A place on HTK's mel scale: 0 is where the filter bank begins, 1 is half the rate."""
        low, high = (math.log1p(hertz / 700) for hertz in (LOW_HZ, self.rate_hz / 2))
        return 700 * math.expm1(low + share * (high - low))

    def _interrupt(self, wave: Wave, rng: np.random.Generator) -> None:
        if self.how.masked_time:
            length = wave.shape[-1]
            lost = int(length * self.how.masked_time * rng.random())
            first = int(rng.integers(length - lost + 1))
            wave[..., first : first + lost] = 0


def _coloured(shape: tuple[int, ...], pink: float, rng: np.random.Generator) -> Wave:
    """Noise of that shape and a mean square of 1, whose power falls with frequency ** pink: 0 is white, 1 pink."""
    spectrum = np.fft.rfft(rng.standard_normal(shape), axis=-1)
    spectrum *= np.maximum(np.arange(spectrum.shape[-1]), 1) ** (-pink / 2)
    noise = np.fft.irfft(spectrum, shape[-1], axis=-1)
    return noise / math.sqrt(max(float(np.square(noise).mean()), 1e-300))
