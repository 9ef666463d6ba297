"""Smooths the features of coarse levels: neighbouring cells become alike, and alignments converge from farther away."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_REACH = 3.0  # standard deviations


class Smoothing(nn.Module):
    """A Gaussian over every channel. Nothing of it is learned, and the network is trained without it."""

    def __init__(self, channels: int, std: float) -> None:
        """Of features with so many ``channels``; ``std`` in cells of the level."""
        super().__init__()
        self._reach = max(1, round(_REACH * std))
        offsets = torch.arange(-self._reach, self._reach + 1) / std
        kernel = torch.exp(-0.5 * offsets * offsets)
        self.register_buffer("kernel", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) unit features to such; beyond the border, they are as at the border."""
        if self.training:
            return features
        across: Tensor = self.kernel  # (C, 1, 1, K)
        padded = F.pad(features, 4 * (self._reach,), mode="replicate")
        rows = F.conv2d(padded, across, groups=len(across))
        return F.normalize(F.conv2d(rows, across.transpose(2, 3), groups=len(across)), dim=1)
