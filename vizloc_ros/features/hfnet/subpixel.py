"""Subpixel refinement of keypoints, in the exported graph."""

import torch
from torch import Tensor, nn

SCORE_RADIUS = 2  # rows and columns of scores to each side of a keypoint
GRAY_RADIUS = 4  # rows and columns of gray values to each side of a keypoint
MAX_OFFSET = 3.0  # maximum offset of a keypoint [px]
_MIN_CURVATURE = 1e-6  # of a parabola; a flatter one has no peak
_MIN_SCORE = 1e-9


def windows(maps: Tensor, pixels: Tensor, radius: int) -> Tensor:
    """Square windows around pixels.

    Args:
        maps: (..., H, W) values.
        pixels: (N,) indices into the flattened maps, none within ``radius`` of a border.
        radius: number of rows and columns to each side.

    Returns:
        (N, (2 * radius + 1) ** 2) values, row by row.
    """
    near = torch.arange(-radius, radius + 1, device=maps.device)
    return maps.flatten()[pixels[:, None] + (maps.shape[-1] * near[:, None] + near).flatten()]


def log_score_windows(scores: Tensor, pixels: Tensor) -> Tensor:
    """Logarithms (N, 25) of the ``windows`` of ``SCORE_RADIUS`` into (..., H, W) scores that are not negative."""
    return windows(scores, pixels, SCORE_RADIUS).clamp(min=_MIN_SCORE).log()


def quadratic_offsets(logarithms: Tensor) -> Tensor:
    """Peaks of a quadratic without mixed term, fitted by least squares to the inner 3 x 3 logarithms of the scores.

    The fit separates into a parabola through the sums of the columns and one through the sums of the rows. Around a
    peak the scores resemble a Gaussian, and their logarithms a parabola.

    Args:
        logarithms: (N, 25) logarithms from ``log_score_windows``.

    Returns:
        (N, 2) offsets (x, y), within half a pixel.
    """
    side = 2 * SCORE_RADIUS + 1
    middle = slice(SCORE_RADIUS - 1, SCORE_RADIUS + 2)
    inner = logarithms.reshape(-1, side, side)[:, middle, middle]
    return torch.stack([_peak(inner.sum(dim=1)), _peak(inner.sum(dim=2))], dim=1)


class SubpixelHead(nn.Module):
    """Perceptron that predicts the teacher's subpixel position from gray values and scores around a keypoint.

    The detector predicts cells of 8 x 8 pixels, and its scores are blurred where it is uncertain. The perceptron
    corrects the quadratic fit; before training its correction is zero.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inputs = (2 * GRAY_RADIUS + 1) ** 2 + (2 * SCORE_RADIUS + 1) ** 2
        last = nn.Linear(channels, 2)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(
            nn.Linear(inputs, channels), nn.ReLU(), nn.Linear(channels, channels), nn.ReLU(), last
        )

    def forward(self, gray: Tensor, logarithms: Tensor) -> Tensor:
        """Predict offsets from whole pixels.

        Args:
            gray: (N, 81) ``windows`` of ``GRAY_RADIUS`` into the image.
            logarithms: (N, 25) logarithms from ``log_score_windows``.

        Returns:
            (N, 2) offsets (x, y), within ``MAX_OFFSET``.
        """
        contrast = gray - gray.mean(dim=1, keepdim=True)
        contrast = contrast / ((contrast * contrast).mean(dim=1, keepdim=True).sqrt() + 4)
        slopes = 0.3 * (logarithms - logarithms[:, logarithms.shape[1] // 2, None])
        correction = self.layers(torch.cat([contrast, slopes], dim=1))
        return (quadratic_offsets(logarithms) + correction).clamp(-MAX_OFFSET, MAX_OFFSET)


def _peak(values: Tensor) -> Tensor:
    """Peaks (N,) of the parabolas through (N, 3) values at -1, 0 and 1, at most half a pixel away."""
    left, centre, right = values.unbind(dim=1)
    curvature = (2 * centre - left - right).clamp(min=_MIN_CURVATURE)
    return ((right - left) / (2 * curvature)).clamp(-0.5, 0.5)
