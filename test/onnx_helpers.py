"""Small networks with dense outputs, as ONNX files."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

STRIDE = 4
KERNELS = np.random.default_rng(0).normal(size=(16, 1, STRIDE, STRIDE)).astype(np.float32)
SLOPE, DUSTBIN = np.float32(20), np.float32(8)
CONSTANTS = {"slope": SLOPE, "dustbin": DUSTBIN, "zero": np.float32(0), "kernels": KERNELS} | {
    name: np.array([value]) for name, value in (("first", 0), ("second", 1), ("channels", 1))
}
WHOLE_CELL = {"kernel_shape": [8, 8], "strides": [8, 8]}
# Each takes "gray", the first channel of the image; the last name is the output's.
DETECTORS = {
    "probability": [helper.make_node("Identity", ["gray"], ["scores"])],
    "logit": [
        helper.make_node("Mul", ["gray", "slope"], ["steep"]),
        helper.make_node("Sub", ["steep", "dustbin"], ["score_logits"]),
    ],
    "cells": [
        helper.make_node("Mul", ["gray", "slope"], ["bright"]),
        helper.make_node("SpaceToDepth", ["bright"], ["pixels"], blocksize=8),
        helper.make_node("MaxPool", ["gray"], ["brightest"], **WHOLE_CELL),
        helper.make_node("Mul", ["brightest", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "dustbin"], ["none"]),
        helper.make_node("Concat", ["pixels", "none"], ["semi"], axis=1),
    ],
}
RELIABILITY = [helper.make_node("AveragePool", ["gray"], ["reliability"], **WHOLE_CELL)]
SHAPES = {
    "scores": [1, 1, "H", "W"],
    "score_logits": [1, 1, "H", "W"],
    "semi": [1, 65, "h", "w"],
    "reliability": [1, 1, "h", "w"],
    "features": [1, len(KERNELS), "y", "x"],
}


def write_network(
    path: Path, *parts: list[onnx.NodeProto], channels: int = 1, size: tuple[int | str, int | str] = ("H", "W")
) -> Path:
    """A network of these detectors, with descriptors that are KERNELS on blocks of 4 x 4 pixels."""
    nodes = [
        helper.make_node("Slice", ["image", "first", "second", "channels"], ["gray"]),
        *[node for part in parts for node in part],
        helper.make_node("Conv", ["gray", "kernels"], ["features"], strides=[STRIDE, STRIDE]),
    ]
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, channels, *size])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPES[name])
            for name in (node.output[0] for node in nodes)
            if name in SHAPES
        ],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in CONSTANTS.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    onnx.save(model, str(path))
    return path
