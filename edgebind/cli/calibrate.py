"""`edgebind calibrate`: the recordings that INT8 is calibrated on, collected, checked and recorded; and the ranges they gave."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgebind.cli.options import Finite, Output

if TYPE_CHECKING:
    from edgebind.calibration.windows.collecting import Opened
    from edgebind.calibration.windows.sets import CalibrationSet
    from edgebind.manifest import WindowSpec

_Command = TypeVar("_Command", bound=Callable[..., Any])

PATH = click.Path(path_type=Path)

JETPACK_6 = "10.3.0"
"""TensorRT of JetPack 6, which reads a calibration cache."""


def _looking(command: _Command) -> _Command:
    """Options of commands that look at recordings."""
    command = click.option(
        "--units",
        "units_text",
        default="",
        metavar="LIST",
        help="Units of the recordings, such as acc=g,gyro=deg/s or thermal=cK.",
    )(command)
    return click.option(
        "--bundle",
        type=PATH,
        help="Look at the windows of this bundle. Without it: the starter's of that sensor, else ImageBind's.",
    )(command)


@click.group("calibrate")
def command() -> None:
    """Calibration sets: which recordings calibrate INT8, drawn evenly over what the sensor saw, and whether they are fit.

    \b
    edgebind calibrate collect recordings/ --modality imu --out recordings/
    edgebind export --modality imu --precision int8 --calibration recordings/
    """


@command.command("collect")
@click.argument("recordings", nargs=-1, required=True, type=PATH, metavar="RECORDING...")
@click.option("--modality", required=True, metavar="NAME", help="Whose recordings they are.")
@click.option("--out", type=Output(), required=True, help="JSON file to write, or the folder for calibration-set.json.")
@click.option(
    "--windows", type=click.IntRange(0), default=512, show_default=True, help="To calibrate on at most; 0 takes all."
)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Draws the windows.")
@_looking
def collect(
    recordings: tuple[Path, ...],
    modality: str,
    out: Path,
    windows: int,
    seed: int,
    bundle: Path | None,
    units_text: str,
) -> None:
    """Make a set of RECORDING..., files or folders: every third judges, the others calibrate.

    The set names each recording by its hash and says how windows are drawn: as many of each kind, quiet and busy, cold and
    hot, as there are. Nothing is written if the diagnosis finds an error.

    \b
    edgebind calibrate collect walks/ drives/ --modality imu --out imu-set.json
    """
    from edgebind.calibration.windows import collecting, material, sets
    from edgebind.sources import units

    file = out if out.suffix == ".json" else out / sets.FILE
    said, spec = units.parse(units_text), _window(modality, bundle)
    _require_own(file, modality)
    opened = collecting.collect(recordings, modality, spec, home=file.parent, said=said, windows=windows, seed=seed)
    _show(opened, each_recording=False)
    material.require_sound(opened, file)
    sets.write(opened.set, file)
    click.echo(f"wrote {file}: {len(opened.set.recordings)} recordings, sha256 {opened.set.digest[:12]}")


def _require_own(file: Path, modality: str) -> None:
    """Refuse to replace what is no set, or another sensor's."""
    from edgebind.calibration.windows import sets
    from edgebind.errors import OptionError

    if file.exists() and (found := sets.read(file).modality) != modality:
        raise OptionError("another sensor's set is there", where=file, wanted=modality, got=found)


@command.command("check")
@click.argument("paths", nargs=-1, required=True, type=PATH, metavar="SET|RECORDING...")
@click.option("--modality", metavar="NAME", help="Whose recordings they are; a set says so itself.")
@click.option("--json", "as_json", is_flag=True, help="Print the diagnosis as JSON.")
@_looking
def check(paths: tuple[Path, ...], modality: str | None, as_json: bool, bundle: Path | None, units_text: str) -> None:
    """Say what is wrong with SET, or with RECORDING... if they were one; ends with code 2 if there is an error.

    Errors: unreadable or changed recordings, other units, dead channels, one recording twice, far too little. Warnings: peaks
    that are cut off, little variety, values or kinds of windows that are judged and never calibrated on.
    """
    from edgebind.errors import CalibrationError

    opened = _opened(paths, modality, bundle, units_text)
    if as_json:
        click.echo(json.dumps(_as_data(opened), indent=2, ensure_ascii=False))
    else:
        _show(opened, each_recording=True)
    if opened.errors:
        raise CalibrationError("not fit to calibrate on", where=paths[0], wanted="0 errors", got=len(opened.errors))


