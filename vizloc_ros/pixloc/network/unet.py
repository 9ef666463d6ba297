"""The paper's network: a UNet whose encoder is VGG19 (PixLoc, section 4 and its supplement)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.pixloc.network.pixloc_config import UNetConfig

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, which VGG is trained on


class DecoderBlock(nn.Module):
    """Enlarges by two, joins what the encoder saw there, and mixes both."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(inputs + skipped, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """(B, C, H, W) and (B, S, 2 H, 2 W) to (B, C', 2 H, 2 W)."""
        enlarged = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        mixed: Tensor = self.mix(torch.cat([enlarged, skipped], dim=1))
        return mixed


class UNet(nn.Module):
    """Gray images to features and confidences, level by level."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        inputs = (3, *config.channels[:-1])
        self.encoder = nn.ModuleList(
            _vgg_block(i, o, count, opens_with_pool=k > 0)
            for k, (i, o, count) in enumerate(zip(inputs, config.channels, config.blocks, strict=True))
        )
        below = (config.channels[4], *config.decoder[:-1])
        self.decoder = nn.ModuleList(
            DecoderBlock(i, skipped, o)
            for i, skipped, o in zip(below, reversed(config.channels[:4]), config.decoder, strict=True)
        )
        channels = {16: config.channels[4], **dict(zip((8, 4, 2, 1), config.decoder, strict=True))}
        self.features = nn.ModuleList(
            nn.Conv2d(channels[stride], dimension, 1)
            for stride, dimension in zip(config.strides, config.dimensions, strict=True)
        )
        self.uncertainties = nn.ModuleList(nn.Conv2d(channels[stride], 1, 1) for stride in config.strides)
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("deviation", torch.tensor(_DEVIATION)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """As ``LightNetwork.forward``."""
        x = (image.expand(-1, 3, -1, -1) / 255 - self.mean) / self.deviation
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        at = {16: x}
        for stride, block, skipped in zip((8, 4, 2, 1), self.decoder, reversed(skips[:4]), strict=True):
            x = block(x, skipped)
            at[stride] = x
        return [
            (F.normalize(features(at[stride]), dim=1), torch.sigmoid(-uncertainty(at[stride])))
            for stride, features, uncertainty in zip(
                self.config.strides, self.features, self.uncertainties, strict=True
            )
        ]


def _vgg_block(inputs: int, outputs: int, count: int, *, opens_with_pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if opens_with_pool else []
    for k in range(count):
        layers += [nn.Conv2d(inputs if k == 0 else outputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)
