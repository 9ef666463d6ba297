"""The network in two: layers that stay as they are, and those that learn to describe places."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vizloc_ros.features.hfnet.hfnet_network import HfNet

Layers = Literal["head", "deep"]


@dataclass(frozen=True)
class NetworkSplit:
    """Two parts of one network, sharing its weights.

    Attributes:
        encode: the frozen layers, (B, 1, H, W) gray values to (B, C, h, w), both on the CPU.
        head: what is trained, from there to (B, G) unit vectors, on the network's device. In evaluation mode, so that
            batch norms keep their statistics: those of small batches of like images would be worse.
        encoder_id: eight hexadecimal digits that change with the frozen weights.
    """

    encode: Callable[[Tensor], Tensor]
    head: nn.Sequential
    encoder_id: str


def split_network(network: HfNet, layers: Layers) -> NetworkSplit:
    """Freezes all of a network but its global head and, for ``deep``, the encoder behind layer 7."""
    backbone = network.backbone
    device = next(network.parameters()).device
    network.eval().requires_grad_(False).to(memory_format=torch.channels_last)
    if layers == "deep":
        head = nn.Sequential(backbone.deep, network.global_head).requires_grad_(True)
        checksum = _checksum(backbone.stem, backbone.shallow)
        return NetworkSplit(lambda image: backbone.local(image.to(device)).cpu(), head, checksum)
    head = nn.Sequential(network.global_head).requires_grad_(True)
    return NetworkSplit(lambda image: backbone(image.to(device))[1].cpu(), head, _checksum(backbone))


def _checksum(*modules: nn.Module) -> str:
    checksum = 0
    for module in modules:
        for values in module.state_dict().values():
            checksum = zlib.crc32(values.cpu().numpy().tobytes(), checksum)
    return f"{checksum:08x}"
