"""EdgePoint2 (MIT license; Yao et al., 2025): encoder, descriptors and detector of a network trained for matching.

HF-Net's local branch with another encoder: one pass gives dense descriptors, here of stride 4, and a detector, here
with one logit per pixel. The tracker's light network is built on the same encoder.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

GROUP_CHANNELS = 16  # of the grouped convolution of the descriptor head
_SCORE_CHANNELS = 16
DEEP_STRIDE = 32  # of the encoder's last stage


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


class Stages(NamedTuple):
    """Outputs of the encoder's stages, of strides 2, 4, 8 and 32."""

    x2: Tensor
    x4: Tensor
    x8: Tensor
    x32: Tensor


class EdgePoint2Encoder(nn.Module):
    """Stages of strides 2, 4, 8 and 32, and the descriptors of stride 4."""

    def __init__(self, channels: tuple[int, int, int], hidden: int, dimension: int) -> None:
        super().__init__()
        self.channels = channels
        small, middle, deep = channels
        self.stem = nn.Conv2d(1, small, 4, 2, padding=1)
        self.stem_second = nn.Conv2d(small, small, 3, padding=1)
        self.shallow = ResidualBlock(small, small)
        self.middle = ResidualBlock(small, middle)
        self.deep = ResidualBlock(middle, deep)
        self.join = nn.Conv2d(small + middle + deep, hidden, 1)
        self.spread = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden // GROUP_CHANNELS)
        self.finest = nn.Conv2d(hidden, dimension, 1)

    def stages(self, image: Tensor) -> Stages:
        """Run the encoder on (B, 1, H, W) gray images of any range."""
        x2 = self.shallow(F.relu(self.stem_second(F.relu(self.stem(normalized(image))))))
        x4 = F.avg_pool2d(x2, 2)
        x8 = self.middle(F.avg_pool2d(x4, 2))
        return Stages(x2, x4, x8, self.deep(F.avg_pool2d(x8, 4)))

    def hidden(self, x4: Tensor, x8: Tensor, x32: Tensor) -> Tensor:
        """Return the input (B, C, H/4, W/4) of the last layer ``finest``.

        The 1x1 convolution is applied to the coarse stages before they are upsampled. EdgePoint2 upsamples first, and
        x32 in one step: nearly the same, for a third more of the network's time. The weights are split by numbers, not
        by the stages' shapes: in an exported graph of any size, those would not be constants.
        """
        small, middle, deep = self.join.weight.split(self.channels, dim=1)
        coarse = F.conv2d(x8, middle) + upsample(F.conv2d(x32, deep), 4)
        return F.relu(self.spread(F.conv2d(x4, small, self.join.bias) + upsample(coarse, 2)))


class EdgePoint2Detector(nn.Module):
    """Detector: logits of the four pixels of each 2 x 2 cell, from the stages of strides 2, 8 and 32."""

    def __init__(self, channels: tuple[int, int, int], layers: int) -> None:
        super().__init__()
        self.x2, self.x8, self.x32 = (nn.Conv2d(count, _SCORE_CHANNELS, 1) for count in channels)
        self.first = nn.Conv2d(_SCORE_CHANNELS, _SCORE_CHANNELS, 3, padding=1)
        self.second = nn.Conv2d(_SCORE_CHANNELS, _SCORE_CHANNELS, 3, padding=1) if layers == 3 else None
        self.last = nn.Conv2d(_SCORE_CHANNELS, 4, 3, padding=1) if layers == 3 else nn.Conv2d(_SCORE_CHANNELS, 4, 1)

    def forward(self, x2: Tensor, x8: Tensor, x32: Tensor) -> Tensor:
        """Return (B, 4, H/2, W/2) logits, row by row."""
        logits: Tensor = self.last(self.hidden(x2, x8, x32))
        return logits

    def hidden(self, x2: Tensor, x8: Tensor, x32: Tensor) -> Tensor:
        """Return the input (B, 16, H/2, W/2) of the last layer."""
        hidden = F.relu(self.first(self.x2(x2) + upsample(self.x8(x8) + upsample(self.x32(x32), 4), 4)))
        return hidden if self.second is None else F.relu(self.second(hidden))


def normalized(image: Tensor) -> Tensor:
    """Normalize each image to zero mean and unit variance, so that brightness and contrast do not matter."""
    centered = image - image.mean(dim=(2, 3), keepdim=True)
    return centered / ((centered * centered).mean(dim=(2, 3), keepdim=True) + 1e-1).sqrt()


# Modules that hold the convolutions of the published EdgePoint2, in the order of its graph.
ENCODER_ORDER = (
    *("stem", "stem_second", "shallow.first", "shallow.second"),
    *("middle.first", "middle.second", "middle.skip", "deep.first", "deep.second", "deep.skip"),
    *("join", "spread", "finest"),
)
DETECTOR_ORDER = ("x2", "x8", "x32", "first", "second", "last")


def upsample(x: Tensor, factor: int) -> Tensor:
    """Upsample (B, C, H, W) bilinearly by a whole factor."""
    return x if factor == 1 else F.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
