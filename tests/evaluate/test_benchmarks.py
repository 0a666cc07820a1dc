"""Every data set ImageBind is judged on, end to end: a checkpoint in ImageBind's layout, though of a fraction of its size."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edgebind import preprocess
from edgebind.evaluate import report, road
from edgebind.evaluate.datasets import open_dataset
from edgebind.evaluate.results import Options
from edgebind.preprocess import text
from tests.evaluate.datasets.trees import TREES

torch = pytest.importorskip("torch")

from edgebind.models import checkpoint, imagebind  # noqa: E402  (they need torch)

EXPECTED = {
    "audiocaps": ["AudioCaps test: text to audio", "AudioCaps test: audio to text"],
    "audioset": ["AudioSet eval", "AudioSet eval seen", "AudioSet eval: audio+vision"],
    "clotho": ["Clotho evaluation: text to audio", "Clotho evaluation: audio to text"],
    "ego4d": [
        "Ego4D scenarios val",
        "Ego4D motion and picture: imu to vision",
        "Ego4D motion and picture: vision to imu",
    ],
    "esc50": ["ESC-50"],
    "imagenet1k": ["ImageNet-1K"],
    "kinetics400": ["Kinetics-400"],
    "llvip": ["LLVIP test", "LLVIP test pairs: thermal to vision", "LLVIP test pairs: vision to thermal"],
    "msrvtt": [
        "MSR-VTT 1k-A vision: text to vision",
        "MSR-VTT 1k-A vision: vision to text",
        "MSR-VTT 1k-A audio: text to audio",
        "MSR-VTT 1k-A audio: audio to text",
        "MSR-VTT: text to audio+vision",
    ],
    "nyuv2": ["NYU-v2 depth", "NYU-v2 pairs: depth to vision", "NYU-v2 pairs: vision to depth"],
    "places365": ["Places365"],
    "sunrgbd": ["SUN RGB-D depth", "SUN RGB-D pairs: depth to vision", "SUN RGB-D pairs: vision to depth"],
    "vggsound": ["VGGSound test", "VGGSound test seen", "VGGSound test: audio+vision"],
}


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    sizes = {name: replace(size, width=16, depth=1, heads=2) for name, size in imagebind.ARCHITECTURES.items()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(imagebind, "ARCHITECTURES", sizes)
        yield


@pytest.fixture(scope="module")
def model(small: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    towers = {
        name: imagebind.build_tower(name, architecture=size).eval() for name, size in imagebind.ARCHITECTURES.items()
    }
    path = tmp_path_factory.mktemp("model") / "imagebind_small.safetensors"
    checkpoint.save_towers(path, towers, licence=None)
    return path


@pytest.mark.parametrize("name", TREES)
def test_every_benchmark_is_evaluated_beside_its_published_numbers(name: str, model: Path, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    TREES[name](tmp_path / "data")
    options = Options(("zero-shot", "retrieval", "fusion"))
    request = road.Request((str(model),), (f"{name}:{tmp_path / 'data'}",), tmp_path / "out", options=options)
    found = road.run(request)
    assert [one["subject"] for one in found["results"]] == EXPECTED[name]
    assert {one["encoder"] for one in found["results"]} == {"imagebind_small"}
    assert found["left_out"] == []
    rows = report.rows_of(found)
    assert any("ImageBind" in row.published for row in rows), "no published number beside ours"
    published = [one for asked in found["results"] for one in asked["published"]]
    shown = sum(len(row.published) for row in rows)
    fields = ("random", "text_paired", "imagebind", "supervised")
    assert shown == sum(one[field] is not None for one in published for field in fields)


OWN = {"audio": ["hark, the {}", "{}"], "vision": ["{} in sight"]}


@pytest.mark.parametrize("templates", [None, OWN], ids=["the data set's words", "templates of one's own"])
def test_the_number_is_what_the_towers_say(model: Path, tmp_path: Path, templates: dict[str, list[str]] | None) -> None:
    TREES["esc50"](tmp_path / "data")
    spec = f"esc50:{tmp_path / 'data'}"
    if templates:
        (tmp_path / "own.toml").write_text("".join(f"{name} = {texts}\n" for name, texts in templates.items()))
    own = tmp_path / "own.toml" if templates else None
    options = Options(("zero-shot",))
    found = road.run(road.Request((str(model),), (spec,), tmp_path / "out", templates=own, options=options))
    towers = checkpoint.load_towers(model, ["audio", "text"])
    (task,) = open_dataset(spec).classifications
    prepare = preprocess.for_imagebind("audio")
    with torch.inference_mode():
        sounds = towers["audio"](torch.from_numpy(np.stack([prepare(clip.load()) for clip in task.clips])))  # type: ignore[arg-type]
        prompts = (
            [[f"hark, the {name}", name] for name in ("dog", "rooster", "chirping birds")] if own else task.prompts
        )
        means = [towers["text"](torch.from_numpy(text.tokens(list(texts)))).mean(dim=0) for texts in prompts]
    nearest = torch.nn.functional.cosine_similarity(sounds[:, None], torch.stack(means)[None], dim=2).argmax(dim=1)
    right = [guess == target for guess, (target,) in zip(nearest.tolist(), task.targets, strict=True)]
    assert found["results"][0]["metrics"]["top1"] == np.mean(right)
    assert found["options"]["templates"] == (own and str(own))
    assert [one for one in report.warnings_of(found) if str(own) in one] == (
        [f"classes are called by the templates of {own}"] if own else []
    )
