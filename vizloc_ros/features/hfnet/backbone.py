"""MobileNetV2 (Sandler et al., CVPR 2018) as HF-Net uses it: gray input, layers 6 and 7 widened.

Padding is symmetric, while TensorFlow's SAME pads stride 2 at the bottom and right only: the same network, read at the
other phase, without the extra copies that asymmetric padding costs in ONNX Runtime.
"""

from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.config import LOCAL_LAYER, HfNetConfig

_EXPANSION = 6


def conv_bn(conv: nn.Conv2d) -> nn.Sequential:
    """Convolution and batch norm."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels))


class InvertedResidual(nn.Module):
    """Expand (1x1), filter (3x3 depthwise), project (1x1), with a residual where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int = _EXPANSION) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.residual = stride == 1 and inputs == outputs
        self.expand = None if expansion == 1 else conv_bn(nn.Conv2d(inputs, hidden, 1, bias=False))
        self.filter = conv_bn(nn.Conv2d(hidden, hidden, 3, stride, padding=1, groups=hidden, bias=False))
        self.project = conv_bn(nn.Conv2d(hidden, outputs, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, C', ceil(H / stride), ceil(W / stride))."""
        y = x if self.expand is None else F.relu6(self.expand(x))
        y = self.project(F.relu6(self.filter(y)))
        return x + y if self.residual else y


class Backbone(nn.Module):
    """Layers 1 to 18; the local heads read layer 7 (stride 8), the global head layer 18 (stride 32)."""

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
        """(B, 1, H, W) gray values 0 to 255 to the outputs of layer 7 and layer 18."""
        local = self.local(image)
        return local, self.deep(local)

    def local(self, image: Tensor) -> Tensor:
        """The output of layer 7 alone."""
        return self.shallow(F.relu6(self.stem((image - 128.0) / 128.0)))
