"""Positions between the pixels, for the exported graph."""

import torch
from torch import Tensor

_FLAT = 1e-6  # curvature below which a parabola has no peak to speak of


def sub_pixel_offsets(scores: Tensor, points: Tensor) -> Tensor:
    """Where the scores peak around keypoints.

    A quadratic without mixed term, fitted by least squares to the logarithm of the 3 x 3 scores around a keypoint: the
    fit falls apart into one parabola through the sums of the columns and one through those of the rows. A score falls
    off exponentially with the distance, its logarithm like a parabola.

    Args:
        scores: (1, 1, H, W), not negative.
        points: (N, 2) int64 pixels (x, y), none at the border.

    Returns:
        (N, 2) offsets (x, y), within half a pixel.
    """
    width = scores.shape[3]
    near = torch.arange(-1, 2)
    around = (width * near[:, None] + near).flatten()
    patches = scores.flatten()[(width * points[:, 1] + points[:, 0])[:, None] + around]
    logarithms = patches.clamp(min=1e-9).log().reshape(-1, 3, 3)
    return torch.stack([_peak(logarithms.sum(dim=1)), _peak(logarithms.sum(dim=2))], dim=1)


def _peak(values: Tensor) -> Tensor:
    """(N, 3) values at -1, 0 and 1 to the (N,) peaks of their parabolas, at most half a pixel away."""
    left, centre, right = values.unbind(dim=1)
    curvature = (2 * centre - left - right).clamp(min=_FLAT)
    return ((right - left) / (2 * curvature)).clamp(-0.5, 0.5)
