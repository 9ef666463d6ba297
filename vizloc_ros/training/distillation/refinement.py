"""Training of the sub-pixel head with the teacher's peaks near the student's keypoints."""

import torch
from torch import Tensor

from vizloc_ros.features.hfnet.hfnet_network import log_odds_of_cells
from vizloc_ros.features.hfnet.subpixel import (
    GRAY_RADIUS,
    MAX_OFFSET,
    SubpixelHead,
    log_score_windows,
    quadratic_offsets,
    windows,
)
from vizloc_ros.training.distillation.distillation_batches import Batch

_MIN_LABEL = 1e-7


def refinement_loss(refiner: SubpixelHead, log_odds: Tensor, batch: Batch) -> Tensor:
    """Mean distance between refined keypoints and the teacher's peaks [px]; its gradient reaches only the refiner.

    The student's keypoint is the best pixel of a square window around the teacher's. One on the window's border is left
    out: it may be on the slope of another peak.
    """
    found = log_odds.detach().sigmoid()
    target = log_odds_of_cells(batch.labels.clamp(min=_MIN_LABEL).log()).sigmoid()
    search = int(MAX_OFFSET)
    pixels = _pixels(batch, search + GRAY_RADIUS)
    side = 2 * search + 1
    best = windows(found, pixels, search).argmax(dim=1)
    shift = torch.stack([best % side, best.div(side, rounding_mode="floor")], dim=1) - search
    inner = shift.abs().amax(dim=1) < search
    pixels, shift = pixels[inner], shift[inner]
    peaks = quadratic_offsets(log_score_windows(target, pixels)) - shift
    moved = pixels + found.shape[-1] * shift[:, 1] + shift[:, 0]
    refined = refiner(windows(batch.images, moved, GRAY_RADIUS), log_score_windows(found, moved))
    return (refined - peaks).norm(dim=1).sum() / max(len(pixels), 1)


def _pixels(batch: Batch, margin: int) -> Tensor:
    """(N,) indices into the flattened crops, of the teacher's keypoints at least ``margin`` px from the border."""
    height, width = batch.images.shape[2:]
    x, y = batch.keypoints.long().unbind(dim=2)
    known = batch.keypoint_descriptors.square().sum(dim=2) > 0.5
    known &= (torch.minimum(x, y) >= margin) & (x < width - margin) & (y < height - margin)
    crop = torch.arange(len(x), device=x.device)[:, None]
    return (width * (height * crop + y) + x)[known]
