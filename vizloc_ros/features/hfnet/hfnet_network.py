"""HF-Net: one encoder with detector, descriptor and NetVLAD heads (HF-Net, section 4.1, appendix A.1).

``MobileHfNet`` is the paper's, on MobileNetV2. ``EdgePointHfNet`` has the encoder and the local heads of EdgePoint2.
"""

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.edgepoint2 import EdgePoint2Detector, EdgePoint2Encoder
from vizloc_ros.features.hfnet.hfnet_config import (
    CELL,
    LOCAL_LAYER,
    EdgePointConfig,
    HfNetConfig,
    MobileNetConfig,
    NetworkConfig,
)
from vizloc_ros.features.hfnet.subpixel import SubpixelHead
from vizloc_ros.features.hfnet.vlad_head import VladHead, unit

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

    def __init__(self, config: MobileNetConfig) -> None:
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


def log_odds_of_cells(logits: Tensor) -> Tensor:
    """Logarithms of the odds of all pixels from the logits of cells.

    The odds of a pixel are those against "no keypoint" alone. SuperPoint (section 3.1) takes the softmax over the cell,
    which divides the probability of a strong keypoint among its pixels. The best scores then hardly exceed the good
    ones.

    Args:
        logits: (B, 65, H/8, W/8) logits; channel 8 r + c is row r and column c of a cell, the last one "no keypoint".

    Returns:
        (B, 1, H, W) logits of the pixels.
    """
    pixels, none = logits.split((CELL * CELL, 1), dim=1)
    return unfold_cells(pixels - none, CELL)


