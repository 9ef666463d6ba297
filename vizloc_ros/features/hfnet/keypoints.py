"""The best keypoints of a score map, for the exported graph."""

import torch
from torch import Tensor
from torch.nn.functional import max_pool2d, pad

_BLOCK = 4  # no two keypoints share a block: suppression leaves none closer than 5 rows or columns


def best_keypoints(kept: Tensor, count: int, border: int) -> tuple[Tensor, Tensor]:
    """The keypoints with the best scores: first the one of each block of 4 x 4 pixels, which is cheap, then of these.

    Args:
        kept: (1, 1, H, W) scores of the keypoints, 0 elsewhere; no two keypoints within 4 rows and columns.
        count: how many.
        border: how far from the image's border a keypoint must be [px], a multiple of 4.

    Returns:
        (count, 2) int64 pixels (x, y) and (count,) scores, best first; of equal scores the upper left first. Where
        there are fewer keypoints, scores of 0 fill up.
    """
    inner = kept[:, :, border:-border, border:-border]
    blocks = max_pool2d(inner, _BLOCK)
    rows, columns = blocks.shape[2:]
    # Filled up, so that the count is a constant of the graph, as TensorRT demands.
    scores, block = pad(blocks.flatten(), (0, count)).topk(count)
    block = block.clamp(max=rows * columns - 1)
    row = torch.div(block, columns, rounding_mode="trunc")
    column = block - row * columns
    within = torch.arange(_BLOCK, device=kept.device)
    lines = (_BLOCK * row * columns + column)[:, None] + columns * within  # a block's, as runs of 4
    pixel = inner.reshape(-1, _BLOCK)[lines].flatten(1).argmax(dim=1)
    line = torch.div(pixel, _BLOCK, rounding_mode="trunc")
    x = border + _BLOCK * column + pixel - _BLOCK * line
    y = border + _BLOCK * row + line
    return torch.stack([x, y], dim=1), scores
