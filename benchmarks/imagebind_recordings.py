"""The recordings that ImageBind's towers of depth, text and vision are measured on, from public data sets.

IMU, thermal and audio are measured on a data set's folder as it is. Depth needs cuts of its few frames, vision pictures of
many kinds in a mixed order, and text prompts, which are made up.

python -m edgebind.benchmarks.imagebind_recordings DATA recordings/
"""

from __future__ import annotations

import gzip
import hashlib
import io
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import click
import numpy as np
from numpy.typing import NDArray

from edgebind import atomic, cli
from edgebind.cli.options import Output
from edgebind.errors import OptionError

PICTURES = (
    ("thermal_roadscene/vi/*.jpg", 4, 0),
    ("thermal_roadscene/ir/*.jpg", 8, 2),
    ("thermal_llvip/vi/*.jpg", 4, 0),
    ("thermal_llvip/ir/*.jpg", 4, 2),
    ("thermal_wrd/vi/*/*.png", 1, 0),
    ("thermal_hituav/images/*.jpg", 20, 0),
    ("depth_rgbd/color_*.png", 1, 0),
    ("depth_rgbd/0*.jpg", 1, 0),
    ("imagebind_assets/*.jpg", 1, 0),
)
"""RoadScene, LLVIP, WRD, HIT-UAV, slambook2 and Open3D, ImageBind's examples: files, every how many is taken, from which on."""

DEPTH = ("depth_1.pgm.gz", "depth_2.pgm.gz", "depth_3.pgm.gz", "redwood_depth.png")
"""Frames of 640x480, in `depth_rgbd`, whole millimetres: slambook2 (ch5/rgbd) and Open3D (Redwood)."""
SIDES = (240, 320, 400, 480)
"""Of the squares that are cut from a frame, three beside and three below one another."""

SUBJECTS = ("dog", "person", "car", "robot arm", "bicycle", "drone", "forklift", "cat", "truck", "child")
PLACES = (
    "walking on snow", "driving over asphalt at night", "standing in the rain", "lying on the floor",
    "near a warehouse door", "seen from above",
)  # fmt: skip
SENTENCES = {
    "heat": "a thermal image of {}, warm against a cold ground",
    "long": "This recording was made outdoors on a windy day; it shows {}, while other people and vehicles pass in the "
    "background and the light keeps changing.",
    "photos": "a photo of {}",
    "short": "{}",
    "sounds": "the sound of {}",
}
"""File of prompts -> what each of them says; that of `photos` judges, for it is the third."""


def pictures(data: Path) -> Iterator[tuple[str, Path]]:
    """(name, picture) of every kind; the names begin with the picture's sha256, so their order mixes the kinds.

    Raises
    ------
    OptionError: a data set is not there.
    """
    for pattern, step, first in PICTURES:
        found = sorted(data.glob(pattern))
        if not found:
            raise OptionError("a data set is not there", where=data / pattern)
        for path in found[first::step]:
            yield hashlib.sha256(path.read_bytes()).hexdigest()[:16] + path.suffix, path


def cuts(frame: NDArray[np.uint16]) -> Iterator[NDArray[np.uint16]]:
    """Squares of a frame of 640x480, at several scales."""
    for side in SIDES:
        rows = np.linspace(0, 480 - side, 1 if side == 480 else 3).astype(int)
        for row in rows:
            for column in np.linspace(0, 640 - side, 3).astype(int):
                yield frame[row : row + side, column : column + side]


def prompts(sentence: str) -> str:
    """Every subject in every place, one a line."""
    return "".join(sentence.format(f"a {subject} {place}") + "\n" for subject in SUBJECTS for place in PLACES)


def _frame(file: Path) -> NDArray[np.uint16]:
    from PIL import Image

    data = file.read_bytes()
    with Image.open(io.BytesIO(gzip.decompress(data) if file.suffix == ".gz" else data)) as image:
        return np.asarray(image).astype(np.uint16)


def _write_vision(chosen: Mapping[str, Path], folder: Path) -> None:
    folder.mkdir()
    for name, path in chosen.items():
        shutil.copyfile(path, folder / name)


def _write_text(folder: Path) -> None:
    folder.mkdir()
    for name, sentence in SENTENCES.items():
        (folder / f"{name}.txt").write_text(prompts(sentence), encoding="utf-8")


def _write_depth(data: Path, folder: Path) -> None:
    from PIL import Image

    for name in DEPTH:
        of_frame = folder / name.split(".")[0]
        of_frame.mkdir(parents=True)
        for place, cut in enumerate(cuts(_frame(data / "depth_rgbd" / name))):
            Image.fromarray(cut).save(of_frame / f"{place:02}.png")


@click.command()
@click.argument("data", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("out", type=Output(file_okay=False))
def command(data: Path, out: Path) -> None:
    """Write OUT/depth, OUT/text and OUT/vision from the data sets in DATA."""
    if out.exists() and any(out.iterdir()):
        raise OptionError("the folder is not empty", where=out, remedy="name a new one")
    chosen = dict(pictures(data))
    with atomic.directory(out) as scratch:
        _write_vision(chosen, scratch / "vision")
        _write_text(scratch / "text")
        _write_depth(data, scratch / "depth")
    click.echo(f"{out}: {len(chosen)} pictures, {len(DEPTH)} frames of depth, {len(SENTENCES)} files of prompts")


if __name__ == "__main__":
    sys.exit(cli.main(command=command, name="python -m edgebind.benchmarks.imagebind_recordings"))