def unfold_cells(cells: Tensor, side: int) -> Tensor:
    """Rearrange (B, side * side, h, w) to (B, 1, side * h, side * w), like ``F.pixel_shuffle``.

    ONNX Runtime moves whole rows faster than it runs DepthToSpace.
    """
    batch, _, rows, columns = cells.shape
    pixels = cells.flatten(2).transpose(1, 2).reshape(batch, rows, columns, side, side)
    return pixels.transpose(2, 3).reshape(batch, 1, side * rows, side * columns)


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
        log_odds: (B, 1, H, W) logits of the detector; ``sigmoid`` makes scores of them.
        descriptors: (B, D, H/s, W/s) local descriptors of stride s, unit vectors.
        global_descriptor: (B, G) global descriptors, unit vectors.
    """

    log_odds: Tensor
    descriptors: Tensor
    global_descriptor: Tensor


class Maps(NamedTuple):
    """Dense outputs, of which an image's features are made.

    Attributes:
        log_odds: (B, 1, H, W) logits of the detector.
        features: (B, C, H/s, W/s) features that are sampled at keypoints.
        deep: (B, C', h, w) input of a global head that takes the whole image; None for one that takes keypoints.
    """

    log_odds: Tensor
    features: Tensor
    deep: Tensor | None


class HfNet(nn.Module, ABC):
    """Base of both networks.

    Attributes:
        config: sizes of the network.
        refiner: sub-pixel head, if there is one.
    """

    config: MobileNetConfig | EdgePointConfig

    def __init__(self, config: HfNetConfig) -> None:
        super().__init__()
        self.refiner = SubpixelHead(config.refiner_channels) if config.refiner_channels else None

    @abstractmethod
    def local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the local heads alone on (B, 1, H, W) gray values, to train them: log odds and descriptors."""

    @abstractmethod
    def maps(self, image: Tensor) -> Maps:
        """Run the network on (B, 1, H, W) gray values, 0 to 255, with sides that are multiples of its ``multiple``."""

    @abstractmethod
    def describe(self, samples: Tensor) -> Tensor:
        """Turn (N, C) samples of the features into (N, D) local descriptors of any length."""

    @abstractmethod
    def describe_image(self, maps: Maps, descriptors: Tensor, scores: Tensor) -> Tensor:
        """Global descriptor (G,) of one image, from its maps or its (N, D) keypoints, best first, and their scores."""


class MobileHfNet(HfNet):
    """HF-Net of any size on MobileNetV2; ``MobileNetConfig()`` has the size of the paper.

    Attributes:
        global_head: NetVLAD on layer 18.
    """

    config: MobileNetConfig

    def __init__(self, config: MobileNetConfig) -> None:
        super().__init__(config)
        self.config = config
        channels = config.channels
        local = channels[LOCAL_LAYER - 1]
        self.backbone = Backbone(config)
        self.detector = LocalHead(local, config.detector_channels, 65)
        self.descriptor = LocalHead(local, config.descriptor_channels, config.descriptor_dimension)
        self.global_head = NetVlad(channels[-1], config.clusters, config.global_dimension)

    def forward(self, image: Tensor) -> Outputs:
        """Run all heads on (B, 1, H, W) gray values, 0 to 255, with H and W multiples of 8."""
        local, deep = self.backbone(image)
        return Outputs(*self._local_heads(local), self.global_head(deep))

    def local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run the local heads on layer 7, without the deep layers."""
        return self._local_heads(self.backbone.local(image))

    def maps(self, image: Tensor) -> Maps:
        """Return log odds, unit descriptors of stride 8, and layer 18."""
        local, deep = self.backbone(image)
        # Channels last, as they are sampled: the two permutations around cancel out in the exported graph.
        descriptors = unit(self.descriptor(local).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return Maps(log_odds_of_cells(self.detector(local)), descriptors, deep)

    def describe(self, samples: Tensor) -> Tensor:
        """Return the samples, which are descriptors."""
        return samples

    def describe_image(self, maps: Maps, descriptors: Tensor, scores: Tensor) -> Tensor:
        """Apply NetVLAD."""
        vector: Tensor = self.global_head(maps.deep)[0]
        return vector

    def _local_heads(self, local: Tensor) -> tuple[Tensor, Tensor]:
        return log_odds_of_cells(self.detector(local)), F.normalize(self.descriptor(local), dim=1)


class EdgePointHfNet(HfNet):
    """HF-Net on the encoder of EdgePoint2, with its detector and descriptors of stride 4, and VLAD of the latter.

    Attributes:
        global_head: VLAD of the best keypoints.
    """

    config: EdgePointConfig

    def __init__(self, config: EdgePointConfig) -> None:
        super().__init__(config)
        self.config = config
        self.encoder = EdgePoint2Encoder(config.channels, config.hidden, config.descriptor_dimension)
        self.detector = EdgePoint2Detector(config.channels, config.detector_layers)
        self.global_head = VladHead(config.words, config.descriptor_dimension, config.global_dimension)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run detector and descriptor head; the descriptors are not of unit length, as they are sampled first."""
        log_odds, hidden, _ = self.maps(image)
        return log_odds, self.encoder.finest(hidden)

    def local(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Run detector and descriptor head."""
        return self.forward(image)

    def maps(self, image: Tensor) -> Maps:
        """Return log odds, and the input of the descriptors' last layer at stride 4."""
        x2, x4, x8, x32 = self.encoder.stages(image)
        log_odds = unfold_cells(self.detector(x2, x8, x32), 2)
        return Maps(log_odds, self.encoder.hidden(x4, x8, x32), None)

    def describe(self, samples: Tensor) -> Tensor:
        """Apply the last layer, a linear one, where keypoints are: less work than everywhere."""
        return F.linear(samples, self.encoder.finest.weight[:, :, 0, 0], self.encoder.finest.bias)

    def describe_image(self, maps: Maps, descriptors: Tensor, scores: Tensor) -> Tensor:
        """Apply VLAD."""
        vector: Tensor = self.global_head(descriptors, scores)
        return vector


def build_hfnet(config: NetworkConfig) -> HfNet:
    """Make the network of a config, with random weights."""
    return MobileHfNet(config) if isinstance(config, MobileNetConfig) else EdgePointHfNet(config)
