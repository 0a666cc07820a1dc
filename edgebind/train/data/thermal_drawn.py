"""People, bicycles and vehicles painted onto real ground.

In HIT-UAV nearly all bicycles were recorded on one date and there are few trucks; a tower that saw only those would learn
the date. What is drawn here has the sizes and shapes of such things from 60 to 130 m, and every other thing about it is
left to chance. Lengths are in pixels; tones run from -1 (colder than the ground) to 1 (warmer).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from edgebind.evaluate.datasets.boxes import Rect

Point = tuple[float, float]

FINE = 4
"""Subpixels each way in which things are drawn: a bicycle's bars are thinner than a pixel."""
NEUTRAL = 128
"""Grey level of tone 0 in a canvas."""


@dataclass(frozen=True)
class Drawing:
    """A patch of ground with something painted onto it."""

    image: Image.Image
    """Mode L."""
    rect: Rect
    """What an annotator would have drawn around the thing; it may reach beyond the patch."""


@dataclass(frozen=True)
class Pose:
    """A place on the ground and a direction in radians."""

    x: float
    y: float
    angle: float

    def at(self, along: float, across: float) -> Point:
        """The point that lies `along` ahead and `across` to the right of the place."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        return self.x + along * cosine - across * sine, self.y + along * sine + across * cosine

    def moved(self, along: float, across: float) -> Pose:
        """The same direction somewhere else."""
        return Pose(*self.at(along, across), self.angle)


class Canvas:
    """Tones over a square of ground; later strokes cover earlier ones."""

    def __init__(self, side: int) -> None:
        self.side = side
        self._tones = Image.new("L", (side * FINE, side * FINE), NEUTRAL)
        self._pen = ImageDraw.Draw(self._tones)

    def line(self, start: Point, end: Point, width: float, tone: float) -> None:
        """A straight stroke."""
        self._pen.line([*_fine([start, end])], _ink(tone), max(1, int(width * FINE)))

    def ellipse(self, centre: Point, radii: Point, tone: float) -> None:
        """A filled ellipse with upright axes."""
        (x, y), (across, down) = centre, radii
        self._pen.ellipse([*_fine([(x - across, y - down), (x + across, y + down)])], _ink(tone))

    def polygon(self, corners: Sequence[Point], tone: float) -> None:
        """A filled polygon."""
        self._pen.polygon([*_fine(corners)], _ink(tone))

    def onto(
        self, ground: Image.Image, *, depth: float, blur: float, ragged: tuple[float, float], rng: np.random.Generator
    ) -> Image.Image:
        """The ground with these tones on it.

        Parameters
        ----------
        depth: grey levels of tone 1.
        blur: pixels, standard deviation of the optics.
        ragged: range of the contrast from place to place; few things are evenly warm.
        """
        tones = self._tones.resize((self.side, self.side), Image.Resampling.BOX).filter(ImageFilter.GaussianBlur(blur))
        patches = rng.uniform(*ragged, (self.side // 4, self.side // 4)).astype(np.float32)
        uneven = Image.fromarray(patches).resize((self.side, self.side), Image.Resampling.BICUBIC)
        added = (np.asarray(tones, np.float32) - NEUTRAL) / 127 * np.asarray(uneven) * depth
        return Image.fromarray(np.clip(np.asarray(ground, np.float32) + added, 0, 255).astype(np.uint8))


def _fine(points: Sequence[Point]) -> list[Point]:
    return [(x * FINE, y * FINE) for x, y in points]


def _ink(tone: float) -> int:
    return round(NEUTRAL + 127 * min(1.0, max(-1.0, tone)))


# --- people -----------------------------------------------------------------------------------------------------------


def draw_person(ground: Image.Image, rng: np.random.Generator) -> Drawing:
    """A small figure, usually warm, half of the time with a shadow on the ground."""
    canvas, middle = Canvas(ground.width), ground.width / 2
    tall = rng.uniform(9, 25)
    wide = tall * rng.uniform(0.28, 0.5)
    warm = 1 if rng.random() < 0.88 else -1  # in the sun the ground may be warmer than people
    pose = Pose(middle, middle, rng.normal(0, 0.25) - math.pi / 2)  # it looks up the picture, and leans
    rect = (middle - 0.7 * wide, middle - 0.55 * tall, middle + 0.7 * wide, middle + 0.55 * tall)
    if rng.random() < 0.5:
        rect = _shadow(canvas, pose.at(-tall / 2, 0), (tall, wide), -warm, rect, rng)
    _figure(canvas, pose, (tall, wide), warm, rng)
    image = canvas.onto(ground, depth=rng.uniform(35, 130), blur=rng.uniform(0.8, 1.7), ragged=(0.5, 1.15), rng=rng)
    return Drawing(image, rect)


def _shadow(canvas: Canvas, foot: Point, size: Point, sign: int, rect: Rect, rng: np.random.Generator) -> Rect:
    """A stroke from the feet. Annotators count it as part of the person more often than not: the box with or without it."""
    tall, wide = size
    x, y = Pose(*foot, rng.uniform(0, 2 * math.pi)).at(tall * rng.uniform(0.4, 1.3), 0)
    canvas.line(foot, (x, y), wide * rng.uniform(0.4, 0.9), sign * rng.uniform(0.25, 0.95))
    if rng.random() < 0.6:
        return min(rect[0], x), min(rect[1], y), max(rect[2], x), max(rect[3], y)
    return rect


def _figure(canvas: Canvas, pose: Pose, size: Point, warm: int, rng: np.random.Generator) -> None:
    """Legs, body and head; cold clothes make some of them colder than the ground."""
    tall, wide = size
    dressed = rng.random() < 0.4
    for height, radii in (
        (0.25, (wide * rng.uniform(0.3, 0.5), tall * 0.28)),
        (0.6, (wide * rng.uniform(0.4, 0.65), tall * 0.25)),
    ):
        sign = -0.8 * warm if dressed and rng.random() < 0.4 else warm
        canvas.ellipse(pose.at((height - 0.5) * tall, 0), radii, sign * rng.uniform(0.4, 1))
    canvas.ellipse(pose.at(0.38 * tall, 0), (wide * 0.3, tall * 0.14), warm * rng.uniform(0.5, 1))


# --- bicycles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Bicycle:
    """One bicycle seen from above: a frame along its direction, a handlebar across it."""

    length: float
    thick: float
    """Of the frame, in lengths."""
    bar: float
    """Half the handlebar, in lengths."""

    def draw(self, canvas: Canvas, pose: Pose, tone: float, rng: np.random.Generator) -> None:
        unit = self.length
        front, back, left, right = self._ends(pose)
        canvas.line(back, front, self.thick * unit, tone)
        canvas.line(left, right, rng.uniform(0.1, 0.18) * unit, tone)
        if rng.random() < 0.7:  # the saddle
            radius = rng.uniform(0.08, 0.18) * unit
            canvas.ellipse(pose.at(-0.2 * unit, rng.normal(0, 0.02) * unit), (radius, radius), tone)
        if rng.random() < 0.5:  # luggage, or a bicycle that is seen from the side
            bulge = pose.at(0, rng.uniform(0.05, 0.25) * unit)
            canvas.polygon([pose.at(-0.3 * unit, 0), bulge, pose.at(0.3 * unit, 0)], 0.8 * tone)

    def rect(self, pose: Pose) -> Rect:
        """Around the frame and the handlebar, with the blur of the optics."""
        x, y = zip(*self._ends(pose), strict=True)
        return min(x) - 1.5, min(y) - 1.5, max(x) + 1.5, max(y) + 1.5

    def _ends(self, pose: Pose) -> tuple[Point, Point, Point, Point]:
        half, bar = self.length / 2, self.bar * self.length
        return pose.at(half, 0), pose.at(-half, 0), pose.at(half / 2, -bar), pose.at(half / 2, bar)


def draw_bicycles(ground: Image.Image, rng: np.random.Generator) -> Drawing:
    """One to seven bicycles side by side, as in a rack; the box is that of one of them."""
    canvas, middle = Canvas(ground.width), ground.width / 2
    bicycle = _Bicycle(rng.uniform(17, 32), thick=rng.uniform(0.12, 0.26), bar=rng.uniform(0.1, 0.24))
    angle = rng.uniform(0, math.pi)
    rack = Pose(middle, middle, angle + rng.normal(math.pi / 2, 0.35))
    gap = bicycle.length * rng.uniform(0.3, 0.55)
    count = 1 if rng.random() < 0.35 else int(rng.integers(2, 8))
    chosen, rect = int(rng.integers(count)), (0.0, 0.0, 1.0, 1.0)
    for at in range(count):
        x, y = rack.at((at - chosen) * gap, 0) + rng.normal(0, 0.06 * bicycle.length, 2)
        pose = Pose(x, y, angle + rng.normal(0, 0.12))
        bicycle.draw(canvas, pose, rng.uniform(0.47, 1), rng)
        if at == chosen:
            rect = bicycle.rect(pose)
    sign = 1 if rng.random() < 0.15 else -1  # metal mirrors the cold sky
    image = canvas.onto(
        ground, depth=sign * rng.uniform(40, 150), blur=rng.uniform(0.6, 1.4), ragged=(0.35, 1.0), rng=rng
    )
    return Drawing(image, rect)


# --- vehicles ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Vehicle:
    """A box on wheels seen from above."""

    length: float
    half: float
    """Half the width."""
    tone: float

    def panel(
        self, canvas: Canvas, pose: Pose, reach: Point, width: float, tone: float, *, corner: float = 0.0
    ) -> None:
        """A part of the body.

        Parameters
        ----------
        reach: where it begins and ends, in half lengths: -1 is the back, 1 the front.
        width, corner: in half widths; `corner` is cut off.
        """
        back, front = (end * self.length / 2 for end in reach)
        side, cut = width * self.half, corner * self.half
        outline = [(back, cut - side), (back + cut, -side), (front - cut, -side), (front, cut - side)]
        mirrored = [(along, -across) for along, across in reversed(outline)]
        canvas.polygon([pose.at(*corner) for corner in outline + mirrored], tone)

    def rect(self, pose: Pose) -> Rect:
        """Around the body, with the blur of the optics."""
        cosine, sine = abs(math.cos(pose.angle)), abs(math.sin(pose.angle))
        across = cosine * self.length / 2 + sine * self.half + 1
        down = sine * self.length / 2 + cosine * self.half + 1
        return pose.x - across, pose.y - down, pose.x + across, pose.y + down


def draw_car(ground: Image.Image, rng: np.random.Generator) -> Drawing:
    """A car, half of the time in a row of parked ones."""
    length = rng.uniform(20, 75)
    return _vehicles(ground, length, length * rng.uniform(0.2, 0.27), _car_top, rng)


def draw_truck(ground: Image.Image, rng: np.random.Generator) -> Drawing:
    """A truck or bus, half of the time in a row."""
    length = rng.uniform(45, 115)
    return _vehicles(ground, length, length * rng.uniform(0.14, 0.2), _truck_top, rng)


Top = Callable[[_Vehicle, Canvas, Pose, bool, np.random.Generator], None]
"""Draws what stands on a body; the flag says whether engines are hot."""


def _vehicles(ground: Image.Image, length: float, half: float, top: Top, rng: np.random.Generator) -> Drawing:
    canvas, middle = Canvas(ground.width), ground.width / 2
    sign = -1 if rng.random() < 0.75 else 1  # painted metal mirrors the cold sky
    vehicle = _Vehicle(length, half, sign * rng.uniform(0.25, 0.85))
    pose = Pose(middle, middle, rng.uniform(0, math.pi))
    shadow = rng.normal(0, 0.12, 2) * length if rng.random() < 0.4 else None
    hot, gap = bool(rng.random() < 0.3), half * rng.uniform(2.5, 3.6)
    # The one in the middle comes last, so that no neighbour's shadow covers it.
    for place in (-2, -1, 1, 2, 0) if rng.random() < 0.5 else (0,):
        jitter = rng.normal(0, 0.05, 2) * length if place else np.zeros(2)
        spot = pose.moved(jitter[0], place * gap + jitter[1])
        if shadow is not None:
            shaded = Pose(spot.x + shadow[0], spot.y + shadow[1], spot.angle)
            vehicle.panel(canvas, shaded, (-1, 1), 1, -rng.uniform(0.25, 0.85))
        vehicle.panel(canvas, spot, (-1, 1), 1, vehicle.tone + rng.normal(0, 0.08), corner=0.35)
        top(vehicle, canvas, spot, hot, rng)
    image = canvas.onto(ground, depth=rng.uniform(40, 140), blur=rng.uniform(0.5, 1.2), ragged=(0.5, 1.15), rng=rng)
    return Drawing(image, vehicle.rect(pose))


def _car_top(car: _Vehicle, canvas: Canvas, pose: Pose, hot: bool, rng: np.random.Generator) -> None:
    """Windows around a roof, and the warm bonnet of a car that has just been driven."""
    roof = car.tone + rng.normal(0, 0.35)
    car.panel(canvas, pose, (-0.65, 0.45), 0.85, -car.tone * rng.uniform(-0.8, 0.6))
    car.panel(canvas, pose, (-0.45, 0.15), 0.72, roof)
    if hot and rng.random() < 0.7:
        car.panel(canvas, pose, (0.5, 0.95), 0.75, rng.uniform(0.3, 1))


def _truck_top(truck: _Vehicle, canvas: Canvas, pose: Pose, hot: bool, rng: np.random.Generator) -> None:
    """A load, and the cab before it."""
    split = rng.uniform(0.4, 0.7)
    if rng.random() < 0.7:
        truck.panel(canvas, pose, (-0.95, split), 0.85, truck.tone + rng.normal(0, 0.47))
    truck.panel(canvas, pose, (split, 1), 0.85, truck.tone + rng.normal(0, 0.47), corner=0.2)


# ----------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Drawer:
    """How things of one class are drawn."""

    side: int
    """Pixels of ground that hold the largest of them."""
    draw: Callable[[Image.Image, np.random.Generator], Drawing]


DRAWERS = {
    "person": Drawer(80, draw_person),
    "car": Drawer(180, draw_car),
    "bicycle": Drawer(110, draw_bicycles),
    "truck": Drawer(200, draw_truck),
}
"""Label -> what draws it."""
