"""Drift: the false-alarm rate is what it says, also where windows resemble their neighbours; real changes are named."""

from __future__ import annotations

import io
import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import edgebind
from edgebind import drift, reference, starter
from edgebind.bundle import Bundle
from edgebind.calibration import reference as learning
from edgebind.calibration.batches import Batch
from edgebind.calibration.windows import recordings
from edgebind.drift import Detector, Drift
from edgebind.errors import BundleError, OptionError
from edgebind.manifest import WindowSpec
from edgebind.reference import Reference
from edgebind.signals import Embedding
from edgebind.sinks.drift import DriftSink
from edgebind.sinks.jsonl import to_json
from edgebind.stream import embed_recording
from edgebind.testing import ListSource
from tests import bundles as tiny
from tests.recordings import read_spsw

SOUND = replace(tiny.IMU, modality="audio", window=WindowSpec(16000.0, 1.0, 1.0, ("pressure",), ("full scale",)), dim=8)
HOP = 1_000_000_000


def session(random: np.random.Generator, windows: int) -> tuple[Batch, np.ndarray]:
    """A recording whose spread wanders (a session of its own, and neighbours that resemble each other), and its vectors."""
    steps = random.normal(size=windows)
    wander = np.zeros(windows)
    for place in range(1, windows):
        wander[place] = 0.9 * wander[place - 1] + steps[place]
    traits = (random.normal() + wander)[:, None].astype(np.float32)
    vectors = random.normal(size=(windows, 8)) * np.array([4, 4, 4, 1, 1, 1, 1, 1])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    starts = HOP * np.arange(windows, dtype=np.int64)
    return Batch("session", np.zeros((windows, 1), np.float32), starts, traits), vectors.astype(np.float32)


def learnt(random: np.random.Generator, count: int = 6, windows: int = 16) -> Reference:
    seen, judged = ([session(random, windows) for _ in range(count)] for _ in range(2))
    of_seen, of_judged = (np.concatenate([vectors for _, vectors in part]) for part in (seen, judged))
    found = learning.fit(SOUND, [b for b, _ in seen], of_seen, [b for b, _ in judged], of_judged)
    assert found is not None
    return found


def test_the_tail_of_students_t_is_scipys() -> None:
    for degrees in (1, 2, 5, 10, 31, 200):
        for t in (-3.0, 0.0, 0.7, 2.2, 6.0, 20.0):
            assert drift.tail(t, degrees) == pytest.approx(stats.t.sf(t, degrees), rel=1e-3, abs=1e-12)


def test_of_an_unchanged_sensor_as_many_blocks_alarm_as_alpha_says() -> None:
    """Many sensors, each with recordings of its own; one new session of each. p must be uniform, whatever the wander."""
    random = np.random.default_rng(1)
    p = []
    for _ in range(300):
        of = learnt(random)
        batch, vectors = session(random, of.block)
        assert batch.traits is not None
        traits = np.concatenate([of.scores(vectors), batch.traits], axis=1).astype(np.float64)
        p.append(drift.p_values(traits.mean(axis=0), of))
    below = (np.array(p) < 0.1).mean(axis=0)
    assert (np.abs(below - 0.1) < 4 * math.sqrt(0.1 * 0.9 / 300)).all(), below
    assert stats.kstest(np.array(p)[:, 2], "uniform").pvalue > 0.001


def test_a_gain_alarms_and_says_so() -> None:
    random = np.random.default_rng(2)
    of = learnt(random)
    batch, vectors = session(random, of.block)
    assert batch.traits is not None
    louder = batch.traits + math.log(1e12)
    told = Detector(of).judge_traits(np.concatenate([of.scores(vectors), louder], axis=1).astype(np.float64))
    assert told.is_drifted
    assert "pressure varies by" in told.why
    assert told.p < 1e-3


def test_vectors_outside_the_subspace_alarm() -> None:
    random = np.random.default_rng(3)
    seen = [session(random, 64)[0] for _ in range(12)]
    flat = random.normal(size=(12 * 64, 8)) * np.array([1, 1, 1, 0.01, 0.01, 0.01, 0.01, 0.01])
    vectors = (flat / np.linalg.norm(flat, axis=1, keepdims=True)).astype(np.float32)
    of = learning.fit(SOUND, seen, vectors, seen, vectors)
    assert of is not None
    assert of.directions.shape[1] <= 3
    usual, strange = of.scores(vectors[:8]), of.scores(np.eye(8, dtype=np.float32)[[7] * 8])
    loud = np.full((8, 1), of.centre[2])
    judge = Detector(of).judge_traits
    assert not judge(np.concatenate([usual, loud], axis=1).astype(np.float64)).is_drifted
    told = judge(np.concatenate([strange, loud], axis=1).astype(np.float64))
    assert told.is_drifted
    assert "none of the calibration's" in told.why


def test_a_reference_survives_its_file_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    of = learnt(np.random.default_rng(4))
    path = tmp_path / "reference.npz"
    of.to_npz(path)
    again = reference.read(path)
    assert (again.names, again.block, again.every, again.recordings) == (of.names, of.block, of.every, 6)
    for name in ("mean", "directions", "variances", "centre", "deviation", "seen"):
        np.testing.assert_array_equal(getattr(again, name), getattr(of, name))
    replace(of, centre=of.centre[:-1]).to_npz(path)
    with pytest.raises(BundleError, match="not a reference"):
        reference.read(path)
    path.write_bytes(b"PK")
    with pytest.raises(BundleError, match="not a reference"):
        reference.read(path)


