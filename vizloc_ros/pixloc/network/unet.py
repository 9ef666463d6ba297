"""The paper's network: a UNet with a VGG19 encoder (PixLoc, section 5: architecture)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.pixloc.network.pixloc_config import UNetConfig

_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, on which VGG is trained


class DecoderBlock(nn.Module):
    """Decoder block: upsamples by two, concatenates the skip connection of the encoder, and convolves."""

    def __init__(self, inputs: int, skipped: int, outputs: int) -> None:
        super().__init__()
        self.mix = nn.Sequential(
            nn.Conv2d(inputs + skipped, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()
        )

    def forward(self, x: Tensor, skipped: Tensor) -> Tensor:
        """Map (B, C, H, W) and the skip connection (B, S, 2 H, 2 W) to (B, C', 2 H, 2 W)."""
        upsampled = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
        mixed: Tensor = self.mix(torch.cat([upsampled, skipped], dim=1))
        return mixed


class UNet(nn.Module):
    """Network from gray images to features F and confidences u, level by level (PixLoc, section 3.1)."""

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
        self.register_buffer("deviation", torch.tensor(_STD)[:, None, None], persistent=False)

    def forward(self, image: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Extract features and confidences; as ``LightNetwork.forward``."""
        x = (image.expand(-1, 3, -1, -1) / 255 - self.mean) / self.deviation
        skips = []
        for block in self.encoder:
            x = block(x)
            skips.append(x)
        at_stride = {16: x}
        for stride, block, skipped in zip((8, 4, 2, 1), self.decoder, reversed(skips[:4]), strict=True):
            x = block(x, skipped)
            at_stride[stride] = x
        return [
            (F.normalize(features(at_stride[stride]), dim=1), torch.sigmoid(-log_uncertainty(at_stride[stride])))
            for stride, features, log_uncertainty in zip(
                self.config.strides, self.features, self.uncertainties, strict=True
            )
        ]


def _vgg_block(inputs: int, outputs: int, count: int, *, opens_with_pool: bool) -> nn.Sequential:
    layers: list[nn.Module] = [nn.MaxPool2d(2)] if opens_with_pool else []
    for k in range(count):
        layers += [nn.Conv2d(inputs if k == 0 else outputs, outputs, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)
