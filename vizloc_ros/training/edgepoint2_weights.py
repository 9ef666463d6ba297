"""Initialization from EdgePoint2's published weights (ONNX, MIT license), of HF-Net and of the tracker's network."""

from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.edgepoint2 import (
    DETECTOR_ORDER,
    ENCODER_ORDER,
    GROUP_CHANNELS,
    EdgePoint2Detector,
    EdgePoint2Encoder,
)
from vizloc_ros.features.onnx_session import read_network


def load_edgepoint2(path: Path, encoder: EdgePoint2Encoder, detector: EdgePoint2Detector | None = None) -> None:
    """Set encoder, descriptor head and, if given, detector to those of an EdgePoint2 file.

    A descriptor head with fewer channels takes the groups with the largest weights. The last layer of a detector
    with two layers stays as it is.

    Args:
        path: file such as ``edgepoint2_e64.onnx``.
        encoder: encoder of the same sizes; further layers of it are not changed.
        detector: detector of the same sizes.

    Raises:
        FeatureError: the file cannot be read.
        InputError: it is not an EdgePoint2 network of the same sizes.
    """
    content = read_network(path)
    try:
        onnx.checker.check_model(content.model)
        graph = onnx.load_from_string(content.model).graph
        arrays = {array.name: torch.from_numpy(numpy_helper.to_array(array).copy()) for array in graph.initializer}
        pairs = [tuple(node.input[1:3]) for node in graph.node if node.op_type == "Conv"]
        taken = len(ENCODER_ORDER)
        load_convolutions(encoder, _thinned(_named(ENCODER_ORDER, pairs[:taken], arrays), encoder.join.out_channels))
        if detector is not None:
            published = _named(DETECTOR_ORDER, pairs[taken:], arrays)
            kept = DETECTOR_ORDER if detector.second is not None else DETECTOR_ORDER[:-2]
            load_convolutions(detector, {name: published[name] for name in kept})
    except (ValueError, KeyError, RuntimeError, TypeError, onnx.checker.ValidationError) as error:
        raise InputError(
            f"{path}: is no EdgePoint2 of these sizes ({' '.join(str(error).split())[:200]}): give "
            "edgepoint2_e64.onnx, or no file to start from"
        ) from error


def load_convolutions(module: nn.Module, weights: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Set weight and bias of named convolutions of a module; all others are not changed.

    Raises:
        RuntimeError: a name is unknown, or a shape differs.
    """
    state = {}
    for name, (weight, bias) in weights.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    missing = module.load_state_dict(state, strict=False)
    if missing.unexpected_keys:
        raise RuntimeError(f"no convolutions {missing.unexpected_keys}")


def _thinned(weights: dict[str, tuple[Tensor, Tensor]], hidden: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Weights of a descriptor head with fewer groups of hidden channels."""
    (join, join_bias), (spread, spread_bias), (finest, bias) = (weights[name] for name in ("join", "spread", "finest"))
    if hidden >= len(join):
        return weights
    norms = spread.flatten(1).norm(dim=1) * finest.flatten(1).norm(dim=0)
    groups = norms.reshape(-1, GROUP_CHANNELS).square().sum(dim=1).topk(hidden // GROUP_CHANNELS).indices.sort().values
    kept = (GROUP_CHANNELS * groups[:, None] + torch.arange(GROUP_CHANNELS)).flatten()
    return {
        **weights,
        "join": (join[kept], join_bias[kept]),
        "spread": (spread[kept], spread_bias[kept]),
        "finest": (finest[:, kept], bias),
    }


def _named(
    order: tuple[str, ...], pairs: list[tuple[str, ...]], arrays: Mapping[str, Tensor]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Weight and bias by the names in ``order``, from the names of the arrays of each convolution of a graph."""
    return {name: (arrays[weight], arrays[bias]) for name, (weight, bias) in zip(order, pairs, strict=True)}
