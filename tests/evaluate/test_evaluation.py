"""Whole evaluations on toy data, where every answer is known."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edgebind.errors import BackendError, OptionError, RecordingError
from edgebind.evaluate.dataset import Classification, Clip, Dataset, Labelled, Pairing, Published, Recordings
from edgebind.evaluate.encoder import Encoder, unit_rows
from edgebind.evaluate.evaluation import evaluate
from edgebind.evaluate.panel import Panel, class_vectors
from edgebind.evaluate.results import Context, Options, Result, Source
from edgebind.evaluate.vectors import Store
from edgebind.labels import LabelBank
from edgebind.manifest import WindowSpec
from tests import bundles, recordings
from tests.evaluate.by_hand import HandPanel, axes, clip, sensor, text_clip, words

WORDS = {f"a photo of {name}": axes(at)[0] for at, name in enumerate(("cat", "dog", "sea"))}
EYE = sensor("eye", "depth")
EAR = sensor("ear", "thermal")
SPEAKER = words(WORDS)


def _run(panel: Panel, *datasets: Dataset, **options: object) -> list[Result]:
    context = Context(panel, Store(None), replace(Options(), **options))  # type: ignore[arg-type]
    return evaluate(context, [Source(f"toy{at}", dataset) for at, dataset in enumerate(datasets)])


def _pets(modality: str = "depth", *, noise: float = 0.0, seed: int = 0, metric: str = "top1") -> Classification:
    rng = np.random.default_rng(seed)
    targets = tuple((at % 3,) for at in range(60))
    vectors = [axes(target)[0] + noise * rng.normal(size=6).astype(np.float32) for (target,) in targets]
    return Classification(
        "pets",
        modality,
        [clip(f"item {at}", vector) for at, vector in enumerate(vectors)],
        targets,
        ("cat", "dog", "sea"),
        tuple((text,) for text in WORDS),
        metric=metric,
        published=(Published("top1", random=33.3, imagebind=90.0),),
        groups=tuple(f"group {at // 12}" for at in range(60)),
    )


def test_zero_shot_and_few_shot_of_encoders_side_by_side() -> None:
    mixed_up = sensor("mixed-up", "depth", turn=axes(1, 2, 0, 3, 4, 5))
    found = _run(HandPanel(EYE, mixed_up, SPEAKER), Dataset("toy", (_pets(),)))
    table = {(result.task, result.encoder): result for result in found}
    right, wrong = table["zero-shot", "eye"], table["zero-shot", "mixed-up"]
    assert right.metrics == {"top1": 1.0, "balanced": 1.0}
    assert wrong.metrics == {"top1": 0.0, "balanced": 0.0, "same as first": 0.0}
    assert right.headline == "top1"  # the published metric
    assert right.chance["top1"] == pytest.approx(1 / 3)
    assert right.details["confusion"] == [[20, 0, 0], [0, 20, 0], [0, 0, 20]]
    # A probe learns what prompts cannot say: that cats are called dogs here.
    assert table["few-shot", "mixed-up"].metrics["1 shots"] == 1.0
    assert [point["shots"] for point in table["few-shot", "eye"].details["points"]] == [1, 2, 4, 8]


def test_a_class_of_several_names_is_as_near_as_the_nearest_of_them() -> None:
    """Pets are cats or dogs: the mean of both lies farther from a dog than a word between dog and sea does."""
    between = unit_rows(axes(1) + 0.99 * axes(2))[0]
    speaker = words({**WORDS, "the shore": between})
    task = Classification(
        "pets or shore",
        "depth",
        [clip("a dog", axes(1)[0]), clip("a cat", axes(0)[0]), clip("waves", axes(2)[0])],
        ((0,), (0,), (1,)),
        ("pets", "shore"),
        (("a photo of cat", "a photo of dog"), ("the shore",)),
    )
    named, averaged = (
        _run(HandPanel(EYE, speaker), Dataset("toy", (replace(task, by_nearest=yes),)), tasks=("zero-shot",))[
            0
        ].details["confusion"]
        for yes in (True, False)
    )
    assert named == [[2, 0], [0, 1]]
    assert averaged == [[1, 1], [0, 1]]


@pytest.mark.parametrize("tasks", [("zero-shot",), ("zero-shot", "few-shot")])
def test_what_is_there_to_learn_from_is_not_judged(tasks: tuple[str, ...]) -> None:
    """A third of the pets is given for learning, and upside down: nobody who judged them would be right in all."""
    pets = _pets()
    clips = [clip(one.name, axes(5)[0]) if at < 20 else one for at, one in enumerate(pets.clips)]
    split = replace(pets, clips=clips, training=tuple(range(20)), groups=())
    found = _run(HandPanel(EYE, SPEAKER), Dataset("toy", (split,)), tasks=tasks)
    assert [result.task for result in found] == list(tasks)
    assert {result.items for result in found} == {40}
    assert found[0].metrics["top1"] == 1.0


def test_clips_that_are_only_there_to_learn_from_are_no_question() -> None:
    def lost() -> NDArray[np.float32]:
        raise RecordingError("no such file", where="gone")

    pets = _pets()
    split = replace(pets, clips=[*pets.clips[:59], Clip("lost", lost)], training=tuple(range(59)))
    with pytest.raises(OptionError, match="pets: every clip that can be read is there to learn from"):
        _run(HandPanel(EYE, SPEAKER), Dataset("toy", (split,)), tasks=("few-shot",))


def test_a_limit_chooses_by_name_and_alike_for_all() -> None:
    (result,) = _run(HandPanel(EYE, SPEAKER), Dataset("toy", (_pets(),)), limit=7, tasks=("zero-shot",))
    assert result.items == 7


def test_windows_are_cut_as_each_encoder_wants_them(tmp_path: Path) -> None:
    folder = bundles.write(tmp_path / "one")  # 10 Hz, 1 s, every 0.5 s; names by the first four values of ax
    slow = replace(bundles.IMU, window=WindowSpec(5.0, 2.0, 1.0, bundles.IMU.window.channels, bundles.IMU.window.units))
    other = bundles.write(tmp_path / "two", slow)
    samples = np.zeros((60, 6), np.float32)
    samples[:30, 0], samples[30:, 0] = 9.81, -9.81
    labels = np.array(["a"] * 30 + ["b"] * 30)
    item = Labelled("walk", "me", "phone", recordings.stamps(60, rate_hz=10.0), samples, labels)
    asked = Recordings("toy", "imu", [item], ("a", "b"), (("a",), ("b",)))
    with Panel([str(folder), f"second={other}"]) as panel:
        found = _run(panel, Dataset("toy", recordings=(asked,)), tasks=("zero-shot",))
        assert [encoder.name for encoder, _ in panel.used] == ["one", "second"]
    assert [(result.encoder, result.items) for result in found] == [("one", 11), ("second", 5)]
    assert "same as first" not in found[1].metrics  # other windows are other items


def test_pairs_are_retrieved_both_ways_and_aligned() -> None:
    left = [clip(f"l{at}", row) for at, row in enumerate(axes(0, 1, 2, 3))]
    right = [clip(f"r{at}", row) for at, row in enumerate(axes(0, 1, 3, 2))]
    pairing = Pairing("two eyes", "depth", left, "thermal", right, tuple((at, at) for at in range(4)))
    found = {(r.task, r.subject): r for r in _run(HandPanel(EYE, EAR), Dataset("toy", pairings=(pairing,)))}
    there = found["retrieval", "two eyes: depth to thermal"]
    back = found["retrieval", "two eyes: thermal to depth"]
    assert there.metrics["recall@1"] == back.metrics["recall@1"] == 0.5
    assert there.encoder == "eye + ear"  # depth before thermal
    aligned = found["alignment", "two eyes: depth and thermal"]
    assert aligned.metrics["cosine"] == pytest.approx(0.5)
    assert aligned.chance["cosine"] == pytest.approx(0.25, abs=0.05)


def test_models_that_have_both_sensors_stand_for_each_other_in_columns_of_their_own() -> None:
    turned = axes(1, 2, 0, 3, 4, 5)
    panel = HandPanel(
        *(sensor("one", modality) for modality in ("depth", "thermal")),
        *(sensor("two", modality, turn=turned) for modality in ("depth", "thermal")),
    )
    clips = [clip(f"view {at}", row) for at, row in enumerate(axes(0, 1, 2))]
    pairing = Pairing("views", "thermal", clips, "depth", clips, tuple((at, at) for at in range(3)))
    found = _run(panel, Dataset("toy", pairings=(pairing,)), tasks=("retrieval",))
    there = {result.encoder: result.metrics["recall@1"] for result in found if result.subject.endswith("to depth")}
    # The sensor that comes first in the alphabet is named first, whoever asks: depth + thermal.
    assert there == {"one": 1.0, "two": 1.0, "one + two": 0.0, "two + one": 0.0}


def test_pairs_of_which_nothing_can_be_read_are_left_out() -> None:
    def lost() -> NDArray[np.float32]:
        raise RecordingError("no such file", where="gone")

    left = [clip("l0", axes(0)[0]), Clip("l1", lost)]
    right = [Clip("r0", lost), clip("r1", axes(1)[0])]
    pairing = Pairing("views", "depth", left, "thermal", right, ((0, 0), (1, 1)))
    with pytest.raises(OptionError, match="views: of no pair can both sides be read"):
        _run(HandPanel(EYE, EAR), Dataset("toy", pairings=(pairing,)))


def test_a_data_set_that_cannot_be_read_costs_no_other_its_answers() -> None:
    def lost() -> NDArray[np.float32]:
        raise RecordingError("no such file", where="gone")

    pets = _pets()
    gone = replace(pets, name="gone pets", clips=[Clip(f"gone {one.name}", lost) for one in pets.clips])
    blind = Pairing("views", "depth", [Clip("l0", lost)], "thermal", [clip("r0", axes(1)[0])], ((0, 0),))
    context = Context(HandPanel(EYE, EAR, SPEAKER), Store(None), replace(Options(), tasks=("zero-shot", "retrieval")))
    found = evaluate(context, [Source("toy", Dataset("toy", (gone, pets), (blind,)))])
    assert [(result.subject, result.task) for result in found] == [("pets", "zero-shot")]
    assert context.left_out == [
        "gone pets: no clip can be read, the first because: gone item 0: gone: no such file",
        "views depth: no clip can be read, the first because: l0: gone: no such file",
    ]


def test_nobody_to_embed_words_is_told_before_a_clip_is_embedded() -> None:
    def lost() -> NDArray[np.float32]:
        raise AssertionError("a clip was loaded")

    pets = _pets()
    unread = replace(pets, clips=[replace(one, load=lost) for one in pets.clips])
    with pytest.raises(OptionError, match="nothing embeds words into the space 'toy'"):
        _run(HandPanel(EYE), Dataset("toy", (unread,)), tasks=("zero-shot", "few-shot"))


def test_vectors_that_are_no_numbers_stop_the_evaluation() -> None:
    """They would be nearer to everything than anything else is: recall of 100 percent."""
    broken = replace(EYE, name="eye-fp16", run=lambda samples: np.full((len(samples), 6), np.nan, np.float32))
    with pytest.raises(BackendError, match="eye-fp16: the encoder returned values that are no numbers"):
        _run(HandPanel(broken, SPEAKER), Dataset("toy", (_pets(),)), tasks=("zero-shot",))


def _captions(modality: str, vectors: NDArray[np.float32], metric: str) -> Pairing:
    texts = list(WORDS)
    return Pairing(
        f"toy {modality}",
        "text",
        [text_clip(text) for text in texts],
        modality,
        [clip(f"video {at}", row) for at, row in enumerate(vectors)],
        tuple((at, at) for at in range(3)),
        (Published("recall@1", imagebind=6.8), Published(metric, imagebind=36.8)),
    )


def test_two_sensors_say_together_what_neither_says_alone() -> None:
    # One sensor takes cats for dogs, a little; the other dogs for the sea: their sum is right.
    seen = unit_rows(np.array([[1, 1.2, 0, 0, 0, 0], [0, 1, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], np.float32))
    heard = unit_rows(np.array([[1, 0, 0, 0, 0, 0], [0, 1, 1.2, 0, 0, 0], [0, 0, 1, 0, 0, 0]], np.float32))
    pairings = (
        _captions("depth", seen, "recall@1 depth+thermal"),
        _captions("thermal", heard, "recall@5 depth+thermal"),
    )
    found = _run(HandPanel(EYE, EAR, SPEAKER), Dataset("toy", pairings=pairings), tasks=("retrieval", "fusion"))
    table = {result.subject: result for result in found}
    asked = table["toy depth: text to depth"]
    assert [one.imagebind for one in asked.published] == [6.8]
    assert table["toy depth: depth to text"].published == ()
    together = table["toy: text to depth+thermal"]
    assert together.metrics["recall@1"] == together.metrics["recall@1 depth alone"] == 1.0
    assert [(one.metric, one.imagebind) for one in together.published] == [
        ("recall@1 depth+thermal", 36.8),
        ("recall@5 depth+thermal", 36.8),
    ]
    classes = tuple((text,) for text in WORDS)
    both = Dataset(
        "toy",
        tuple(
            Classification(
                f"pets by {modality}",
                modality,
                [clip(f"video {at}", row) for at, row in enumerate(vectors)],
                ((0,), (1,), (2,)),
                ("cat", "dog", "sea"),
                classes,
            )
            for modality, vectors in (("depth", seen), ("thermal", heard))
        ),
    )
    (fused,) = _run(HandPanel(EYE, EAR, SPEAKER), both, tasks=("fusion",))
    assert fused.metrics == {
        "balanced": 1.0,
        "balanced depth alone": pytest.approx(2 / 3),
        "balanced thermal alone": pytest.approx(2 / 3),
    }


def test_classes_that_two_data_sets_share_show_alignment_without_pairs() -> None:
    eye, ear = _pets("depth", noise=0.1), replace(_pets("thermal", noise=0.1, seed=1), name="sounds of pets")
    panel = HandPanel(EYE, EAR, SPEAKER)
    (found,) = _run(panel, Dataset("one", (eye,)), Dataset("two", (ear,)), tasks=("alignment",))
    assert found.subject == "pets and sounds of pets, by class"
    assert found.metrics == {"classes found": 1.0, "depth": 1.0, "thermal": 1.0}
    assert found.chance["depth"] == pytest.approx(1 / 3)


def test_encoders_of_two_spaces_are_never_compared() -> None:
    elsewhere = sensor("elsewhere", "thermal", space="another")
    pairing = Pairing("p", "depth", [clip("l", axes(0)[0])], "thermal", [clip("r", axes(0)[0])], ((0, 0),))
    with pytest.raises(OptionError, match="nothing that these models could be asked") as caught:
        _run(HandPanel(EYE, elsewhere), Dataset("toy", pairings=(pairing,)))
    assert "no models of one space embed depth and thermal" in str(caught.value)


def test_a_data_set_that_no_model_embeds_is_one_clear_line() -> None:
    with pytest.raises(OptionError, match="pets: no model embeds depth"):
        _run(HandPanel(EAR, SPEAKER), Dataset("toy", (_pets(),)))


# --- who speaks for a space -------------------------------------------------------------------------------------------


def _vectors(panel: Panel, encoder: Encoder) -> NDArray[np.float32]:
    return class_vectors(panel, Store(None), encoder, [("a photo of cat", "a photo of dog"), ("a photo of sea",)])


def test_prompts_that_an_encoder_brings_need_no_text_encoder() -> None:
    bank = LabelBank(tuple(WORDS), np.stack(list(WORDS.values())), "toy")
    found = _vectors(HandPanel(), sensor("eye", "depth", bank=bank))
    np.testing.assert_allclose(found, [[0.5**0.5, 0.5**0.5, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0]], atol=1e-6)


def test_a_space_without_words_is_one_clear_line() -> None:
    with pytest.raises(OptionError, match=r"eye: nothing embeds words into the space 'toy' .*--text"):
        _vectors(HandPanel(), EYE)
    with pytest.raises(OptionError, match=r"got words of the space 'another'"):
        _vectors(HandPanel(words(WORDS, space="another")), EYE)


def test_a_space_of_another_name_is_known_by_its_own_prompts() -> None:
    bank = LabelBank(("a photo of cat",), axes(0), "my own")
    mine = sensor("eye", "depth", space="my own", bank=bank)
    np.testing.assert_allclose(_vectors(HandPanel(SPEAKER), mine)[1], axes(2)[0], atol=1e-6)
    other = sensor("eye", "depth", space="my own", bank=LabelBank(("a photo of cat",), axes(4), "my own"))
    with pytest.raises(OptionError, match="nothing embeds words"):
        _vectors(HandPanel(SPEAKER), other)


def test_two_models_of_one_name_are_one_clear_line(tmp_path: Path) -> None:
    one, two = bundles.write(tmp_path / "a" / "imu"), bundles.write(tmp_path / "b" / "imu")
    with pytest.raises(OptionError, match=r"two models are called 'imu'.*say OTHER_NAME="):
        Panel([str(one), str(two)])
    assert list(Panel([str(one), f"student={two}"]).models) == ["imu", "student"]
