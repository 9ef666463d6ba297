"""Smoothing of the features of coarse levels, which widens the basin of convergence of the alignment."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_RADIUS = 3.0  # standard deviations


class Smoothing(nn.Module):
    """Gaussian blur of every channel. It is not learned, and the network is trained without it."""

    def __init__(self, channels: int, std: float) -> None:
        """Make the kernel for a number of ``channels``, with standard deviation ``std`` in cells of the level."""
        super().__init__()
        self._radius = max(1, round(_RADIUS * std))
        offsets = torch.arange(-self._radius, self._radius + 1) / std
        kernel = torch.exp(-0.5 * offsets * offsets)
        self.register_buffer("kernel", (kernel / kernel.sum()).repeat(channels, 1, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Smooth (B, C, h, w) unit features and scale them to unit length; the border is replicated."""
        if self.training:
            return features
        kernel: Tensor = self.kernel  # (C, 1, 1, K)
        padded = F.pad(features, 4 * (self._radius,), mode="replicate")
        rows = F.conv2d(padded, kernel, groups=len(kernel))
        return F.normalize(F.conv2d(rows, kernel.transpose(2, 3), groups=len(kernel)), dim=1)
