"""Losses of multi-task distillation, with learned weights (HF-Net, section 4.2, Eq. 1)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vizloc_ros.features.hfnet.hfnet_config import CELL
from vizloc_ros.features.hfnet.hfnet_network import Outputs
from vizloc_ros.features.hfnet.subpixel import SubpixelHead
from vizloc_ros.training.distillation.distillation_batches import Batch
from vizloc_ros.training.distillation.refinement import refinement_loss

TEMPERATURE = 0.03  # divisor of the similarities among keypoints
TASKS = ("descriptor", "detector", "global")


class DistillationLoss(nn.Module):
    """Sum over tasks of exp(-w) * loss + w with learned w; the detector's loss has the factor 2 (HF-Net, Eq. 1)."""

    def __init__(self, contrast: float, cells: float = 1.0) -> None:
        """Set the weights of the descriptors' contrast and of those between keypoints, relative to those at them."""
        super().__init__()
        self.contrast, self.cells = contrast, cells
        self.log_variances = nn.Parameter(torch.ones(len(TASKS)))

    def forward(
        self, outputs: Outputs | tuple[Tensor, Tensor], batch: Batch, refiner: SubpixelHead | None = None
    ) -> tuple[Tensor, dict[str, float]]:
        """Compute the loss of a batch.

        Args:
            outputs: outputs of the network; without a global descriptor, that task does not count.
            batch: batch with the targets.
            refiner: sub-pixel head; it has no weights in common with the tasks, so its loss is added without a factor.

        Returns:
            The loss, and the losses of the tasks by name for the log.
        """
        log_odds, descriptors = outputs[:2]
        at_keypoints, among_keypoints = keypoint_losses(descriptors, batch)
        losses = [
            (self.cells * cell_loss(descriptors, batch) + at_keypoints) / (self.cells + 1)
            + self.contrast * among_keypoints,
            2 * detector_loss(log_odds, batch),
        ]
        if isinstance(outputs, Outputs):
            losses.append(global_loss(outputs.global_descriptor, batch.global_descriptors))
        log_variances = self.log_variances[: len(losses)]
        total = (torch.exp(-log_variances) * torch.stack(losses) + log_variances).sum()
        each = {task: loss.item() for task, loss in zip(TASKS, losses, strict=False)}
        if refiner is not None:
            refinement = refinement_loss(refiner, log_odds, batch)
            total, each["refinement"] = total + refinement, refinement.item()
        return total, each


def cell_loss(descriptors: Tensor, batch: Batch) -> Tensor:
    """Half the squared distance of the descriptors at the centers of the cells."""
    centers = F.normalize(F.avg_pool2d(descriptors, descriptors.shape[3] // batch.descriptors.shape[3]), dim=1)
    return 0.5 * (centers - batch.descriptors).square().sum(dim=1).mean()


def keypoint_losses(descriptors: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """Losses of the descriptors at the teacher's keypoints, where a localizer uses descriptors.

    Returns:
        Half the squared distance to the teacher's descriptor; and the cross-entropy of matching it among all teacher's
        descriptors of the crop, in both directions. All descriptors of a crop are similar, so a small distance alone
        does not distinguish keypoints.
    """
    student, teacher = (
        F.normalize(sample_cells(descriptors, batch.keypoints, *batch.size), dim=2),
        batch.keypoint_descriptors,
    )
    known = teacher.square().sum(dim=2) > 0.5
    count = known.sum().clamp(min=1)
    distance = (0.5 * (student - teacher).square().sum(dim=2) * known).sum() / count
    similarity = (student @ teacher.transpose(1, 2)) / TEMPERATURE
    similarity = similarity.masked_fill(~(known[:, None] & known[:, :, None]), -1e4)
    correct = torch.diagonal(similarity, dim1=1, dim2=2)
    entropies = [(similarity.logsumexp(dim=dim) - correct) * known for dim in (1, 2)]
    return distance, 0.5 * (entropies[0] + entropies[1]).sum() / count


def detector_loss(log_odds: Tensor, batch: Batch) -> Tensor:
    """Cross-entropy of the cells with the teacher's soft labels; the logit of "no keypoint" is 0."""
    pixels = F.pixel_unshuffle(log_odds, CELL)
    cells = torch.cat([pixels, torch.zeros_like(pixels[:, :1])], dim=1)
    return -(batch.labels * F.log_softmax(cells, dim=1)).sum(dim=1).mean()


def global_loss(descriptors: Tensor, targets: Tensor) -> Tensor:
    """Half the mean squared distance of (N, G) unit vectors, over those with a target, which is not zero."""
    known = targets.square().sum(dim=1) > 0.5
    distance = 0.5 * (descriptors - targets).square().sum(dim=1)
    return (distance * known).sum() / known.sum().clamp(min=1)


def sample_cells(maps: Tensor, points: Tensor, width: int, height: int) -> Tensor:
    """Bilinear samples (B, N, D) of (B, D, H/s, W/s) maps at (B, N, 2) pixels, at (p + 0.5) / s - 0.5."""
    size = torch.tensor([width, height], dtype=points.dtype, device=points.device)
    grid = (2 * (points + 0.5) / size - 1)[:, None]
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)
