"""From image to features in one module: what is exported, and what a GPU runs as a whole."""

from typing import NamedTuple

from torch import Tensor, nn

from vizloc_ros.features.hfnet.config import CELL
from vizloc_ros.features.hfnet.image_fit import BORDER
from vizloc_ros.features.hfnet.keypoints import best_keypoints
from vizloc_ros.features.hfnet.network import HfNet
from vizloc_ros.features.hfnet.nms import non_max_suppression
from vizloc_ros.features.hfnet.refinement import GRAY_REACH, log_score_windows, quadratic_offsets, windows
from vizloc_ros.features.hfnet.sampling import sample_descriptors, unit

NMS_RADIUS = 4
NMS_ROUNDS = 3


class Extracted(NamedTuple):
    """Features of one image, best score first; rows of score 0 are no keypoints.

    Attributes:
        keypoints: (N, 2) whole pixels (x, y).
        offsets: (N, 2) from there to the refined position.
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
    """HF-Net with suppression, selection, refinement and sampling."""

    def __init__(self, network: HfNet, max_keypoints: int) -> None:
        super().__init__()
        self.network = network
        self.max_keypoints = max_keypoints

    def forward(self, image: Tensor) -> Extracted:
        """(1, 1, H, W) uint8 gray values; H and W multiples of 8, at least 16."""
        network = self.network
        gray = image.float()
        local, deep = network.backbone(gray)
        scores = score_map(network.detector(local))
        points, best = best_keypoints(non_max_suppression(scores, NMS_RADIUS, NMS_ROUNDS), self.max_keypoints, BORDER)
        cells = unit(network.descriptor(local)[0].permute(1, 2, 0))
        return Extracted(
            points.float(),
            self._offsets(gray, scores, points),
            best,
            sample_descriptors(cells, points),
            network.global_head(deep)[0],
        )

    def _offsets(self, gray: Tensor, scores: Tensor, points: Tensor) -> Tensor:
        pixels = scores.shape[3] * points[:, 1] + points[:, 0]
        logarithms = log_score_windows(scores, pixels)
        if self.network.refiner is None:
            return quadratic_offsets(logarithms)
        return self.network.refiner(windows(gray, pixels, GRAY_REACH), logarithms)


def score_map(logits: Tensor) -> Tensor:
    """``keypoint_scores`` of one image, in the layout that ONNX Runtime is fast with.

    Args:
        logits: (1, 65, H/8, W/8).

    Returns:
        (1, 1, H, W).
    """
    rows, columns = logits.shape[2:]
    cells = logits.flatten(2)[0].t()
    odds = (cells[:, : CELL * CELL] - cells[:, CELL * CELL :]).sigmoid()
    return odds.reshape(rows, columns, CELL, CELL).transpose(1, 2).reshape(1, 1, CELL * rows, CELL * columns)
