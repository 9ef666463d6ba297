"""The three heads of HF-Net (paper section 4.1, figure 3)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.backbone import conv_bn
from vizloc_ros.features.hfnet.config import CELL


class LocalHead(nn.Sequential):
    """3x3 convolution, batch norm, ReLU6, 1x1 convolution: the shape of both local heads."""

    def __init__(self, inputs: int, hidden: int, outputs: int) -> None:
        super().__init__(
            *conv_bn(nn.Conv2d(inputs, hidden, 3, padding=1, bias=False)), nn.ReLU6(), nn.Conv2d(hidden, outputs, 1)
        )


def keypoint_scores(logits: Tensor) -> Tensor:
    """Scores of all pixels from the detector's logits.

    A pixel's score is its probability against "no keypoint" alone. SuperPoint (section 3.1) takes the softmax over the
    cell, in which the pixels of one strong keypoint share what there is: the best then hardly differ from the good.

    Args:
        logits: (B, 65, H/8, W/8); channel 8 r + c is row r and column c of a cell, the last one "no keypoint".

    Returns:
        (B, 1, H, W) probabilities.
    """
    pixels, none = logits.split((CELL * CELL, 1), dim=1)
    return F.pixel_shuffle((pixels - none).sigmoid(), CELL)


class NetVlad(nn.Module):
    """NetVLAD pooling (Arandjelovic et al., CVPR 2016) with a learned reduction (HF-Net, section 4.1)."""

    def __init__(self, inputs: int, clusters: int, outputs: int) -> None:
        super().__init__()
        self.membership = conv_bn(nn.Conv2d(inputs, clusters, 1, bias=False))
        self.centres = nn.Parameter(0.1 * torch.randn(clusters, inputs))
        self.reduce = nn.Linear(clusters * inputs, outputs)

    def pool(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, K * C) residuals; each cluster's, then the whole scaled to unit length."""
        soft = self.membership(x).softmax(dim=1).flatten(2)
        sums = torch.einsum("bkn,bcn->bkc", soft, x.flatten(2))
        residuals = soft.sum(dim=2, keepdim=True) * self.centres - sums
        return F.normalize(F.normalize(residuals, dim=2).flatten(1), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, G) unit vectors."""
        return F.normalize(self.reduce(self.pool(x)), dim=1)
