"""Sentences around a class name. A class is the mean of its sentences' vectors, which is steadier than any one of them."""

from __future__ import annotations

IMAGE = (
    "a photo of a {}.",
    "a photo of the {}.",
    "a picture of a {}.",
    "a close-up photo of a {}.",
    "a dark photo of a {}.",
    "a bright photo of a {}.",
    "a blurry photo of a {}.",
    "a cropped photo of a {}.",
    "a drawing of a {}.",
    "many {}.",
)
SCENE = (
    "a photo of a {}.",
    "a picture taken at a {}.",
    "the scene is a {}.",
    "a wide view of a {}.",
    "this place is a {}.",
)
ACTION = (
    "a video of a person {}.",
    "a photo of a person {}.",
    "someone is {}.",
    "people doing {}.",
    "an example of {}.",
)
AUDIO = (
    "a sound of {}.",
    "the sound of {}.",
    "a recording of {}.",
    "you can hear {}.",
    "{} in the background.",
)
SOUNDING = (
    "a video of {}.",
    "a photo of {}.",
    "something that makes the sound of {}.",
    "a scene with {}.",
)
DEPTH = (
    "a depth map of a {}.",
    "a depth picture of a {}.",
    "the shape of a {}.",
    "a photo of a {}.",
    "the inside of a {}.",
)
THERMAL = (
    "a thermal picture of a {}.",
    "an infrared picture of a {}.",
    "a photo of a {} at night.",
    "a photo of a {}.",
)
IMU = (
    "a person is busy with {}.",
    "head movements of a person during {}.",
    "a motion recording of {}.",
    "first-person view of {}.",
)
