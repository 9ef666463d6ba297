"""Initialization of the light network from EdgePoint2's published weights (ONNX, MIT license)."""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.onnx_session import read_network
from vizloc_ros.pixloc.network.light import EDGEPOINT2_ORDER, LightNetwork, load_convolutions


def load_edgepoint2(network: LightNetwork, path: Path) -> None:
    """Set encoder and descriptor head to those of an EdgePoint2 file; other weights are not changed.

    Raises:
        FeatureError: the file cannot be read.
        ConfigError: it is not an EdgePoint2 network of the same sizes.
    """
    content = read_network(path)
    try:
        onnx.checker.check_model(content.model)
        model = onnx.load_from_string(content.model)
        arrays = {array.name: numpy_helper.to_array(array) for array in model.graph.initializer}
        convolutions = [node for node in model.graph.node if node.op_type == "Conv"][: len(EDGEPOINT2_ORDER)]
        weights = {
            name: tuple(torch.from_numpy(np.array(arrays[key])) for key in node.input[1:3])
            for name, node in zip(EDGEPOINT2_ORDER, convolutions, strict=True)
        }
        load_convolutions(network, weights)
    except (ValueError, KeyError, RuntimeError, TypeError, onnx.checker.ValidationError) as error:
        raise ConfigError(
            f"{path}: is no EdgePoint2 of these sizes ({' '.join(str(error).split())[:200]}): give "
            "edgepoint2_e64.onnx, or leave 'pretrained' empty"
        ) from error
