"""A small PixLoc network with random weights, and its file. Needs torch."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from vizloc_ros.features.hfnet.edgepoint2 import ENCODER_ORDER
from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig, UNetConfig
from vizloc_ros.pixloc.network.pixloc_export import export_onnx
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

LIGHT = LightConfig(channels=(8, 12, 16), hidden=32, dimension=16)
UNET = UNetConfig(
    blocks=(1, 1, 1, 1, 2),
    channels=(4, 8, 8, 16, 16),
    decoder=(16, 8, 8, 8),
    strides=(1, 4, 16),
    dimensions=(4, 8, 16),
)
LOSS = BarronLoss(-1.0, 0.25)


def small_network(config: NetworkConfig = LIGHT, *, trained: bool = True) -> PixLocNetwork:
    """Random weights, and where ``trained`` also random where training starts from zeros."""
    torch.manual_seed(0)
    network = PixLocNetwork(config).eval()
    if trained:
        with torch.no_grad():
            for values in network.features.parameters():
                if not values.any():
                    values.normal_(0, 0.5)
            network.damping.normal_()
    return network


def exported(path: Path, network: PixLocNetwork | None = None, **options: Any) -> Path:
    export_onnx(network or small_network(), path, **{"loss": LOSS, **options})
    return path


def levels_of(network: PixLocNetwork, image: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """(H, W, C) features and (H, W) confidences of each level of a (H, W) image."""
    with torch.no_grad():
        levels = network(torch.from_numpy(np.ascontiguousarray(image))[None, None].float())
    return [(features[0].permute(1, 2, 0).numpy(), confidences[0, 0].numpy()) for features, confidences in levels]


def write_edgepoint2(path: Path, network: LightNetwork, order: tuple[str, ...] = ENCODER_ORDER) -> Path:
    """A file with the convolutions of a network in this order; the published weights are no part of the project."""
    nodes, weights, inputs, outputs = [], [], [], []
    for name in order:
        convolution = network.get_submodule(name)
        weight = convolution.weight.detach().numpy()
        weights += [numpy_helper.from_array(weight, f"{name}.w")]
        weights += [numpy_helper.from_array(convolution.bias.detach().numpy(), f"{name}.b")]
        given = [f"{name}.in", f"{name}.w", f"{name}.b"]
        nodes.append(helper.make_node("Conv", given, [f"{name}.out"], group=convolution.groups))
        channels = convolution.in_channels
        inputs.append(helper.make_tensor_value_info(given[0], TensorProto.FLOAT, [1, channels, 8, 8]))
        outputs.append(helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, [None] * 4))
    graph = helper.make_graph(nodes, "convolutions", inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path
