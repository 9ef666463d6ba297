"""The network with all that is learned beside it: the damping of every level (PixLoc, eq. 5)."""

import torch
from torch import Tensor, nn

from vizloc_ros.pixloc.network.light import LightNetwork
from vizloc_ros.pixloc.network.pixloc_config import LightConfig, NetworkConfig
from vizloc_ros.pixloc.network.unet import UNet

_LOWEST, _RANGE = -6.0, 11.0  # log10 of the damping: 1e-6 to 1e5, as published
_FIRST = -2.0  # log10, where training starts


class PixLocNetwork(nn.Module):
    """What ``vizloc train pixloc`` trains."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.config = config
        self.features: nn.Module = LightNetwork(config) if isinstance(config, LightConfig) else UNet(config)
        share = torch.tensor((_FIRST - _LOWEST) / _RANGE)
        self.damping = nn.Parameter(torch.logit(share).repeat(len(config.strides), 6))

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """As ``LightNetwork.forward``."""
        levels: list[tuple[Tensor, Tensor]] = self.features(image)
        return levels

    def dampings(self) -> Tensor:
        """(L, 6) factors on the diagonal of the Hessian, finest level first, [rho, phi]."""
        return 10 ** (_LOWEST + _RANGE * torch.sigmoid(self.damping))
