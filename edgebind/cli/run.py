"""`edgebind run`: stream a sensor, live or recorded, into the space."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from edgebind.cli import options
from edgebind.cli.options import Finite

if TYPE_CHECKING:
    from edgebind.bundle import Bundle
    from edgebind.drift import Detector
    from edgebind.labels import LabelBank
    from edgebind.sources.base import Source
    from edgebind.stream import Stream

SENSORS = {"imu": "IMU", "thermal": "thermal camera"}
"""Sensors of the starter space, as people call them."""


@click.command("run")
@click.option("--sensor", help="What to stream: imu or thermal. Without it: what --bundle is for, else imu.")
@click.option(
    "--bundle",
    "folder",
    type=click.Path(path_type=Path),
    help="Bundle to embed with. Without it: bundles/SENSOR-int8 here, else the one that edgebind brings.",
)
@click.option(
    "--source",
    "source_text",
    metavar="SPEC",
    help="Where samples come from: file:PATH, or rows:PATH of a pipe or serial line. Without it: a sensor.",
)
@click.option("--speed", metavar="X|max", help="Replay X times as fast as recorded, or without waiting.  [default: 1]")
@click.option(
    "--sink",
    "sink_texts",
    multiple=True,
    metavar="SPEC",
    help="Where embeddings go: stdout or jsonl:PATH; may be given again.  [default: stdout]",
)
@click.option("--no-embedding", is_flag=True, help="Leave the vectors out of JSON Lines.")
@click.option("--labels", "labels_file", type=click.Path(path_type=Path), help="NPZ of prompts from `edgebind labels`.")
@options.rate
@options.units
@click.option("--no-drift", is_flag=True, help="Do not compare the sensor with what its bundle was calibrated on.")
@click.option("--threads", type=click.IntRange(1, 256), help="Upper bound of CPU threads.")
@click.option(
    "--backend", default="auto", show_default=True, help="Where to run the encoder: tensorrt, onnxruntime ..."
)
@click.option("--duration", type=Finite(0, min_open=True), metavar="S", help="Stop after S seconds of signal.")
def command(
    sensor: str | None,
    folder: Path | None,
    source_text: str | None,
    speed: str | None,
    sink_texts: tuple[str, ...],
    no_embedding: bool,
    labels_file: Path | None,
    rate: float | None,
    units_text: str | None,
    no_drift: bool,
    threads: int | None,
    backend: str,
    duration: float | None,
) -> None:
    """Stream a sensor into the space and name what it sees.

    In a terminal the latest window is shown in one line; in a pipe every window is a line of JSON. A recording that
    turns out to be faulty ends the run with one line; what was embedded before the fault is kept. A sensor that no
    longer looks like what the bundle was calibrated on is told so in one line on standard error.

    \b
    edgebind run --sensor imu
    edgebind run --sensor imu --source file:walk.csv.gz --speed max --sink jsonl:walk.jsonl
    edgebind run --sensor imu --source rows:/dev/ttyACM0@115200
    """
    from edgebind.sources import units
    from edgebind.sources.pacing import parse_speed

    for text in sink_texts:
        options.require_other(Path(text.removeprefix("jsonl:")), (source_text or "").removeprefix("file:"), labels_file)
    factor = parse_speed(speed if speed is not None else "1")
    said = units.parse(units_text) if units_text is not None else None
    with _bundle(sensor, folder, backend=backend, threads=threads) as bundle:
        bank = _bank(labels_file, bundle)
        _ = bundle.backend  # loaded before the first sample comes, so that the first window does not wait for it
        source = _source(bundle, source_text, factor, rate, said)
        shown = sink_texts or ("stdout",)
        _stream(bundle, source, bank, shown, factor, duration, embedding=not no_embedding, drift=not no_drift)


def _bundle(sensor: str | None, folder: Path | None, *, backend: str, threads: int | None) -> Bundle:
    """The bundle that was asked for, or the nearest one of the starter space."""
    from edgebind import bundle as bundles
    from edgebind import modality, starter
    from edgebind.errors import OptionError

    wanted = modality.get(sensor).name if sensor is not None else None
    if folder is None:
        name = wanted or "imu"
        if name not in starter.MODALITIES:
            raise OptionError(f"edgebind brings no bundle of {name}", wanted="--bundle DIR")
        here = Path("bundles") / f"{name}-int8"
        folder = here if here.is_dir() else starter.folder(name, "int8")
    bundle = bundles.load(folder, backend=backend, threads=threads)
    if wanted is not None and bundle.manifest.modality != wanted:
        raise OptionError("--sensor and --bundle differ", where=folder, wanted=wanted, got=bundle.manifest.modality)
    return bundle


def _bank(path: Path | None, bundle: Bundle) -> LabelBank | None:
    if path is None:
        return None
    from edgebind import labels

    return labels.read(path, bundle.manifest.dim, bundle.manifest.space)


def _source(bundle: Bundle, text: str | None, speed: float, rate: float | None, said: object) -> Source:
    """The source that was asked for; without one the shipped recording, since no sensor is found by itself yet."""
    from edgebind import sources, starter
    from edgebind.sources.pacing import AT_ONCE, Paced
    from edgebind.sources.units import Units

    modality, spec = bundle.manifest.modality, bundle.manifest.window
    recording = text or f"file:{_demo(modality)}"
    if text is None:
        rate = rate or starter.DEMO_RATE_HZ.get(modality)
        pace = (
            "at full speed" if speed == AT_ONCE else "in real time" if speed == 1 else f"at {speed:g} times its speed"
        )
        click.echo(f"edgebind: {_no_sensor(modality)}; replaying the shipped {Path(recording).name} {pace}", err=True)
    wanted = sources.Wanted(
        modality,
        spec,
        rate_hz=rate,
        units=said if isinstance(said, Units) else None,
    )
    if not sources.is_recorded(recording):
        return sources.open_source(recording, wanted)
    if speed == AT_ONCE:
        return sources.open_source(recording, wanted.at_once())
    return Paced(sources.open_source(recording, wanted), speed)


def _no_sensor(modality: str) -> str:
    """Why there is no live sensor to read."""
    name = SENSORS.get(modality, modality)
    patterns = {"imu": "sys/bus/iio/devices/iio:device*/in_accel*raw", "thermal": "dev/video*"}
    found = sorted(Path("/").glob(patterns[modality])) if modality in patterns else []
    if found:
        device = found[0].parent if modality == "imu" else found[0]
        return f"{device} may be a {name}, which edgebind cannot read by itself yet"
    return f"no {name} found on this machine"


def _demo(modality: str) -> Path:
    """The recording of that sensor that edgebind brings: a table, or a folder of pictures."""
    from edgebind import starter
    from edgebind.errors import OptionError

    if modality not in starter.MODALITIES:
        raise OptionError(f"edgebind brings no recording of {modality}", wanted="--source file:PATH")
    return starter.recordings("demo", modality)[0]


def _stream(
    bundle: Bundle,
    source: Source,
    bank: LabelBank | None,
    sink_texts: tuple[str, ...],
    speed: float,
    duration: float | None,
    *,
    embedding: bool,
    drift: bool,
) -> None:
    import contextlib

    from edgebind import sinks
    from edgebind.sinks.drift import DriftSink
    from edgebind.sources.pacing import AT_ONCE
    from edgebind.stream import Stream
    from edgebind.window import make_windower

    windower = make_windower(bundle.manifest.window, bundle.manifest.modality)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(sinks.open_sink(text, embedding=embedding)) for text in sink_texts]
        detector = _detector(bundle) if drift else None
        if detector is not None:
            opened.append(DriftSink(sys.stderr))
        is_live = speed != AT_ONCE
        _run(Stream(source, windower, bundle, opened, bank=bank, live=is_live, duration_s=duration, detector=detector))


def _detector(bundle: Bundle) -> Detector | None:
    """What compares the sensor with the calibration's, if the bundle remembers it."""
    if bundle.reference is None:
        return None
    from edgebind.drift import Detector

    return Detector(bundle.reference)


def _run(stream: Stream) -> None:
    try:
        stream.run()
    except KeyboardInterrupt:
        click.echo(f"edgebind: {stream.counters}", err=True)
        raise
    counters = stream.counters
    if sys.stderr.isatty() or counters.dropped_windows or counters.lost_chunks or not counters.embedded:
        click.echo(f"edgebind: {counters}", err=True)
