"""What the race of students reports; how fast anything is, no test can know."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from edgebind.benchmarks import students as race  # noqa: E402  (needs torch)
from edgebind.models import students  # noqa: E402  (needs torch)


@pytest.mark.slow
def test_every_student_races_the_tower_it_stands_in_for() -> None:
    report = race.measure(("imu",), seconds=0.1, threads=1)
    rows = report["results"]["imu"]
    assert [row["name"] for row in rows] == [race.PEER, race.LEANER, *students.names("imu")]
    assert rows[0]["times_faster"] == 1
    assert {row["calls"] for row in rows} == {rows[0]["calls"]}
    for row in rows[2:]:
        assert row["macs"] == students.count_macs(students.build(row["name"], dim=384), torch.zeros(1, 6, 200))
        assert row["times_faster"] == pytest.approx(rows[0]["cpu_ms"] / row["cpu_ms"], abs=0.1)
