"""What a student is told of an item is what its teacher said of that very item."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from edgebind import starter
from edgebind.errors import EdgebindError
from edgebind.train import losses
from edgebind.train.distil_recipe import Cache, DistilRecipe, Losses, Teacher
from edgebind.train.engine import Engine
from edgebind.train.lesson import LessonObjective
from edgebind.train.recipe import Data, Node, Training
from edgebind.train.stage import Stage, open_stage
from tests.train import movements

CPU = torch.device("cpu")


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """The starter's motion bundle before walks without a label."""
    movements.write_recordings(tmp_path / "walks", 3)
    plan = DistilRecipe(
        seed=1,
        out=str(tmp_path / "run"),
        teacher=Teacher(str(starter.folder("imu", "fp32"))),
        student=Node("imu", "imu-xs", preprocess={"kind": "imu"}),
        cache=Cache(records=6, record=4, shard=2),
        training=Training(steps=4, batch=16, chunk=8, learning_rate=0.003, warmup_steps=1),
        data=(Data("recordings", str(tmp_path / "walks")),),
    )
    found = open_stage(plan, None, CPU, None)
    # Both see alike, so that what one read can be handed to the other.
    found = replace(found, student=replace(found.student, prepare=found.teacher.prepare))
    found.cache.fill(found.draw, found.teacher_rows)
    return found


def _lesson(stage: Stage) -> LessonObjective:
    return stage.lesson(stage.student.module, stage.recipe.training.chunks)


@pytest.mark.parametrize(("step", "chunk"), [(0, 0), (0, 1), (5, 1)])
def test_the_cached_vectors_are_those_of_the_items_that_are_drawn_again(stage: Stage, step: int, chunk: int) -> None:
    drawn = _lesson(stage).draw(step, chunk, 8, np.random.default_rng(0))
    with torch.no_grad():
        expected = stage.teacher.module(drawn.inputs)
    torch.testing.assert_close(drawn.teacher, expected, rtol=0, atol=2e-3)
    assert len({drawn.name(row) for row in range(8)}) > 4, "eight items, of two records"


def test_a_step_draws_the_same_whatever_was_drawn_before(stage: Stage) -> None:
    lesson = _lesson(stage)
    whole = [lesson.draw(step, chunk, 8, np.random.default_rng(0)) for step in range(3) for chunk in range(2)]
    alone = _lesson(stage).draw(2, 0, 8, np.random.default_rng(0))
    torch.testing.assert_close(whole[4].inputs, alone.inputs, rtol=0, atol=0)
    torch.testing.assert_close(whole[4].teacher, alone.teacher, rtol=0, atol=0)
    assert not torch.equal(whole[3].inputs, alone.inputs)


def test_parts_are_weighed_and_left_out(stage: Stage) -> None:
    plan = replace(stage.recipe, losses=Losses(affinity=0.5, contrast=0.0, mse=2.0, temperature=0.3))
    lesson = _lesson(replace(stage, recipe=plan))
    drawn = lesson.draw(0, 0, 8, np.random.default_rng(0))
    vectors = torch.nn.functional.normalize(torch.randn(8, drawn.teacher.shape[1]), dim=1)
    found = lesson.loss([vectors], lesson.targets(drawn))
    assert set(found) == {"affinity", "mse"}
    torch.testing.assert_close(found["mse"], 2 * losses.unit_mse(vectors, drawn.teacher))
    expected = losses.affinity(vectors, drawn.teacher, drawn.teacher, temperature=0.3)
    torch.testing.assert_close(found["affinity"], 0.5 * expected)


def test_a_loss_that_is_no_number_names_the_recording(stage: Stage) -> None:
    engine = Engine(_lesson(stage), stage.recipe.training, seed=1, fingerprint="test", device=CPU)
    with torch.no_grad():
        stage.student.module.head.bias.fill_(torch.nan)  # type: ignore[union-attr,operator]
    with pytest.raises(
        EdgebindError, match=r"batch 0, chunk 0, row 0: walk_\d.csv at \d.\d\d s: the loss at step 0 is nan"
    ):
        engine.advance()
