"""Sound files: WAV, and through PyAV what FFmpeg can read, at the bundle's rate."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edgebind.closing import Closing
from edgebind.errors import EdgebindError, OptionError
from edgebind.manifest import WindowSpec
from edgebind.signals import NANOSECONDS, Chunk, Floats
from edgebind.sources.cutting import even_times, pieces

SUFFIXES = (".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".m4a", ".aac", ".aif", ".aiff")


class SoundSource(Closing):
    """A recording in a sound file, with all its channels; sample k is at k / rate."""

    modality = "audio"

    def __init__(
        self, path: Path, spec: WindowSpec, *, rate_hz: float | None = None, chunk_seconds: float = 0.02
    ) -> None:
        """Replay `path`, resampled to the rate of `spec`.

        Parameters
        ----------
        rate_hz: what the user says; a sound file knows its rate, so another one is refused.
        chunk_seconds: how much sound a chunk holds.
        """
        self.path = path
        self.name = str(path)
        self._rate_hz = rate_hz
        self._rate = round(spec.rate_hz)
        self._chunk = max(1, round(chunk_seconds * NANOSECONDS))

    def __iter__(self) -> Iterator[Chunk]:
        samples = self._read().T
        yield from pieces(even_times(0, len(samples), self._rate), samples, self._chunk, self.name)

    def _read(self) -> Floats:
        """(channels, n) at the bundle's rate."""
        from edgebind.preprocess.audio import resample_windowed_sinc
        from edgebind.preprocess.waves import read_wave

        wave, rate = read_wave(self.path)
        if self._rate_hz is not None and self._rate_hz != rate:
            raise OptionError(
                "--rate contradicts the sound file",
                where=self.path,
                wanted=f"{rate} Hz",
                got=f"{self._rate_hz:g} Hz",
                remedy="leave --rate out",
            )
        try:
            return resample_windowed_sinc(wave, rate, self._rate)
        except EdgebindError as error:
            raise error.at(self.path) from error


def is_sound(path: Path) -> bool:
    """Whether the name is that of a sound file."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")
