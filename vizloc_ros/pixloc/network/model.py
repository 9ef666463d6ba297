"""PixLoc network: the feature extractor with the learned damping of every level (PixLoc, Eq. 7)."""

import torch
from torch import Tensor, nn

from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig
from vizloc_ros.pixloc.network.unet import UNet

_LOG_MIN, _LOG_RANGE = -6.0, 11.0  # lambda_min and lambda_max - lambda_min of Eq. 7: 1e-6 to 1e5, as published
_LOG_INITIAL = -2.0  # log10 of the damping before training


class PixLocNetwork(nn.Module):
    """Network that ``vizloc train pixloc`` trains: features, confidences and damping.

    Attributes:
        config: kind and sizes of the network.
        features: network of features and confidences.
        damping: (L, 6) parameters theta of the damping (PixLoc, Eq. 7).
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.features: nn.Module = LightNetwork(config) if isinstance(config, LightConfig) else UNet(config)
        ratio = torch.tensor((_LOG_INITIAL - _LOG_MIN) / _LOG_RANGE)
        self.damping = nn.Parameter(torch.logit(ratio).repeat(len(config.strides), 6))

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Extract features and confidences; as ``LightNetwork.forward``."""
        levels: list[tuple[Tensor, Tensor]] = self.features(image)
        return levels

    def dampings(self) -> Tensor:
        """Return the (L, 6) damping lambda (PixLoc, Eq. 7), finest level first, in the order [rho, phi]."""
        return 10 ** (_LOG_MIN + _LOG_RANGE * torch.sigmoid(self.damping))
