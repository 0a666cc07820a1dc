from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from edgebind.backends.onnxruntime import OnnxRuntimeBackend
from edgebind.errors import ExportError, ParityError
from edgebind.export import parity, simplify

torch = pytest.importorskip("torch")


def test_the_graph_has_opset_18_and_native_layer_norm(mixed_graph: Path) -> None:
    model = onnx.load(mixed_graph)
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", 18)]
    kinds = [node.op_type for node in model.graph.node]
    assert kinds.count("LayerNormalization") == 1
    assert not {"BatchNormalization", "Dropout", "Constant"} & set(kinds)
    assert (model.graph.input[0].name, model.graph.output[0].name) == ("input", "embedding")


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_batch_stays_free(mixed_graph: Path, mixed: Any, batch: int) -> None:
    inputs = parity.example((6, 64), "float32", batch=batch)
    expected = mixed.eval()(torch.from_numpy(inputs)).detach().numpy()
    with OnnxRuntimeBackend(mixed_graph) as backend:
        np.testing.assert_allclose(backend.infer({"input": inputs})["embedding"], expected, atol=1e-5)


def test_a_module_in_training_mode_is_exported_without_its_dropout(mixed: Any, tmp_path: Path) -> None:
    from edgebind.export.torch_onnx import to_onnx

    inputs = parity.example((6, 64), "float32")
    expected = to_onnx(mixed.train(), inputs, tmp_path / "encoder.onnx")
    assert not mixed.training
    assert parity.check(expected, tmp_path / "encoder.onnx", inputs) <= 1e-5


def test_inner_tensors_may_be_called_as_our_ends_are(tmp_path: Path) -> None:
    """As in BERT: torch calls the output of an `nn.Embedding` `embedding`, and a parameter as its module does."""
    from edgebind.export.torch_onnx import to_onnx

    class Sentence(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.words, self.places = torch.nn.Embedding(11, 8), torch.nn.Embedding(3, 8)
            self.input, self.embedding = (torch.nn.Parameter(torch.randn(8)) for _ in range(2))

        def forward(self, ids: Any) -> Any:
            tokens = (self.words(ids) + self.places(torch.arange(3))) * self.input + self.embedding
            return torch.nn.functional.normalize(tokens.mean(1), dim=1)

    ids = np.array([[1, 2, 3], [4, 5, 6]])
    torch.manual_seed(0)
    expected = to_onnx(Sentence(), ids, tmp_path / "exported.onnx")
    onnx.checker.check_model(tmp_path / "exported.onnx", full_check=True)
    simplify.simplify(tmp_path / "exported.onnx", tmp_path / "encoder.onnx")
    assert parity.check(expected, tmp_path / "encoder.onnx", ids) <= 1e-5


def test_a_part_that_refuses_eval_mode_is_refused(tmp_path: Path) -> None:
    from edgebind.export.torch_onnx import to_onnx

    class Stubborn(torch.nn.Dropout):  # type: ignore[misc, name-defined]
        def train(self, mode: bool = True) -> Stubborn:
            return self

    with pytest.raises(ExportError, match="stays in training mode"):
        to_onnx(torch.nn.Sequential(Stubborn(0.5)), np.zeros((2, 3), np.float32), tmp_path / "encoder.onnx")


def test_what_torch_cannot_follow_is_one_line(tmp_path: Path) -> None:
    from edgebind.export.torch_onnx import to_onnx

    class Fickle(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportError, match="torch cannot export it"):
        to_onnx(Fickle(), np.zeros((2, 3), np.float32), tmp_path / "encoder.onnx")


def test_another_result_is_no_parity(mixed_graph: Path) -> None:
    inputs = parity.example((6, 64), "float32")
    with OnnxRuntimeBackend(mixed_graph) as backend:
        right = backend.infer({"input": inputs})["embedding"]
    assert parity.check(right, mixed_graph, inputs) == 0
    wrong = right.copy()
    wrong[1, 3] += 2e-4
    with pytest.raises(ParityError, match=r"something else.*wanted at most 0\.0001"):
        parity.check(wrong, mixed_graph, inputs)
    with pytest.raises(ParityError, match="another shape"):
        parity.check(right[:, :5], mixed_graph, inputs)


@pytest.mark.parametrize(
    ("forward", "line"),
    [
        (lambda x: 2 * torch.nn.functional.normalize(x, dim=1), "rows are no unit vectors"),
        (
            lambda x: torch.nn.functional.normalize(x - x.mean(dim=0), dim=1),
            "differently in a batch than alone|no unit",
        ),
    ],
)
def test_no_unit_rows_and_mixed_batches_are_no_parity(forward: Any, line: str, tmp_path: Path) -> None:
    from edgebind.export.torch_onnx import to_onnx

    class Odd(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return forward(x)

    inputs = parity.example((8,), "float32", batch=3)
    expected = to_onnx(Odd(), inputs, tmp_path / "encoder.onnx")
    with pytest.raises(ParityError, match=line):
        parity.check(expected, tmp_path / "encoder.onnx", inputs)


def test_example_prompts_end_as_clips_do() -> None:
    ids = parity.example_of("text")
    assert ids.shape == (2, 77)
    assert ids.dtype == np.int64
    assert (ids.max(axis=1) == 49407).all()


def test_large_weights_lie_in_one_file_beside_the_graph(
    mixed: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The road of vision in FP32, on a small model: the limit is lowered."""
    from edgebind import onnx_external
    from edgebind.export import torch_onnx

    monkeypatch.setattr(torch_onnx, "LARGE", 1000)
    monkeypatch.setattr(simplify, "LARGE", 1000)
    inputs = parity.example((6, 64), "float32")
    expected = torch_onnx.to_onnx(mixed, inputs, tmp_path / "exported.onnx")
    simplify.simplify(tmp_path / "exported.onnx", tmp_path / "encoder.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["encoder.onnx", "encoder.onnx.data"]
    assert onnx_external.locations(tmp_path / "encoder.onnx") == {"encoder.onnx.data"}
    parity.check(expected, tmp_path / "encoder.onnx", inputs)


def test_no_onnx_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "encoder.onnx").write_bytes(b"\x08\x07junk")
    from edgebind.calibration.graph import Graph

    with pytest.raises(ExportError, match=r"not a readable ONNX graph|not an encoder"):
        Graph.read(tmp_path / "encoder.onnx")
