"""Towers for motion: what they cost, what they read, how a committee answers, and that they survive the road to ONNX."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from edgebind.export import parity

torch = pytest.importorskip("torch")

from edgebind.models import students  # noqa: E402  (needs torch)
from edgebind.models.students import imu  # noqa: E402  (needs torch)

NAMES = ("imu-xs", "imu-s", "imu-m", "imu-l")
FREE = slice(12, 16)
"""The views that no mounting changes; their shapes follow them."""


def _window(*, seed: int = 0) -> np.ndarray:
    """(6, 200) in g and rad/s: something that moves about gravity."""
    rng = np.random.default_rng(seed)
    moving = np.cumsum(rng.normal(size=(6, 200)), axis=1) * np.array([0.02] * 3 + [0.1] * 3)[:, None]
    moving[2] += 1
    return moving


def _views(window: np.ndarray) -> np.ndarray:
    return imu.views(torch.from_numpy(window[None])).numpy()[0]


@pytest.mark.parametrize("name", NAMES)
def test_rows_are_unit_rows_of_the_asked_length(name: str) -> None:
    rows = students.build(name, dim=24).eval()(torch.randn(3, 6, 200))
    assert rows.shape == (3, 24)
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(3))


def test_macs_of_a_worked_example() -> None:
    # 20 views into 4 over half the moments, 4 into 2 at every moment, 4 + 2 x 100 features into 3, 3 into 5.
    tower = imu.ImuStudent(dim=5, channels=(4,), kernels=(3,), local=2, hidden=3)
    expected = 100 * 4 * 20 * 3 + 100 * 2 * 4 + (4 + 2 * 100) * 3 + 3 * 5
    assert students.count_macs(tower, torch.zeros(1, 6, 200)) == expected


def test_the_teacher_does_ten_times_the_work_of_the_student() -> None:
    example = torch.zeros(1, 6, 200)
    teacher, student = (students.count_macs(students.build(name, dim=384), example) for name in ("imu-l", "imu-s"))
    assert teacher >= 10 * student


@pytest.mark.parametrize("seed", range(3))
def test_a_turned_mounting_leaves_four_views_as_they_are(seed: int) -> None:
    window = _window(seed=seed)
    turn = Rotation.random(random_state=seed).as_matrix()
    turned = np.concatenate([turn @ window[:3], turn @ window[3:]])
    np.testing.assert_allclose(_views(turned)[FREE], _views(window)[FREE], atol=1e-9)
    assert np.abs(_views(turned)[:3] - _views(window)[:3]).max() > 0.1


def test_turning_on_the_spot_is_rotation_about_the_upright() -> None:
    window = np.zeros((6, 200))
    window[0] = -1.0  # worn on its side: the accelerometer feels the ground push along -x
    window[3] = -2.0  # rad/s about the same axis
    rise, sway, yaw, tilt = _views(window)[FREE]
    np.testing.assert_allclose(yaw, 0.25 * np.arcsinh(20 * 2.0), rtol=1e-12)
    np.testing.assert_allclose([rise, sway, tilt], 0, atol=1e-12)


def test_shape_forgets_strength_and_keeps_stillness_still() -> None:
    strong, weak = _views(_window() * 1.0)[6:12], _views(_window() * 0.8)[6:12]
    np.testing.assert_allclose(strong[:3], weak[:3], atol=0.15)
    assert not _views(np.zeros((6, 200)))[6:12].any()


@pytest.mark.parametrize("name", NAMES)
def test_a_silent_sensor_is_answered_with_numbers(name: str) -> None:
    assert torch.isfinite(students.build(name, dim=8).eval()(torch.zeros(2, 6, 200))).all()


def test_a_committee_answers_with_the_mean_of_its_members() -> None:
    committee = imu.make_committee(dim=8).eval()
    window = torch.randn(3, 6, 200)
    answers = np.mean([member(window).detach().numpy() for member in committee.members], axis=0)
    expected = answers / np.linalg.norm(answers, axis=1, keepdims=True)
    np.testing.assert_allclose(committee(window).detach().numpy(), expected, atol=1e-6)


def test_each_member_learns_from_its_own_part_of_the_batch() -> None:
    committee = imu.make_committee(dim=8).train()
    committee(torch.randn(8, 6, 200))[:2].sum().backward()  # the first of four members had the first two rows
    slopes = [member.get_parameter("head.weight").grad for member in committee.members]
    learned = [slope is not None and bool(slope.any()) for slope in slopes]
    assert learned == [True, False, False, False]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["imu-xs", "imu-s"])
def test_onnx_says_what_torch_says_and_holds_no_batch_norm(name: str, tmp_path: Path) -> None:
    import onnx

    from edgebind.export import simplify
    from edgebind.export.torch_onnx import to_onnx

    inputs = parity.example((6, 200), "float32")
    tower = students.build(name, dim=24)
    with torch.no_grad():
        tower.train()(
            torch.randn(4, 6, 200)
        )  # BatchNorm has statistics of its own, so that folding it has something to lose
    graph, slim = tmp_path / "encoder.onnx", tmp_path / "slim.onnx"
    expected = to_onnx(tower, inputs, graph)
    simplify.simplify(graph, slim)
    assert parity.check(expected, slim, inputs) <= 1e-5
    kinds = {node.op_type for node in onnx.load(slim).graph.node}
    assert "Conv" in kinds
    assert not {"BatchNormalization", "Dropout"} & kinds
