"""HF-Net: MobileNetV2 encoder with detector, descriptor and NetVLAD heads (HF-Net, section 4.1, appendix A.1)."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.hfnet_config import CELL, LOCAL_LAYER, HfNetConfig
from vizloc_ros.features.hfnet.subpixel import SubpixelHead

_EXPANSION = 6  # hidden by input channels of an inverted residual


def conv_bn(conv: nn.Conv2d) -> nn.Sequential:
    """Convolution followed by batch normalization."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))


class InvertedResidual(nn.Module):
    """Expansion (1x1), filter (3x3 depthwise) and projection (1x1), with a residual if the shape does not change."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = _EXPANSION) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = None if expansion == 1 else conv_bn(nn.Conv2d(inputs, hidden, 1, bias=False))
        self.filter = conv_bn(nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False))
        self.project = conv_bn(nn.Conv2d(hidden, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.filter(y)))
        return x + y if self.residual else y


class Backbone(nn.Module):
    """Layers 1 to 18: the local heads take layer 7 (stride 8), the global head layer 18 (stride 32)."""

    def __init__(self, config: HfNetConfig) -> None:
        super().__init__()
        channels, strides = config.channels, config.strides
        self.stem = conv_bn(nn.Conv2d(1, channels[0], 3, strides[0], padding=1, bias=False))
        blocks = [
            InvertedResidual(channels[i - 1], channels[i], strides[i], 1 if i == 1 else _EXPANSION)
            for i in range(1, len(channels))
        ]
        self.shallow = nn.Sequential(*blocks[: LOCAL_LAYER - 1])
        self.deep = nn.Sequential(*blocks[LOCAL_LAYER - 1 :])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Map (B, 1, H, W) gray values, 0 to 255, to the outputs of layers 7 and 18."""
        local = self.local(image)
        return local, self.deep(local)

    def local(self, image: Tensor) -> Tensor:
        """Map (B, 1, H, W) gray values to the output of layer 7 alone."""
        return self.shallow(F.relu6(self.stem((image - 128.0) / 128.0)))


class LocalHead(nn.Sequential):
    """Convolution 3x3, batch normalization, ReLU6 and convolution 1x1: the layers of both local heads."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(
            *conv_bn(nn.Conv2d(inputs, hidden, 3, padding=1, bias=False)), nn.ReLU6(), nn.Conv2d(hidden, outputs, 1)
        )


def keypoint_scores(logits: Tensor) -> Tensor:
    """Scores of all pixels from the detector's logits.

    The score of a pixel is its probability against "no keypoint" alone. SuperPoint (section 3.1) takes the softmax over
    the cell, which divides the probability of a strong keypoint among its pixels. The best scores then hardly exceed
    the good ones.

    Args:
        logits: (B, 65, H/8, W/8) logits; channel 8 r + c is row r and column c of a cell, the last one "no keypoint".

    Returns:
        (B, 1, H, W) probabilities.
    """
    pixels, none = logits.split((CELL * CELL, 1), dim=1)
    return F.pixel_shuffle((pixels - none).sigmoid(), CELL)


class NetVlad(nn.Module):
    """NetVLAD pooling (Arandjelovic et al., CVPR 2016) with a learned reduction (HF-Net, appendix A.1)."""

    def __init__(self, inputs: int, clusters: int, outputs: int) -> None:
        super().__init__()
        self.membership = conv_bn(nn.Conv2d(inputs, clusters, 1, bias=False))
        self.centres = nn.Parameter(0.1 * torch.randn(clusters, inputs))
        self.reduce = nn.Linear(clusters * inputs, outputs)

    def pool(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to residuals (B, K * C): each cluster's, then the whole vector, scaled to unit length."""
        soft = self.membership(x).softmax(dim=1).flatten(2)
        sums = torch.einsum("bkn,bcn->bkc", soft, x.flatten(2))
        residuals = soft.sum(dim=2, keepdim=True) * self.centres - sums
        return F.normalize(F.normalize(residuals, dim=2).flatten(1), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, G) unit vectors."""
        return F.normalize(self.reduce(self.pool(x)), dim=1)


class Outputs(NamedTuple):
    """Outputs of the three heads.

    Attributes:
        logits: (B, 65, H/8, W/8) logits of the detector, see ``keypoint_scores``.
        descriptors: (B, D, H/8, W/8) local descriptors, unit vectors.
        global_descriptor: (B, G) global descriptors, unit vectors.
    """

    logits: Tensor
    descriptors: Tensor
    global_descriptor: Tensor


class HfNet(nn.Module):
    """HF-Net of any size; ``HfNetConfig()`` has the size of the paper."""

    def __init__(self, config: HfNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.channels
        local = channels[LOCAL_LAYER - 1]
        self.backbone = Backbone(config)
        self.detector = LocalHead(local, config.detector_channels, 65)
        self.descriptor = LocalHead(local, config.descriptor_channels, config.descriptor_dimension)
        self.refiner = SubpixelHead(config.refiner_channels) if config.refiner_channels else None
        self.global_head = NetVlad(channels[-1], config.clusters, config.global_dimension)

    def forward(self, image: Tensor) -> Outputs:
        """Run all heads on (B, 1, H, W) gray values, 0 to 255, with H and W multiples of 8."""
        local, deep = self.backbone(image)
        return Outputs(*self._local_heads(local), self.global_head(deep))

    def local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the local heads alone: logits and descriptors, to train them without the deep layers."""
        return self._local_heads(self.backbone.local(image))

    def _local_heads(self, local: Tensor) -> tuple[Tensor, Tensor]:
        return self.detector(local), F.normalize(self.descriptor(local), dim=1)
