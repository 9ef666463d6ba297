"""Split of the network into frozen layers and the trained head."""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from vizloc_ros.errors import InputError
from vizloc_ros.features.hfnet.hfnet_network import HfNet, MobileHfNet

Layers = Literal["head", "deep"]


@dataclass(frozen=True)
class NetworkSplit:
    """Two parts of one network, with its weights.

    Attributes:
        encode: frozen layers, from (B, 1, H, W) gray values to (B, C, h, w) activations, both on the CPU.
        head: trained layers, from these activations to (B, G) unit vectors, on the network's device. They are in
            evaluation mode, so that batch norms keep their statistics: small batches of similar images have worse ones.
        encoder_id: eight hexadecimal digits that depend on the frozen weights.
    """

    encode: Callable[[Tensor], Tensor]
    head: nn.Sequential
    encoder_id: str


def split_network(network: HfNet, layers: Layers) -> NetworkSplit:
    """Freeze all of a network except its global head and, for ``deep``, the encoder behind layer 7.

    Raises:
        InputError: the network has no NetVLAD.
    """
    if not isinstance(network, MobileHfNet):
        raise InputError("encoder edgepoint2 has no NetVLAD to train: use 'vizloc train hfnet-vocabulary'")
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
