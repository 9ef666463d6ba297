"""Light network: the encoder of EdgePoint2 (MIT license), whose descriptors become a pyramid.

Training starts from the network pretrained for matching. Until then, coarse levels are pooled descriptors of the
finest level, and every confidence is a half.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.edgepoint2 import DEEP_STRIDE, EdgePoint2Encoder, upsample
from vizloc_ros.pixloc.network.pixloc_config import LightConfig
from vizloc_ros.pixloc.network.smoothing import Smoothing

_HEAD_CHANNELS = 32  # of the heads of coarse levels


class LevelHead(nn.Module):
    """Head of a coarse level: adds a correction to pooled descriptors, and predicts the uncertainty."""

    def __init__(self, dimension: int, near: int, far: int, factor: int) -> None:
        super().__init__()
        self.factor = factor
        self.near = nn.Conv2d(dimension + near, _HEAD_CHANNELS, 1)
        self.far = nn.Conv2d(far, _HEAD_CHANNELS, 1, bias=False)
        self.mix = nn.Conv2d(_HEAD_CHANNELS, dimension, 3, padding=1)
        self.change = _zeroed(nn.Conv2d(dimension, dimension, 1))
        self.uncertainty = _zeroed(nn.Conv2d(dimension, 1, 1))

    def forward(self, pooled: Tensor, near: Tensor, far: Tensor) -> tuple[Tensor, Tensor]:
        """Return features (B, D, H, W) and logarithms of uncertainties (B, 1, H, W).

        Args:
            pooled: (B, D, H, W) descriptors of the finest level, averaged over the cells.
            near: (B, C, H, W) stage of the encoder with the resolution of the level.
            far: (B, C', h, w) last stage of the encoder, coarser by ``factor``.
        """
        joined = self.near(torch.cat([pooled, near], dim=1)) + upsample(self.far(far), self.factor)
        mixed = F.relu(self.mix(F.relu(joined)))
        return pooled + self.change(mixed), self.uncertainty(mixed)


class LightNetwork(EdgePoint2Encoder):
    """Network from gray images to features F and confidences u, level by level (PixLoc, section 3.1)."""

    def __init__(self, config: LightConfig) -> None:
        super().__init__(config.channels, config.hidden, config.dimension)
        self.config = config
        _, middle, deep = config.channels
        self.finest_uncertainty = _zeroed(nn.Conv2d(config.hidden, 1, 1))
        self.heads = nn.ModuleList(
            LevelHead(config.dimension, middle, deep, DEEP_STRIDE // stride) for stride in config.strides[1:]
        )
        self.smooth = nn.ModuleList(
            Smoothing(config.dimension, std) if std else nn.Identity() for std in config.smoothing[: config.levels]
        )

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Extract features and confidences of (B, 1, H, W) gray images, 0 to 255, with sides that are multiples of 32.

        Returns:
            Unit features (B, D, h, w) and confidences (B, 1, h, w) from 0 to 1 of each level, finest first.
        """
        _, x4, x8, x32 = self.stages(image)
        hidden = self.hidden(x4, x8, x32)
        features, uncertainty = F.normalize(self.finest(hidden), dim=1), self.finest_uncertainty(hidden)
        levels = [(features, _confidence(uncertainty))]
        pooled = features
        for k, head in enumerate(self.heads):
            pooled = F.avg_pool2d(pooled, 2)
            changed, uncertainty = head(pooled, x8 if k == 0 else F.avg_pool2d(x8, 2**k), x32)
            levels.append((F.normalize(changed, dim=1), _confidence(uncertainty)))
        return [(smooth(f), confidence) for smooth, (f, confidence) in zip(self.smooth, levels, strict=True)]


def _confidence(log_uncertainty: Tensor) -> Tensor:
    """Return the confidence u = 1 / (1 + U) of the uncertainty U = exp(``log_uncertainty``) (PixLoc, Eq. 6)."""
    return torch.sigmoid(-log_uncertainty)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
