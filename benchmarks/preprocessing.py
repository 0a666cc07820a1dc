"""What preprocessing costs the processor, and what of it a GPU could take over: is it worth doing there?

A picture's preprocessing ends in arithmetic on single pixels (`edgebind.preprocess.tail`), which an engine can do from 8-bit
pixels on. Timed here: the whole of it, for a frame of 640 x 480; and from the pixels to the memory that the GPU copies from, once
with that arithmetic and once without. An engine for frames of one size resizes them too: then copying them is all that is left.

python -m edgebind.benchmarks.preprocessing
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import click
import numpy as np

from edgebind import cli, modality, preprocess
from edgebind.preprocess import Tail
from edgebind.text_table import aligned

FRAME = (480, 640)
ROUNDS = 50
BATCHES = (1, 16)
MODALITIES = ("vision", "thermal", "depth", "audio", "imu")


def measure(name: str, rounds: int = ROUNDS) -> dict[str, float]:
    """Of ImageBind's preprocessing of that modality, a window: `whole_ms` of the processor, `floats_kb` that it makes; for pictures of
    8 bits also `pixels_kb` and `saved_ms_<batch>`, which taking pixels would save, `frame_kb` and `left_ms`, which taking frames
    would leave."""
    made, sample = preprocess.for_imagebind(name), _sample(name)
    found = {"whole_ms": _ms(lambda: made(sample), rounds), "floats_kb": made(sample).nbytes / 1e3}
    if sample.dtype == np.uint8:
        channels = made(sample).shape[0]
        tail = Tail(made(sample).shape[1], (0.45,) * channels, (0.27,) * channels)
        found["pixels_kb"] = float(np.prod(tail.shape)) / 1e3
        found |= {f"saved_ms_{batch}": _saved(tail, batch, rounds) for batch in BATCHES}
        room = np.zeros_like(sample)
        found |= {"frame_kb": sample.nbytes / 1e3, "left_ms": _ms(lambda: np.copyto(room, sample), rounds)}
    return found


def _sample(name: str) -> np.ndarray:
    of, rng = modality.get(name), np.random.default_rng(0)
    if name in ("vision", "thermal"):
        return rng.integers(0, 256, (*FRAME, 3) if name == "vision" else FRAME, np.uint8)
    if name == "depth":
        return rng.uniform(0.5, 5, FRAME).astype(np.float32)
    return rng.uniform(-1, 1, (len(of.channels), round(of.rate_hz * of.seconds))).astype(np.float32)


def _saved(tail: Tail, batch: int, rounds: int) -> float:
    """Milliseconds a picture."""
    height, width, channels = tail.shape
    pictures = [np.random.default_rng(at).integers(0, 256, tail.shape, np.uint8) for at in range(batch)]
    floats, pixels = np.zeros((batch, channels, height, width), np.float32), np.zeros((batch, *tail.shape), np.uint8)
    with_tail = _ms(lambda: np.copyto(floats, np.stack([tail(picture) for picture in pictures])), rounds)
    without = _ms(lambda: np.copyto(pixels, np.stack(pictures)), rounds)
    return (with_tail - without) / batch


def _ms(call: Callable[[], object], rounds: int) -> float:
    """The processor's milliseconds of the call that took the fewest: what a busy machine adds is left out."""
    taken = []
    for _ in range(rounds):
        begun = time.thread_time_ns()
        call()
        taken.append(time.thread_time_ns() - begun)
    return min(taken) / 1e6


@click.command()
@click.option("--rounds", type=click.IntRange(1), default=ROUNDS, show_default=True, help="Calls of each.")
def main(rounds: int) -> None:
    """Print a line for each modality: milliseconds of the processor, and kilobytes, a window."""
    saved = [(f"saved_ms_{batch}", f"saved ms, batch {batch}") for batch in BATCHES]
    sizes = [("whole_ms", "whole ms"), ("floats_kb", "floats kB"), ("pixels_kb", "pixels kB")]
    columns = [*sizes, *saved, ("frame_kb", "frame kB"), ("left_ms", "left ms")]
    rows = [["", *(title for _, title in columns)]]
    for name in MODALITIES:
        found = measure(name, rounds)
        rows.append([name, *(f"{found[key]:.3g}" if key in found else "-" for key, _ in columns)])
    click.echo("\n".join(aligned(rows)))


if __name__ == "__main__":
    sys.exit(cli.main(command=main, name="python -m edgebind.benchmarks.preprocessing"))
