"""Postprocessing in the exported graph: from the dense outputs of HF-Net to keypoints with descriptors."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d, pad

from vizloc_ros.features.hfnet.hfnet_network import HfNet
from vizloc_ros.features.hfnet.image_size import BORDER
from vizloc_ros.features.hfnet.subpixel import GRAY_RADIUS, log_score_windows, quadratic_offsets, windows
from vizloc_ros.features.hfnet.vlad_head import unit


def non_max_suppression(scores: Tensor, radius: int, rounds: int) -> Tensor:
    """Keep the scores of keypoints and set all others to 0.

    The first round keeps the pixels that no other within ``radius`` (rows and columns) exceeds. Each further round does
    the same without the pixels within ``radius`` of a keypoint. It recovers pixels that only a suppressed one exceeded.
    If no two scores within ``radius`` are equal, the result is a subset of that of greedy suppression (best score
    first), and with enough rounds equal to it. Of equal scores that are not exceeded, all stay.

    Args:
        scores: (1, 1, H, W) positive scores.
        radius: radius of the suppression [px].
        rounds: number of rounds, at least 1.

    Returns:
        (1, 1, H, W) scores of the keypoints, 0 elsewhere.
    """
    kept = _maxima(scores, radius)
    for _ in range(rounds - 1):
        kept = kept + _maxima(scores * (dilate(kept, radius) == 0), radius)
    return kept


def _maxima(scores: Tensor, radius: int) -> Tensor:
    return scores * (scores == dilate(scores, radius))


def dilate(values: Tensor, radius: int) -> Tensor:
    """Largest values within ``radius`` rows and columns, in two passes: a single one would cost four times as much."""
    size = 2 * radius + 1
    rows = max_pool2d(values, (size, 1), stride=1, padding=(radius, 0))
    return max_pool2d(rows, (1, size), stride=1, padding=(0, radius))


_BLOCK = 4  # a block has one keypoint at most: suppression leaves none closer than 5 rows or columns


def best_keypoints(kept: Tensor, count: int, border: int) -> tuple[Tensor, Tensor]:
    """Select the keypoints with the best scores: first one in each block of 4 x 4 pixels, then the best of these.

    Args:
        kept: (1, 1, H, W) scores of the keypoints, 0 elsewhere; no two keypoints within 4 rows and columns.
        count: number of keypoints.
        border: minimum distance of a keypoint from the image's border [px], a multiple of 4.

    Returns:
        (count, 2) int64 pixels (x, y) and (count,) scores, best first; of equal scores the upper left first. If there
        are fewer keypoints, the remaining scores are 0.
    """
    inner = kept[:, :, border:-border, border:-border]
    blocks = max_pool2d(inner, _BLOCK)
    rows, columns = blocks.shape[2:]
    # Padded, because TensorRT needs a constant count.
    scores, block = pad(blocks.flatten(), (0, count)).topk(count)
    block = block.clamp(max=rows * columns - 1)
    row = torch.div(block, columns, rounding_mode="trunc")
    column = block - row * columns
    within = torch.arange(_BLOCK, device=kept.device)
    lines = (_BLOCK * row * columns + column)[:, None] + columns * within  # the four rows of a block
    pixel = inner.reshape(-1, _BLOCK)[lines].flatten(1).argmax(dim=1)
    line = torch.div(pixel, _BLOCK, rounding_mode="trunc")
    x = border + _BLOCK * column + pixel - _BLOCK * line
    y = border + _BLOCK * row + line
    return torch.stack([x, y], dim=1), scores


def sample_cells(cells: Tensor, points: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Sample features at pixels: bilinear between the centres of the cells, constant beyond the outermost ones.

    The values are those of ``grid_sample`` with ``align_corners=False`` and border padding. Whole rows are gathered,
    because GridSample of ONNX Runtime processes every channel of every point separately. The image's size tells the
    cells' shape: asked for it, ONNX Runtime would copy the cells.

    Args:
        cells: (1, H/s, W/s, C) features of the cells; at least 2 x 2 cells.
        points: (N, 2) pixels (x, y).
        size: (W, H) of the image [px].
        stride: side s of a cell [px].

    Returns:
        (N, C) features.
    """
    columns, rows = (side // stride for side in size)
    x = ((points[:, 0] + 0.5) / stride - 0.5).clamp(0, columns - 1)
    y = ((points[:, 1] + 0.5) / stride - 0.5).clamp(0, rows - 1)
    left, top = x.floor().clamp(max=columns - 2), y.floor().clamp(max=rows - 2)
    right, lower = x - left, y - top
    corner = (top * columns + left).long()
    corners = torch.stack([corner, corner + 1, corner + columns, corner + columns + 1], dim=1)
    weights = torch.stack([(1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right], dim=1)
    samples = torch.bmm(weights[:, None], cells.reshape(-1, int(cells.shape[-1]))[corners])
    return samples[:, 0]


NMS_RADIUS = 4
NMS_ROUNDS = 3


class Extracted(NamedTuple):
    """Features of one image, best score first; rows with a score of 0 are no keypoints.

    Attributes:
        keypoints: (N, 2) whole pixels (x, y).
        offsets: (N, 2) refined positions minus the whole pixels (x, y).
        scores: (N,) probabilities.
        descriptors: (N, D) unit vectors, sampled at the whole pixels.
        global_descriptor: (G,) unit vector.
    """

    keypoints: Tensor
    offsets: Tensor
    scores: Tensor
    descriptors: Tensor
    global_descriptor: Tensor


class Extraction(nn.Module):
    """HF-Net followed by non-maximum suppression, selection, subpixel refinement and sampling."""

    def __init__(self, network: HfNet, max_keypoints: int) -> None:
        super().__init__()
        self.network = network
        self.max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> Extracted:
        """Extract features from (1, 1, H, W) uint8 gray values, with H and W multiples of ``config.multiple``."""
        network = self.network
        gray = image.float()
        maps = network.maps(gray)
        scores = maps.log_odds.sigmoid()
        points, best = best_keypoints(non_max_suppression(scores, NMS_RADIUS, NMS_ROUNDS), self.max_keypoints, BORDER)
        cells, size = maps.features.permute(0, 2, 3, 1), (scores.shape[3], scores.shape[2])
        samples = sample_cells(cells, points, size, network.config.descriptor_stride)
        descriptors = unit(network.describe(samples))
        return Extracted(
            points.float(),
            self._offsets(gray, scores, points),
            best,
            descriptors,
            network.describe_image(maps, descriptors, best),
        )

    def _offsets(self, gray: Tensor, scores: Tensor, points: Tensor) -> Tensor:
        pixels = scores.shape[3] * points[:, 1] + points[:, 0]
        logarithms = log_score_windows(scores, pixels)
        if self.network.refiner is None:
            return quadratic_offsets(logarithms)
        return self.network.refiner(windows(gray, pixels, GRAY_RADIUS), logarithms)