def test_too_little_is_no_reference() -> None:
    random = np.random.default_rng(5)
    few = [session(random, 8) for _ in range(2)]
    vectors = np.concatenate([rows for _, rows in few])
    assert learning.fit(SOUND, [b for b, _ in few], vectors, [b for b, _ in few], vectors) is None


def test_no_alarm_rate_is_refused() -> None:
    with pytest.raises(OptionError, match="no false-alarm rate"):
        Detector(learnt(np.random.default_rng(6)), alpha=0.0)


def test_a_recording_is_cut_into_blocks_by_its_own_time() -> None:
    starts = HOP * np.array([0, 1, 2, 3, 4, 5, 6, 7, 8, 20, 21, 22, 24], np.int64)
    batch = Batch("x", np.zeros((13, 1), np.float32), starts)
    rows = np.arange(13.0)[:, None]
    # 0..3, 4..7, 8, 20..22; what begins at 24 is too short to count
    np.testing.assert_allclose(learning.blocks(batch, rows, 4 * HOP)[:, 0], [1.5, 5.5, 8.0, 10.0])


# --- real recordings --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def phone() -> Bundle:
    """The starter's IMU bundle."""
    return edgebind.load(starter.folder("imu", "int8"))


@pytest.fixture(scope="module")
def of_starter(phone: Bundle) -> Reference:
    """What `edgebind export` learns from the recordings that ship."""
    parts = [recordings.read(starter.recordings(part, "imu"), phone.manifest) for part in ("calibration", "gate")]
    seen, judged = ([recording.batch() for recording in part] for part in parts)
    graph = phone.folder / "encoder.u8u8.onnx"
    fp32 = starter.folder("imu", "fp32") / "encoder.onnx"
    found = learning.learn(graph, fp32, phone.manifest, seen, judged)
    assert found is not None
    return found


def drifts(bundle: Bundle, of: Reference, samples: np.ndarray) -> list[Drift]:
    from edgebind.signals import Chunk

    times = (np.arange(len(samples)) * 1e7).astype(np.int64)
    source = ListSource([Chunk(times, samples.astype(np.float32), "made")])
    found = [one.drift for one in embed_recording(bundle, source, detector=Detector(of))]
    return [one for one in found if one is not None]


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """A person whom nothing was calibrated on: the demo, twice over to fill a block or two."""
    _, samples = read_spsw(starter.recordings("demo", "imu")[0])
    return np.concatenate([samples] * 3)[:4000]


def test_a_new_person_is_no_drift(phone: Bundle, of_starter: Reference, walk: np.ndarray) -> None:
    found = drifts(phone, of_starter, walk)
    assert found
    assert not any(one.is_drifted for one in found)


@pytest.mark.parametrize(
    ("channels", "gain", "why"),
    [
        (slice(0, 3), 1 / 9.80665, "is acceleration in g? Give --units acc=g"),
        (slice(0, 3), 0.5, "gravity is"),
        (slice(4, 5), 0.0, "gy stands still"),
    ],
)
def test_what_changed_is_named(
    phone: Bundle, of_starter: Reference, walk: np.ndarray, channels: slice, gain: float, why: str
) -> None:
    altered = walk.copy()
    altered[:, channels] *= gain
    last = drifts(phone, of_starter, altered)[-1]
    assert last.is_drifted
    assert why in last.why


def test_degrees_and_orientation_are_named_where_one_sensor_was_calibrated(
    phone: Bundle, of_starter: Reference, walk: np.ndarray
) -> None:
    """A bundle for one robot knows how it is mounted and how fast it turns; the starter's does not."""
    names = of_starter.names
    level = walk.mean(axis=0)
    centre, deviation = of_starter.centre.copy(), of_starter.deviation.copy()
    for place, name in enumerate(names):
        if name.startswith("level of a"):
            centre[place], deviation[place] = level["xyz".index(name[-1])], 0.5
        if name.startswith("spread of g"):
            centre[place], deviation[place] = np.log(walk[:, 3 + "xyz".index(name[-1])].std()), 0.4
    of = replace(of_starter, centre=centre, deviation=deviation)
    faster, turned = walk.copy(), walk.copy()
    faster[:, 3:] = np.degrees(faster[:, 3:])
    turned[:, :3] = -turned[:, :3]
    assert "is rotation in deg/s?" in drifts(phone, of, faster)[-1].why
    assert "gravity lies along" in drifts(phone, of, turned)[-1].why


# --- where it is said -------------------------------------------------------------------------------------------------


def embedding(drift_: Drift | None, stop_s: int = 2) -> Embedding:
    return Embedding(0, stop_s * HOP, np.ones(1, np.float32), sensor="imu", drift=drift_)


def test_json_lines_gain_a_key_and_lose_none() -> None:
    before = json.loads(to_json(embedding(None)))
    after = json.loads(to_json(embedding(Drift(0.4, False))))
    assert after == {**before, "drift": {"p": 0.4, "drifted": False}}
    drifted = json.loads(to_json(embedding(Drift(1.23456e-7, True, "gx stands still"))))
    assert drifted["drift"] == {"p": 1.23e-07, "drifted": True, "why": "gx stands still"}


def test_only_a_change_is_told() -> None:
    stream = io.StringIO()
    sink = DriftSink(stream)
    for told in (
        None,
        Drift(0.5, False),
        Drift(1e-6, True, "gx stands still"),
        Drift(1e-6, True, "x"),
        Drift(0.3, False),
    ):
        sink.write(embedding(told))
    lines = stream.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == (
        "edgebind: at 2.0 s, this imu sensor no longer looks like what its bundle was calibrated on: "
        "gx stands still (p = 1e-06)"
    )
    assert lines[1].endswith("again")
