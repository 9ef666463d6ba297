"""Loss of a batch of pairs: features, reference features, alignment level by level, reprojection errors."""

from dataclasses import dataclass

import torch
from torch import Tensor

from vizloc_ros.pixloc.network.model import PixLocNetwork
from vizloc_ros.pixloc.optimizer.robust import BarronLoss
from vizloc_ros.training.pixloc.alignment_loss import gate, reprojection_errors, reprojection_loss
from vizloc_ros.training.pixloc.differentiable_alignment import (
    Level,
    Pose,
    align_level,
    inside,
    positions_on,
    reference_features,
    sample_with_derivatives,
)
from vizloc_ros.training.pixloc.pair_batches import Batch


@dataclass(frozen=True)
class Aligned:
    """Result of a batch.

    Attributes:
        loss: mean over levels and pairs, in which a gated level counts as 0.
        pose: final poses.
        level_losses: (L,) mean loss of each level over all pairs, finest level first.
    """

    loss: Tensor
    pose: Pose
    level_losses: Tensor


def align_batch(network: PixLocNetwork, batch: Batch, loss: BarronLoss, iterations: int, gate_factor: float) -> Aligned:
    """Align every pair from its initial pose, coarse to fine.

    Gradients flow within a level, but not from one level to the next.

    Args:
        network: network in training or evaluation mode.
        batch: pairs to align.
        loss: robust loss of the residuals.
        iterations: iterations on each level.
        gate_factor: maximum error of the previous level, in its own pixels, with which a level is trained.
    """
    levels = _levels(network, batch)
    # Distances in pixels of the network's input, to which the strides refer.
    shrink = batch.images.shape[3] / batch.image_size[0]
    truth, in_camera = batch.query_lens.project(batch.truth, batch.points)
    visible = inside(truth, (batch.image_size[1], batch.image_size[0]), in_camera[..., 2])
    counted = batch.real * visible

    def errors(pose: Pose) -> Tensor:
        return shrink * reprojection_errors(batch.query_lens.project(pose, batch.points)[0], truth)

    pose, losses, gates = batch.initial_poses, [], []
    before, stride = errors(pose), None
    for index in reversed(range(len(levels))):
        pose = align_level(
            levels[index], batch.points, batch.query_lens, batch.image_size, pose.detach(), loss, iterations
        )
        after = errors(pose)
        losses.append(reprojection_loss(after, counted))
        gates.append(torch.ones_like(losses[-1]) if stride is None else gate(before, counted, stride, gate_factor))
        before, stride = after, network.config.strides[index]
    total = (torch.stack(losses) * torch.stack(gates)).mean()
    return Aligned(total, pose.detach(), torch.stack(losses).mean(dim=1).detach().flip(0))


def _levels(network: PixLocNetwork, batch: Batch) -> list[Level]:
    """Feature maps of the queries, with reference features sampled in those of the keyframes."""
    pairs, damping = len(batch.points), network.dampings()
    pixels, in_camera = batch.keyframe_lens.project(batch.keyframe_pose, batch.points)
    levels = []
    for index, (features, confidences) in enumerate(
        network(batch.images.contiguous(memory_format=torch.channels_last))
    ):
        shape = (features.shape[2], features.shape[3])
        positions = positions_on(pixels, shape, batch.image_size)
        valid = inside(positions, shape, in_camera[..., 2]).to(features.dtype) * batch.real
        positions = torch.where(valid[..., None] > 0, positions, torch.ones_like(positions))
        reference_confidences = sample_with_derivatives(confidences[pairs:], positions)[0][..., 0]
        levels.append(
            Level(
                features[:pairs],
                confidences[:pairs],
                reference_features(features[pairs:], positions),
                reference_confidences * valid,
                damping[index],
            )
        )
    return levels
