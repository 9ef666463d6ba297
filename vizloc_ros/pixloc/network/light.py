"""Light network: the encoder of EdgePoint2 (MIT license), whose descriptors become a pyramid.

Training starts from the network pretrained for matching. Until then, coarse levels are pooled descriptors of the
finest level, and every confidence is a half.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.pixloc.network.pixloc_config import LightConfig
from vizloc_ros.pixloc.network.smoothing import Smoothing

_GROUP_CHANNELS = 16  # of the grouped convolution of the finest head
_HEAD_CHANNELS = 32  # of the heads of coarse levels
_DEEP_STRIDE = 32  # of the encoder's last stage


class ResidualBlock(nn.Module):
    """Residual block of two 3x3 convolutions; the shortcut is a 1x1 convolution where the channels change."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.skip = nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', H, W)."""
        return F.relu(self.second(F.relu(self.first(x))) + self.skip(x))


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
        joined = self.near(torch.cat([pooled, near], dim=1)) + _upsample(self.far(far), self.factor)
        mixed = F.relu(self.mix(F.relu(joined)))
        return pooled + self.change(mixed), self.uncertainty(mixed)


class LightNetwork(nn.Module):
    """Network from gray images to features F and confidences u, level by level (PixLoc, section 3.1)."""

    def __init__(self, config: LightConfig) -> None:
        super().__init__()
        self.config = config
        small, middle, deep = config.channels
        self.stem = nn.Conv2d(1, small, 4, 2, padding=1)
        self.stem_second = nn.Conv2d(small, small, 3, padding=1)
        self.shallow = ResidualBlock(small, small)
        self.middle = ResidualBlock(small, middle)
        self.deep = ResidualBlock(middle, deep)
        self.join = nn.Conv2d(small + middle + deep, config.hidden, 1)
        self.spread = nn.Conv2d(config.hidden, config.hidden, 3, padding=1, groups=config.hidden // _GROUP_CHANNELS)
        self.finest = nn.Conv2d(config.hidden, config.dimension, 1)
        self.finest_uncertainty = _zeroed(nn.Conv2d(config.hidden, 1, 1))
        self.heads = nn.ModuleList(
            LevelHead(config.dimension, middle, deep, _DEEP_STRIDE // stride) for stride in config.strides[1:]
        )
        self.smooth = nn.ModuleList(
            Smoothing(config.dimension, std) if std else nn.Identity() for std in config.smoothing[: config.levels]
        )

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Extract features and confidences of (B, 1, H, W) gray images, 0 to 255, with sides that are multiples of 32.

        Returns:
            Unit features (B, D, h, w) and confidences (B, 1, h, w) from 0 to 1 of each level, finest first.
        """
        x4, x8, x32 = self._encode(_normalized(image))
        hidden = F.relu(self.spread(self._joined(x4, x8, x32)))
        features, uncertainty = F.normalize(self.finest(hidden), dim=1), self.finest_uncertainty(hidden)
        levels = [(features, _confidence(uncertainty))]
        pooled = features
        for k, head in enumerate(self.heads):
            pooled = F.avg_pool2d(pooled, 2)
            changed, uncertainty = head(pooled, x8 if k == 0 else F.avg_pool2d(x8, 2**k), x32)
            levels.append((F.normalize(changed, dim=1), _confidence(uncertainty)))
        return [(smooth(f), confidence) for smooth, (f, confidence) in zip(self.smooth, levels, strict=True)]

    def _joined(self, x4: Tensor, x8: Tensor, x32: Tensor) -> Tensor:
        """Apply the 1x1 convolution to all three stages, at stride 4; to the coarse ones before they are upsampled.

        EdgePoint2 upsamples first, and x32 in one step: nearly the same, for a third more of the network's time.
        """
        small, middle, deep = self.join.weight.split(self.config.channels, dim=1)
        coarse = F.conv2d(x8, middle) + _upsample(F.conv2d(x32, deep), 4)
        return F.conv2d(x4, small, self.join.bias) + _upsample(coarse, 2)

    def _encode(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the stages of the encoder at strides 4, 8 and 32."""
        x2 = self.shallow(F.relu(self.stem_second(F.relu(self.stem(x)))))
        x4 = F.avg_pool2d(x2, 2)
        x8 = self.middle(F.avg_pool2d(x4, 2))
        return x4, x8, self.deep(F.avg_pool2d(x8, 4))


# Modules that hold the convolutions of the published EdgePoint2, in the order of its graph.
EDGEPOINT2_ORDER = (
    *("stem", "stem_second", "shallow.first", "shallow.second"),
    *("middle.first", "middle.second", "middle.skip", "deep.first", "deep.second", "deep.skip"),
    *("join", "spread", "finest"),
)


def load_convolutions(network: LightNetwork, weights: Mapping[str, tuple[Tensor, Tensor]]) -> None:
    """Set weight and bias of the convolutions named in ``EDGEPOINT2_ORDER``.

    Raises:
        RuntimeError: a name is unknown, or a shape differs.
    """
    state = {}
    for name, (weight, bias) in weights.items():
        state[f"{name}.weight"], state[f"{name}.bias"] = weight, bias
    missing = network.load_state_dict(state, strict=False)
    if missing.unexpected_keys:
        raise RuntimeError(f"no convolutions {missing.unexpected_keys}")


def _normalized(image: Tensor) -> Tensor:
    """Normalize each image to zero mean and unit variance, so that brightness and contrast do not matter."""
    centered = image - image.mean(dim=(2, 3), keepdim=True)
    return centered / ((centered * centered).mean(dim=(2, 3), keepdim=True) + 1e-1).sqrt()


def _confidence(log_uncertainty: Tensor) -> Tensor:
    """Return the confidence u = 1 / (1 + U) of the uncertainty U = exp(``log_uncertainty``) (PixLoc, Eq. 6)."""
    return torch.sigmoid(-log_uncertainty)


def _upsample(x: Tensor, factor: int) -> Tensor:
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
