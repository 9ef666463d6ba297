"""Descriptors at keypoints, for the exported graph."""

import torch
from torch import Tensor

from vizloc_ros.features.hfnet.config import CELL


def sample_descriptors(cells: Tensor, points: Tensor) -> Tensor:
    """Descriptors at pixels: bilinear between the centres of the cells, constant beyond the outermost, unit length.

    The same as ``grid_sample`` with ``align_corners=False`` and border padding, by gathering whole rows: ONNX Runtime's
    GridSample visits every channel of every point by itself.

    Args:
        cells: (H/8, W/8, D), a descriptor for each cell; at least 2 x 2 cells.
        points: (N, 2) pixels (x, y).

    Returns:
        (N, D) unit vectors.
    """
    rows, columns, dimension = cells.shape
    x = ((points[:, 0] + 0.5) / CELL - 0.5).clamp(0, columns - 1)
    y = ((points[:, 1] + 0.5) / CELL - 0.5).clamp(0, rows - 1)
    left, top = x.floor().clamp(max=columns - 2), y.floor().clamp(max=rows - 2)
    right, lower = x - left, y - top
    corner = (top * columns + left).long()
    corners = torch.stack([corner, corner + 1, corner + columns, corner + columns + 1], dim=1)
    weights = torch.stack([(1 - lower) * (1 - right), (1 - lower) * right, lower * (1 - right), lower * right], dim=1)
    samples = torch.bmm(weights[:, None], cells.reshape(-1, dimension)[corners])
    return unit(samples[:, 0])


def unit(vectors: Tensor) -> Tensor:
    """(..., D) scaled to unit length; ``F.normalize`` in operators that ONNX Runtime is fast at."""
    return vectors / (vectors * vectors).sum(dim=-1, keepdim=True).sqrt().clamp(min=1e-12)