def _opened(paths: tuple[Path, ...], modality: str | None, bundle: Path | None, units_text: str) -> Opened:
    from edgebind.calibration.windows import collecting, material
    from edgebind.errors import OptionError
    from edgebind.sources import units

    found = material.sets_among(paths)
    if not found:
        if modality is None:
            raise OptionError("whose recordings are they?", where=paths[0], wanted="--modality NAME")
        said, spec = units.parse(units_text), _window(modality, bundle)
        return collecting.collect(paths, modality, spec, home=Path.cwd(), said=said)
    if len(found) > 1 or units_text or modality not in (None, found[0][1].modality):
        raise OptionError("a set stands alone", where=paths[0], wanted="one SET, and no --units or other --modality")
    return collecting.open_set(found[0][0], _window(found[0][1].modality, bundle) if bundle is not None else None)


@command.command("record")
@click.option("--sensor", required=True, metavar="NAME", help="What to record: imu, thermal, depth, vision or audio.")
@click.option("--source", "source_text", required=True, metavar="SPEC", help="Where samples come from, as in run.")
@click.option("--seconds", type=Finite(0, min_open=True), metavar="N", help="How long. Without it: until Ctrl-C.")
@click.option("--out", type=Output(), required=True, help="Folder for the recording and its calibration-set.json.")
@click.option("--rate", type=float, metavar="HZ", help="Samples or frames a second, for sources without times.")
@click.option("--speed", default="max", show_default=True, metavar="X|max", help="Of a replay.")
@_looking
def record(
    sensor: str,
    source_text: str,
    seconds: float | None,
    out: Path,
    rate: float | None,
    speed: str,
    bundle: Path | None,
    units_text: str,
) -> None:
    """Record a sensor in SI units and put the recording into the set of the folder OUT.

    Signals and frames become NPZ, sound becomes WAV. Ctrl-C ends a recording, and what came before it is kept. A set grows with
    each call: a note says if it is still too small or otherwise unfit to calibrate on.

    \b
    edgebind calibrate record --sensor imu --source rows:/dev/ttyACM0@115200 --seconds 60 --out recordings/imu
    edgebind calibrate record --sensor imu --source file:walk.csv.gz --out recordings/imu
    """
    from edgebind import recorder
    from edgebind.calibration.windows import collecting, sets

    spec, file = _window(sensor, bundle), out / sets.FILE
    collecting.require_unchanged(_set_to_add_to(file, sensor, spec), file)  # before an hour is spent on recording
    target = recorder.name_for(out, sensor)
    source = _source(source_text, sensor, spec, rate, speed, units_text)
    recorded = recorder.record(source, target, seconds=seconds, rate_hz=spec.rate_hz)
    click.echo(f"wrote {recorded.path}: {recorded.samples} samples, {recorded.seconds:.1f} s")
    made = _put_into_set(recorded.path, file, sensor, spec)
    fault = made.looked[-1].scan.fault
    if fault is None:
        _show(made, each_recording=False)
        _say_what_is_missing(made, out)
    if recorded.ended or fault:
        raise recorded.ended or fault  # type: ignore[misc]  # one of them is there


def _put_into_set(recording: Path, file: Path, sensor: str, spec: WindowSpec) -> Opened:
    """The set in `file` with one more, and written if that has no fault. Another recorder may have changed it meanwhile."""
    from edgebind import atomic
    from edgebind.calibration.windows import collecting, sets

    with atomic.turn(file.parent):
        made = collecting.added(_set_to_add_to(file, sensor, spec), file, recording)
        if made.looked[-1].scan.fault is None:
            sets.write(made.set, file)
    return made


def _say_what_is_missing(made: Opened, out: Path) -> None:
    """A set grows one recording at a time, so that it is not fit yet is no failure of the recording that was just made."""
    errors = len(made.errors)
    if errors:
        what = "is 1 error" if errors == 1 else f"are {errors} errors"
        click.echo(
            f"note: recorded and kept, but this set does not calibrate yet: there {what} above. Record more into the same "
            f"folder until `edgebind calibrate check {out}` finds none."
        )


def _set_to_add_to(file: Path, sensor: str, spec: WindowSpec) -> CalibrationSet:
    from edgebind.calibration.windows import sets
    from edgebind.calibration.windows.sets import CalibrationSet, Draw
    from edgebind.errors import OptionError

    if not file.exists():
        return CalibrationSet(sensor, spec, {}, (), Draw())
    old = sets.read(file)
    if old.modality != sensor or old.units:
        got = f"{old.modality} {' '.join(f'{name}={unit}' for name, unit in old.units.items())}".strip()
        raise OptionError("the set there is another one", where=file, wanted=f"{sensor} in SI units", got=got)
    return old


