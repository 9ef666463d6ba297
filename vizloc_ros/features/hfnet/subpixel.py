"""Positions between the pixels, for the exported graph."""

import torch
from torch import Tensor, nn

SCORE_REACH = 2  # rows and columns of scores around a keypoint that say where it peaks
GRAY_REACH = 4  # and of gray values
FARTHEST = 3.0  # that a keypoint is moved [px]
_FLAT = 1e-6  # curvature below which a parabola has no peak to speak of
_LEAST_SCORE = 1e-9


def windows(maps: Tensor, pixels: Tensor, reach: int) -> Tensor:
    """What lies around pixels.

    Args:
        maps: (..., H, W).
        pixels: (N,) places in the flattened maps, none within ``reach`` of a border.
        reach: how many rows and columns to each side.

    Returns:
        (N, (2 * reach + 1) ** 2) values, row by row.
    """
    near = torch.arange(-reach, reach + 1, device=maps.device)
    return maps.flatten()[pixels[:, None] + (maps.shape[-1] * near[:, None] + near).flatten()]


def log_score_windows(scores: Tensor, pixels: Tensor) -> Tensor:
    """``windows`` of ``SCORE_REACH`` into the logarithms of (..., H, W) scores that are not negative."""
    return windows(scores, pixels, SCORE_REACH).clamp(min=_LEAST_SCORE).log()


def quadratic_offsets(logarithms: Tensor) -> Tensor:
    """Where scores peak: a quadratic without mixed term, fitted by least squares to the inner 3 x 3 logarithms.

    The fit falls apart into one parabola through the sums of the columns and one through those of the rows. A score
    falls off exponentially with the distance, its logarithm like a parabola.

    Args:
        logarithms: (N, 25), from ``log_score_windows``.

    Returns:
        (N, 2) offsets (x, y), within half a pixel.
    """
    side = 2 * SCORE_REACH + 1
    inner = logarithms.reshape(-1, side, side)[:, SCORE_REACH - 1 : SCORE_REACH + 2, SCORE_REACH - 1 : SCORE_REACH + 2]
    return torch.stack([_peak(inner.sum(dim=1)), _peak(inner.sum(dim=2))], dim=1)


class SubpixelHead(nn.Module):
    """Moves a keypoint to where the teacher would peak, by what the gray values and scores around it look like.

    The detector sees cells of 8 x 8 pixels, and blurs where it is in doubt. A small perceptron on the pixels of a
    keypoint corrects the quadratic fit; fresh, it corrects nothing.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (2 * GRAY_REACH + 1) ** 2 + (2 * SCORE_REACH + 1) ** 2
        last = nn.Linear(channels, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(inputs, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last
        )

    def forward(self, gray: Tensor, logarithms: Tensor) -> Tensor:
        """Offsets from whole pixels.

        Args:
            gray: (N, 81) ``windows`` of ``GRAY_REACH`` into the image.
            logarithms: (N, 25), from ``log_score_windows``.

        Returns:
            (N, 2) offsets (x, y), within ``FARTHEST``.
        """
        contrast = gray - gray.mean(dim=1, keepdim=True)
        contrast = contrast / ((contrast * contrast).mean(dim=1, keepdim=True).sqrt() + 4)
        slopes = 0.3 * (logarithms - logarithms[:, logarithms.shape[1] // 2, None])
        correction = self.layers(torch.cat([contrast, slopes], dim=1))
        return (quadratic_offsets(logarithms) + correction).clamp(-FARTHEST, FARTHEST)


def _peak(values: Tensor) -> Tensor:
    """(N, 3) values at -1, 0 and 1 to the (N,) peaks of their parabolas, at most half a pixel away."""
    left, centre, right = values.unbind(dim=1)
    curvature = (2 * centre - left - right).clamp(min=_FLAT)
    return ((right - left) / (2 * curvature)).clamp(-0.5, 0.5)
