"""Loss of a pose: the reprojection errors of the landmarks (PixLoc, section 3.2, Eq. 8)."""

import torch
from torch import Tensor

_HUBER = 2.0  # px
_MAX_ERROR = 50.0  # px; larger errors have no larger loss


def reprojection_errors(pixels: Tensor, truth: Tensor) -> Tensor:
    """(B, N) distances [px] of (B, N, 2) projected landmarks from their true pixels."""
    return ((pixels - truth) ** 2).sum(dim=-1).clamp(min=1e-12).sqrt()


def reprojection_loss(errors: Tensor, counted: Tensor) -> Tensor:
    """(B,) mean pseudo-Huber loss of (B, N) distances [px], over the landmarks of the mask ``counted``."""
    clamped = errors.clamp(max=_MAX_ERROR)
    loss = _HUBER**2 * ((1 + (clamped / _HUBER) ** 2).sqrt() - 1)
    return (loss * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)


def gate(previous_errors: Tensor, counted: Tensor, stride: float, factor: float) -> Tensor:
    """(B,) gate of a level's loss: 1 if the previous level left less than ``factor`` of its own pixels of error, or 0.

    An initial pose outside of a level's basin of convergence would only add noise to its gradient (PixLoc, section
    3.2).

    Args:
        previous_errors: (B, N) reprojection errors after the previous level [px].
        counted: (B, N) mask of the landmarks.
        stride: pixels of the image per pixel of the previous level.
        factor: maximum error in pixels of the previous level.
    """
    mean = (previous_errors.detach() * counted).sum(dim=1) / counted.sum(dim=1).clamp(min=1)
    return (mean < factor * stride).to(torch.float32)
