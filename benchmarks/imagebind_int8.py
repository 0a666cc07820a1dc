"""ImageBind's towers at full size in INT8: what `edgebind export` makes of them, judged on recordings held out.

With ImageBind's own checkpoint, or with weights from a recipe, so that the sizes are real where the checkpoint is not at hand:
a Python file with `weights(key, shape)`, which gives each tensor of the reference's state dict, or None to leave it.

python -m edgebind.benchmarks.imagebind_int8 --recipe recipe.py --modality imu --calibration recordings/ --out imagebind-int8-cpu.json
"""

from __future__ import annotations

import importlib.util
import json
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgebind import atomic, cli
from edgebind.benchmarks import machine
from edgebind.calibration import gate
from edgebind.calibration.gate import Bars
from edgebind.calibration.windows import enough
from edgebind.cli.options import Output
from edgebind.cli.progress import ProgressLine
from edgebind.errors import OptionError
from edgebind.export.road import Exported, Request, export
from edgebind.manifest import WindowSpec
from edgebind.sources import units
from edgebind.sources.units import Units

BAR = 0.995
"""Mean cosine to FP32 that the ladder must reach."""


def from_recipe(recipe: Path, modality: str, target: Path) -> None:
    """Write a tower with a recipe's weights, as a checkpoint.

    Raises
    ------
    OptionError: `recipe` is no Python file.
    """
    import torch

    from edgebind.models import checkpoint, imagebind

    spec = importlib.util.spec_from_file_location("recipe", recipe)
    if spec is None or spec.loader is None or not recipe.is_file():
        raise OptionError("no recipe", where=recipe, wanted="a Python file with weights(key, shape)")
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tower = imagebind.build_tower(modality).eval()
    for key, value in tower.state_dict().items():
        weights = module.weights(imagebind.reference_key(modality, key), tuple(value.shape))
        if weights is not None:
            value.copy_(torch.from_numpy(np.asarray(weights)))
    checkpoint.save_towers(target, {modality: tower})


def measure(
    checkpoint: Path,
    modality: str,
    calibration: tuple[Path, ...],
    given: Units,
    out: Path,
    attention: str = "float",
    observer: str | None = None,
) -> dict[str, Any]:
    """Export one tower in INT8 to `out`, and say how it went; `attention` and `observer` as in `Request`."""
    began = time.monotonic()
    bars = Bars(BAR, gate.INT8.cosine_p1, gate.INT8.agreement)
    request = Request("int8", out, checkpoint, (modality,), calibration, bars, given)
    request = replace(request, attention=attention, observer=observer)
    (made,) = export(request, lambda name, stage: click.echo(f"{name}: {stage}", err=True), ProgressLine())
    asked = {"observer": observer, "units": dict(given.given), "recordings": [path.name for path in calibration]}
    return {**_facts(made), "asked": asked, "minutes": round((time.monotonic() - began) / 60, 1)}


def _facts(made: Exported) -> dict[str, Any]:
    assert made.quantised is not None
    report = made.quantised.report
    return {
        "fp32_sha256": made.description.provenance["fp32_sha256"],
        "graphs": report["graphs"],
        "int8_mac_share": report["macs"]["int8_share"],
        "attention": report["attention"],
        "gigamacs": round(report["macs"]["window"] / 1e9, 3),
        "layers": {key: report["layers"][key] for key in ("quantised", "float")},
        "observer": report["observer"],
        "remainder": report["remainder"],
        "speed": report["speed"],
        "windows": {part: sum(of.values()) for part, of in report["recordings"].items()},
        "held_out": sorted(report["recordings"]["gate"]),
        "megabytes": {name: round((made.folder / name).stat().st_size / 1e6, 1) for name in report["graphs"]},
    }


def _merged(out: Path, modality: str, facts: dict[str, Any], weights: str) -> dict[str, Any]:
    """The towers measured before, and this one: each takes long, so they come one by one."""
    before = json.loads(out.read_text(encoding="utf-8"))["towers"] if out.is_file() else {}
    return {"machine": machine.describe(), "towers": before | {modality: {"weights": weights, **facts}}}


@click.command()
@click.option("--checkpoint", type=click.Path(path_type=Path), help="ImageBind's weights.")
@click.option("--recipe", type=click.Path(path_type=Path), help="Or a file that makes them up, see above.")
@click.option("--modality", required=True)
@click.option("--calibration", multiple=True, required=True, type=click.Path(path_type=Path), help="Real recordings.")
@click.option("--units", "units_text", default="", help="Of the recordings, as for `edgebind export`.")
@click.option("--attention", default="float", show_default=True, help="As for `edgebind export`.")
@click.option("--observer", help="As for `edgebind export`: quick for a large tower.")
@click.option("--bundles", type=click.Path(path_type=Path), help="Keep the bundle here.")
@click.option("--out", required=True, type=Output(dir_okay=False), help="JSON; towers add up in it.")
def command(
    checkpoint: Path | None,
    recipe: Path | None,
    modality: str,
    calibration: tuple[Path, ...],
    units_text: str,
    attention: str,
    observer: str | None,
    bundles: Path | None,
    out: Path,
) -> None:
    """Export one tower in INT8 and note what it is worth."""
    if (checkpoint is None) == (recipe is None):
        raise OptionError("whose weights", wanted="--checkpoint or --recipe")
    given = units.parse(units_text)
    enough.require(calibration, modality, WindowSpec.of_imagebind(modality), units=given.of(modality))
    with tempfile.TemporaryDirectory(dir=bundles) as scratch:
        file = checkpoint or Path(scratch) / f"{modality}.safetensors"
        if recipe is not None:
            from_recipe(recipe, modality, file)
        target = bundles or Path(scratch) / "bundles"
        facts = measure(file, modality, calibration, given, target, attention, observer)
    report = _merged(out, modality, facts, "checkpoint" if recipe is None else "recipe")
    atomic.write_json(out, report)
    click.echo(json.dumps(facts["graphs"], indent=1))


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.imagebind_int8"))
