"""NVIDIA Model Optimizer on one graph, in an interpreter that has it: edgebind is not imported here.

python modelopt_child.py GRAPH.onnx WINDOWS.npy max|entropy OUT.onnx
"""

from __future__ import annotations

import sys

import numpy as np


def quantise(graph: str, windows: str, method: str, out: str) -> None:
    """Its own defaults in all but the method: Q/DQ for TensorRT, FP16 around INT8."""
    from modelopt.onnx.quantization import quantize  # type: ignore[import-not-found]

    quantize(
        onnx_path=graph,
        quantize_mode="int8",
        calibration_data=np.load(windows),
        calibration_method=method,
        calibration_eps=["cpu"],
        output_path=out,
        log_level="ERROR",
    )


if __name__ == "__main__":
    quantise(*sys.argv[1:])
