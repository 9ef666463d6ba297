"""Non-maximum suppression by max-pooling, for the exported graph (SuperPoint's, radius 4 and three rounds)."""

from torch import Tensor
from torch.nn.functional import max_pool2d


def non_max_suppression(scores: Tensor, radius: int, rounds: int) -> Tensor:
    """Which pixels are keypoints.

    The first round keeps the pixels that no other within ``radius`` (rows and columns) exceeds. Each further round does
    the same without what lies within ``radius`` of a keypoint, and so recovers pixels that only a suppressed one
    exceeded. Where no two scores within ``radius`` are equal, the result is a subset of greedy suppression's (best
    score first), and with enough rounds equal to it. Of equal scores that are not exceeded, all stay.

    Args:
        scores: (1, 1, H, W), positive.
        radius: [px].
        rounds: at least 1.

    Returns:
        (1, 1, H, W), the scores of the keypoints, 0 elsewhere.
    """
    kept = _maxima(scores, radius)
    for _ in range(rounds - 1):
        kept = kept + _maxima(scores * (dilate(kept, radius) == 0), radius)
    return kept


def _maxima(scores: Tensor, radius: int) -> Tensor:
    return scores * (scores == dilate(scores, radius))


def dilate(values: Tensor, radius: int) -> Tensor:
    """Largest value within ``radius`` rows and columns, in two passes: one over the square has four times the work."""
    size = 2 * radius + 1
    rows = max_pool2d(values, (size, 1), stride=1, padding=(radius, 0))
    return max_pool2d(rows, (1, size), stride=1, padding=(0, radius))
