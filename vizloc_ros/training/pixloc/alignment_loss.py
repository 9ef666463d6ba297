"""What a training pose costs: how far off it puts the landmarks in the image (PixLoc, section 3.3)."""

import torch
from torch import Tensor

_HUBER = 2.0  # px
_MOST = 50.0  # px; farther is not worse


def reprojection_errors(pixels: Tensor, truth: Tensor) -> Tensor:
    """(B, N) distances [px] of (B, N, 2) pixels from where the landmarks truly are."""
    return ((pixels - truth) ** 2).sum(dim=-1).clamp(min=1e-12).sqrt()


def reprojection_loss(errors: Tensor, counted: Tensor) -> Tensor:
    """(B,) mean pseudo-Huber loss of (B, N) distances [px], over the landmarks that count."""
    clamped = errors.clamp(max=_MOST)
    loss = _HUBER**2 * ((1 + (clamped / _HUBER) ** 2).sqrt() - 1)
    return (loss * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def gate(previous_errors: Tensor, counted: Tensor, stride: float, factor: float) -> Tensor:
    """(B,) whether a level may learn: the one before left at most ``factor`` of its own pixels of error.

    A start from beyond the basin teaches a level nothing but noise.
    """
    mean = (previous_errors.detach() * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
    return (mean < factor * stride).to(torch.float32)
