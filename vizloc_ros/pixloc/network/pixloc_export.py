"""Export to ONNX: one graph from a gray image to features and confidences, channels last."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from vizloc_ros.errors import ConfigError
from vizloc_ros.features.onnx_export import halve_weights, traced_graph, weights_identity, write_checksummed
from vizloc_ros.pixloc.extractors.pixloc_weights import FORMAT_VERSION, PIXLOC_METADATA, output_names
from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.network.pixloc_config import COARSEST
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

_EXAMPLE = (3 * COARSEST, 2 * COARSEST)  # (width, height)


class _ChannelsLast(nn.Module):
    """Graph of the network, with features in the memory order in which the optimizer reads them."""

    def __init__(self, network: PixLocNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Map (1, 1, H, W) uint8 to the outputs of ``output_names``."""
        levels = self.network(image.to(torch.float32))
        return tuple(part for f, c in levels for part in (f.permute(0, 2, 3, 1).contiguous(), c.squeeze(1)))


def export_onnx(
    network: PixLocNetwork,
    path: Path,
    *,
    loss: BarronLoss,
    half: bool = True,
    size: tuple[int, int] | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write the network with its damping and loss to an ONNX file.

    Args:
        network: trained network; it is not changed.
        path: path of the file, which is written whole or not at all.
        loss: robust cost with which it was trained.
        half: True to store weights in 16 bit; computation stays in 32 bit.
        size: (width, height) of a graph of fixed size; None for any multiples of 32.
        metadata: further metadata of the file, e.g. about the training.

    Raises:
        ConfigError: the size is not of multiples of 32.
    """
    width, height = size or _EXAMPLE
    if width % COARSEST or height % COARSEST:
        raise ConfigError(f"the sides of the network's images are multiples of {COARSEST}, not {width}x{height}")
    example = torch.zeros(1, 1, height, width, dtype=torch.uint8)
    names = output_names(len(network.config.strides))
    model = traced_graph(_ChannelsLast(network), example, names, dynamic=size is None)
    if half:
        halve_weights(model)
    own = {
        PIXLOC_METADATA: FORMAT_VERSION,
        "kind": network.config.kind,
        "config": network.config.model_dump_json(),
        "weights_id": weights_identity(network, half),
        "dampings": json.dumps(network.dampings().detach().cpu().tolist()),
        "robust_alpha": str(loss.alpha),
        "robust_scale": str(loss.scale),
    }
    write_checksummed(model, {**(metadata or {}), **own}, path)
