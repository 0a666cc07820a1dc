"""torch module -> ONNX file. The only file of the export that needs torch."""

from __future__ import annotations

import contextlib
import io
import itertools
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from edgebind import extras
from edgebind.errors import ExportError, MissingDependencyError
from edgebind.export.simplify import LARGE

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET = 18
"""Has LayerNormalization as one operator (17) and is read by TensorRT 10.3."""
INPUT, OUTPUT = "input", "embedding"


def to_onnx(module: nn.Module, example: np.ndarray, path: Path) -> np.ndarray:
    """Write `module` to `path` and return its own output on `example`, for the parity check.

    Parameters
    ----------
    module: maps one tensor (batch, ...) to unit rows (batch, dim). Put into eval mode, else dropout would be exported.
    example: at least two inputs, since a batch of one would be taken for a constant.
    path: weights above 2 GiB go beside it, into `<path>.data`.

    Raises
    ------
    ExportError: the exporter cannot follow the module, or a part of it refuses eval mode.
    MissingDependencyError: onnxscript is not installed.
    """
    _require_eval(module)
    inputs = torch.from_numpy(example)
    with torch.no_grad(), _quiet():
        expected = module(inputs).numpy()
        _export(module, inputs, path)
    return np.asarray(expected)


def _require_eval(module: nn.Module) -> None:
    module.eval()
    training = [name or type(module).__name__ for name, part in module.named_modules() if part.training]
    if training:
        raise ExportError("a part stays in training mode", where=training[0], remedy="its dropout would be exported")


def _export(module: nn.Module, inputs: torch.Tensor, path: Path) -> None:
    size = sum(p.numel() * p.element_size() for p in (*module.parameters(), *module.buffers()))
    try:
        program = torch.onnx.export(
            module,
            (inputs,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        assert program is not None  # torch says so where it is given no file
        _free_our_names(program.model.graph)
        program.save(path, external_data=size > LARGE)
    except ImportError as error:
        raise MissingDependencyError(f"{error.name} is not installed", remedy=extras.remedy("train")) from error
    except OSError:
        raise
    except Exception as error:  # torch wraps whatever went wrong in classes of private modules
        reason = str(error.__cause__ or error).strip().splitlines()
        raise ExportError(f"torch cannot export it: {reason[0][:300] if reason else type(error).__name__}") from error


def _free_our_names(graph: ir.Graph) -> None:
    """Give another name to inner tensors that are called as the ends are, such as the output of an `nn.Embedding`.

    torch names each tensor after what makes it, and then the ends as asked, without a look at who has that name already.
    """
    ends = {*map(id, graph.inputs), *map(id, graph.outputs)}
    inner = [*graph.initializers.values(), *(value for node in graph for value in node.outputs)]
    taken = {value.name for value in inner}
    for value in inner:
        if id(value) not in ends and value.name in (INPUT, OUTPUT):
            value.name = next(name for number in itertools.count(1) if (name := f"{value.name}_{number}") not in taken)
            taken.add(value.name)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """The exporter talks about itself; its warnings say nothing about this module, and parity is checked anyway."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
