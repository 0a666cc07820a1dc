"""A student that computes, in float, what its INT8 graph will compute: so that its weights can learn to bear it.

    x -> Q -> DQ -> convolution or linear layer <- DQ <- Q <- weight, BatchNorm folded into it        else in float

Places and ranges are those of the exported graph and its calibrator (`edgebind.calibration`): activations are symmetric per
tensor, weights symmetric for each output channel. Rounding passes gradients on as they are and clipping stops them (the
straight-through estimator, Bengio et al. 2013; Jacob et al. 2018 for folded BatchNorm).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from edgebind.calibration.graph import Graph, Layer
from edgebind.calibration.qdq import TENSORRT, activation_grid
from edgebind.calibration.ranges import Ranges
from edgebind.errors import CalibrationError

Weighted = nn.Conv1d | nn.Conv2d | nn.Linear


@dataclass(frozen=True)
class Place:
    """A layer that INT8 computes."""

    layer: str
    """Its name in the student."""
    norm: str
    """Name of the BatchNorm that is folded into it; empty if there is none."""
    scale: float
    """Of the integers it reads: value = integer x scale."""


class FakeQuantised(nn.Module):
    """A student's own weights, read through the grids of its INT8 graph."""

    def __init__(self, student: nn.Module, places: Sequence[Place]) -> None:
        super().__init__()
        self.student = fx.symbolic_trace(student.eval())
        """The same parameters under the same names."""
        self._places = {place.layer: place for place in places}

    def forward(self, inputs: Tensor) -> Tensor:
        """As the student's."""
        vectors: Tensor = _Pass(self.student, self._places).run(inputs)
        return vectors


class _Pass(fx.Interpreter):
    """One pass through a student, layer by layer."""

    def __init__(self, traced: fx.GraphModule, places: dict[str, Place]) -> None:
        super().__init__(traced)
        self._places = places
        self._folded = {place.norm for place in places.values()}

    def call_module(self, target: Any, args: Any, kwargs: Any) -> Any:
        module = self.fetch_attr(target)
        if target in self._places:
            place = self._places[target]
            return _in_8_bits(module, self.fetch_attr(place.norm) if place.norm else None, place.scale, args[0])
        if target in self._folded:
            return args[0]
        if isinstance(module, _BatchNorm):  # its statistics are what the exported graph has
            return _normalised(module, args[0])
        return super().call_module(target, args, kwargs)


def _in_8_bits(layer: Weighted, norm: _BatchNorm | None, scale: float, inputs: Tensor) -> Tensor:
    weight, bias = folded(layer, norm)
    seen = torch.fake_quantize_per_tensor_affine(inputs, scale, 0, -128, 127)
    rounded = _round_weight(weight)
    if isinstance(layer, nn.Linear):
        return functional.linear(seen, rounded, bias)
    convolve = functional.conv1d if isinstance(layer, nn.Conv1d) else functional.conv2d
    return convolve(seen, rounded, bias, layer.stride, layer.padding, layer.dilation, layer.groups)


def _round_weight(weight: Tensor) -> Tensor:
    """On the grid that `edgebind.calibration.qdq.weight_scales` gives it: the largest weight is 127, or a little less."""
    largest = weight.detach().abs().flatten(1).amax(dim=1)
    scales = _next_halves(torch.where(largest > 0, largest / 127, torch.ones_like(largest)))
    zeros = torch.zeros(len(scales), dtype=torch.int32, device=weight.device)
    return torch.fake_quantize_per_channel_affine(weight, scales, zeros, 0, -127, 127)


def _next_halves(scales: Tensor) -> Tensor:
    """As `edgebind.calibration.qdq.next_halves`: the bits of a positive half, read as an integer, count upwards with it."""
    halves = scales.half()
    above = (halves.view(torch.int16) + 1).view(torch.float16)
    return torch.where(halves.float() < scales, above, halves).float()


def folded(layer: Weighted, norm: _BatchNorm | None) -> tuple[Tensor, Tensor | None]:
    """Weight and bias of a layer with the BatchNorm behind it, as that computes in eval mode: w x gamma / sqrt(var + eps)."""
    if norm is None:
        return layer.weight, layer.bias
    assert norm.running_var is not None and norm.running_mean is not None
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    shift = norm.bias - norm.running_mean * gain
    bias = shift if layer.bias is None else layer.bias * gain + shift
    return layer.weight * gain.reshape(-1, *[1] * (layer.weight.ndim - 1)), bias


def _normalised(norm: _BatchNorm, inputs: Tensor) -> Tensor:
    return functional.batch_norm(
        inputs, norm.running_mean, norm.running_var, norm.weight, norm.bias, False, 0.0, norm.eps
    )


def find_places(student: nn.Module, graph: Graph, ranges: Ranges) -> list[Place]:
    """Which of a student's layers the INT8 version of its exported graph computes in 8 bits, and on what grids.

    Raises
    ------
    CalibrationError: a layer of the graph that is none of the student's, or has other weights.
    """
    norms = _norms_behind(fx.symbolic_trace(student.eval()))
    return [_place(student, layer, graph, ranges, norms) for layer in graph.layers]


def _norms_behind(traced: fx.GraphModule) -> dict[str, str]:
    """{layer: the BatchNorm that alone reads it}."""
    modules = dict(traced.named_modules())
    found = {}
    for node in traced.graph.nodes:
        if node.op == "call_module" and isinstance(modules[node.target], _BatchNorm):
            before = node.args[0]
            if before.op == "call_module" and len(before.users) == 1:
                found[str(before.target)] = str(node.target)
    return found


def _place(student: nn.Module, layer: Layer, graph: Graph, ranges: Ranges, norms: dict[str, str]) -> Place:
    name = layer.weight.removesuffix(".weight")
    module = dict(student.named_modules()).get(name)
    if not isinstance(module, Weighted):
        raise CalibrationError("a layer of the exported graph is none of the student's", where=layer.title)
    norm = norms.get(name, "")
    inside = student.get_submodule(norm) if norm else None
    assert inside is None or isinstance(inside, _BatchNorm)
    weight, _ = folded(module, inside)
    exported = torch.from_numpy(graph.value(layer.weight).copy())
    if layer.axis == 1:
        exported = exported.T
    if exported.shape != weight.shape or not torch.allclose(exported, weight.detach().cpu(), rtol=1e-3, atol=1e-5):
        raise CalibrationError("a layer of the exported graph has other weights than the student's", where=layer.title)
    grid = activation_grid(ranges.tensors[layer.activation], TENSORRT)
    return Place(name, norm, float(grid.scale))