def _source(text: str, sensor: str, spec: WindowSpec, rate: float | None, speed: str, units_text: str) -> Any:
    from edgebind import sources
    from edgebind.sources import units
    from edgebind.sources.pacing import AT_ONCE, Paced, parse_speed

    factor, said = parse_speed(speed), units.parse(units_text) if units_text else None
    wanted = sources.Wanted(sensor, spec, rate_hz=rate, units=said)
    if not sources.is_recorded(text):
        return sources.open_source(text, wanted)
    if factor == AT_ONCE:
        return sources.open_source(text, wanted.at_once())
    return Paced(sources.open_source(text, wanted), factor)


@command.command("ranges")
@click.argument("bundle", type=PATH)
@click.option("--out", type=Output(), metavar="FILE", help="Write the ranges here, for `edgebind export --ranges`.")
@click.option("--trtexec", type=Output(), metavar="FILE", help="Write a calibration cache here, for `trtexec --calib`.")
@click.option("--tensorrt", metavar="X.Y.Z", help="Version that reads the cache.  [default: 10.3.0]")
@click.option(
    "--graph",
    type=PATH,
    metavar="FILE",
    help="FP32 graph of the ranges. Where they are of a smoothed one, that is written as FILE.onnx beside the cache.",
)
def ranges(bundle: Path, out: Path | None, trtexec: Path | None, tensorrt: str | None, graph: Path | None) -> None:
    """Show the ranges that BUNDLE was calibrated to, or write them for another tool.

    The cache is for TensorRT 8 to 10 and the FP32 graph; tensors without a line stay in float there.

    \b
    edgebind calibrate ranges bundles/imu-int8 --trtexec imu.cache --tensorrt 10.3.0
    trtexec --onnx=bundles/imu-fp32/encoder.onnx --int8 --fp16 --calib=imu.cache
    """
    from edgebind import atomic
    from edgebind.calibration import ranges as ranges_
    from edgebind.calibration import trtexec as caches
    from edgebind.errors import OptionError

    if trtexec is None and (tensorrt is not None or graph is not None):
        raise OptionError("--tensorrt and --graph are for a calibration cache", wanted="--trtexec FILE with them")
    found = ranges_.read(bundle)
    if out is not None:
        atomic.write_text(out, found.to_json())
        click.echo(f"wrote {out}: {len(found.tensors)} tensors")
    if trtexec is not None:
        for file in caches.write(found, trtexec, tensorrt or JETPACK_6, graph):
            click.echo(f"wrote {file}")
    if out is None and trtexec is None:
        click.echo(f"{found.method} ranges of {found.windows} windows, FP32 graph {found.graph[:12]}")
        for name, (low, high) in found.tensors.items():
            click.echo(f"{low:12.5g} {high:12.5g}  {name}")


def _window(modality: str, bundle: Path | None) -> WindowSpec:
    from edgebind import modality as modalities
    from edgebind.calibration.windows import sets

    return sets.default_window(modalities.get(modality).name, bundle)


def _show(opened: Opened, *, each_recording: bool) -> None:
    from edgebind.calibration.windows import collecting

    if each_recording:
        _show_recordings(opened)
    click.echo(f"{'windows':>8} {'drawn':>8}  of a kind")
    for title, (drawn, of) in collecting.strata_drawn(opened).items():
        click.echo(f"{of:8} {drawn:8}  {title}")
    for found in opened.findings:
        click.echo(f"{found.severity}: {found.where + ': ' if found.where else ''}{found.line}")


def _show_recordings(opened: Opened) -> None:
    from edgebind.calibration.windows import diagnosis

    click.echo(f"{'windows':>8} {'at limit':>8}  {'for':10} recording")
    for member, each in zip(opened.set.recordings, opened.looked, strict=True):
        share = each.scan.saturated / max(1, len(each.scan))
        click.echo(f"{len(each.scan):8} {share:8.0%}  {member.role:10} {each.scan.name}")
    click.echo(f"\n{'calibrates from ... to':>24} {'judges from ... to':>24}  channel")
    for span in diagnosis.spans(opened.looked, opened.set.modality, opened.set.window):
        ends = [f"{pair[0]:.4g} ... {pair[1]:.4g}" if pair else "-" for pair in (span.calibrated, span.judged)]
        click.echo(f"{ends[0]:>24} {ends[1]:>24}  {span.channel}")
    click.echo("")


def _as_data(opened: Opened) -> dict[str, Any]:
    from dataclasses import asdict

    from edgebind.calibration.windows import collecting, diagnosis

    return {
        "recordings": [
            {**asdict(member), "windows": len(each.scan), "at_limit": each.scan.saturated}
            for member, each in zip(opened.set.recordings, opened.looked, strict=True)
        ],
        "strata": {title: {"drawn": n, "windows": of} for title, (n, of) in collecting.strata_drawn(opened).items()},
        "channels": [asdict(span) for span in diagnosis.spans(opened.looked, opened.set.modality, opened.set.window)],
        "findings": [asdict(found) for found in opened.findings],
    }
