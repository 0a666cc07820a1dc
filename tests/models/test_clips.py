"""Clips of two frames in ImageBind's vision tower, and the mean of what any tower says of a video's clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from edgebind.models import clips, imagebind, students
from tests.train import worlds

SMALL = replace(imagebind.ARCHITECTURES["vision"], width=16, depth=1, heads=2)


@pytest.fixture
def tower() -> imagebind.Tower:
    torch.manual_seed(0)
    return worlds.enliven(imagebind.build_tower("vision", architecture=SMALL)).eval()


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_a_patch_covers_both_frames_of_a_clip() -> None:
    stem = imagebind.VideoStem(8)
    clip = torch.randn(1, 3, 2, 28, 28)
    kernel = stem.state_dict()["proj.1.weight"].numpy()  # (8, 3, 2, 14, 14)
    patches = clip.numpy().reshape(1, 3, 2, 2, 14, 2, 14)  # batch, colour, time, row, y, column, x
    by_hand = np.einsum("bctrykx,octyx->brko", patches, kernel).reshape(1, 4, 8)
    np.testing.assert_allclose(stem(clip).detach().numpy(), by_hand, atol=1e-5)


@torch.no_grad()
def test_a_clip_that_stands_still_is_a_still(tower: imagebind.Tower) -> None:
    picture = torch.randn(2, 3, 224, 224)
    still = picture[:, :, None].expand(-1, -1, 2, -1, -1)
    torch.testing.assert_close(tower(still), tower(picture))
    moving = torch.stack([picture, picture.flip(3)], dim=2)
    assert not torch.allclose(tower(moving), tower(picture), atol=1e-3)


@torch.no_grad()
def test_a_video_is_the_mean_of_its_clips_at_unit_length(tower: imagebind.Tower) -> None:
    videos = torch.randn(2, 3, 3, 2, 224, 224)  # 2 videos, 3 clips of 2 frames
    each = np.stack([tower(videos[:, at]).numpy() for at in range(3)])
    np.testing.assert_allclose(clips.embed(tower, videos).numpy(), unit(each.mean(axis=0)), atol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("frames", [1, 3])
def test_frames_that_make_no_clip_of_the_tower_are_pictures(tower: imagebind.Tower, frames: int) -> None:
    videos = torch.randn(1, 2, 3, frames, 224, 224)
    each = [tower(videos[:, at, :, frame]).numpy() for at in range(2) for frame in range(frames)]
    np.testing.assert_allclose(clips.embed(tower, videos).numpy(), unit(np.mean(each, axis=0)), atol=1e-6)


@torch.no_grad()
def test_a_tower_of_stills_sees_every_frame_by_itself() -> None:
    torch.manual_seed(0)
    student = students.build("vision-s", dim=12).eval()
    videos = torch.randn(2, 2, 3, 2, 64, 64)
    each = [student(videos[:, at, :, frame]).numpy() for at in range(2) for frame in range(2)]
    np.testing.assert_allclose(clips.embed(student, videos).numpy(), unit(np.mean(each, axis=0)), atol=1e-6)


@torch.no_grad()
def test_pictures_pass_as_they_are(tower: imagebind.Tower) -> None:
    picture = torch.randn(2, 3, 224, 224)
    torch.testing.assert_close(clips.embed(tower, picture), tower(picture), rtol=0, atol=0)
