"""Matching of held-out images with warped and augmented copies of themselves, for validation."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.evaluation.matching_metrics import MatchingSummary, evaluate_pair
from vizloc_ros.features.hfnet.hfnet_network import HfNet
from vizloc_ros.features.hfnet.postprocessing import Extracted, Extraction
from vizloc_ros.features.types import Features, quantize
from vizloc_ros.training.appearance import PhotometricChanges

_KEYPOINTS = 300
_MAX_CORNER_SHIFT = 0.12  # fraction of the image's size


def matching_scores(
    network: HfNet, images: Sequence[UInt8], augmentation: PhotometricChanges, seed: int
) -> dict[str, float]:
    """Repeatability, matching score and MMA at 3 px with 300 keypoints; the copies depend only on the seed.

    Args:
        network: network in evaluation mode.
        images: (H, W) gray images with sides that are multiples of 8.
        augmentation: augmentation of the copies.
        seed: seed of augmentation and warps.
    """
    extraction = Extraction(network, _KEYPOINTS)
    pairs = []
    for i, image in enumerate(images):
        image = _cropped(image, network.config.multiple)
        rng = np.random.default_rng([seed, i])
        height, width = image.shape
        other_from_image = random_homography(width, height, rng)
        warped = cv2.warpPerspective(image, other_from_image, (width, height), borderMode=cv2.BORDER_REFLECT)
        other = augmentation.apply(warped, rng)
        pairs.append(
            evaluate_pair(_extract(extraction, image), _extract(extraction, other), other_from_image, _KEYPOINTS)
        )
    summary = MatchingSummary.of(pairs)
    return {
        "repeatability": summary.repeatability,
        "matching_score": summary.matching_score,
        "mma_3px": summary.mma_at(3),
        "localization_error_px": summary.localization_error_px or float("nan"),
    }


def random_homography(width: int, height: int, rng: np.random.Generator) -> Float64:
    """(3, 3) homography that moves each corner by up to 12 % of the image's size."""
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    moved = corners + rng.uniform(-_MAX_CORNER_SHIFT, _MAX_CORNER_SHIFT, (4, 2)) * [width, height]
    return cv2.getPerspectiveTransform(corners, moved.astype(np.float32))


def _cropped(image: UInt8, multiple: int) -> UInt8:
    height, width = (side // multiple * multiple for side in image.shape)
    return np.ascontiguousarray(image[:height, :width])


@torch.no_grad()
def _extract(extraction: Extraction, image: UInt8) -> Features:
    device = next(extraction.parameters()).device
    found = Extracted(*(values.cpu() for values in extraction(torch.from_numpy(image)[None, None].to(device))))
    kept = found.scores > 0
    return Features(
        (found.keypoints + found.offsets)[kept].numpy(),
        found.scores[kept].numpy(),
        quantize(found.descriptors[kept].numpy()),
        found.global_descriptor.numpy(),
        (image.shape[1], image.shape[0]),
    )
