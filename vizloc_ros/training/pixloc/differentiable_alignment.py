"""Differentiable alignment: the steps of ``pixloc/optimizer/alignment.py``, with gradients (PixLoc, section 3.2)."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vizloc_ros.pixloc.optimizer.projection import MIN_DEPTH
from vizloc_ros.pixloc.optimizer.robust import BarronLoss

_MIN_DIAGONAL = 1e-9


@dataclass(frozen=True)
class Pose:
    """B poses cam_from_map.

    Attributes:
        rotation: (B, 3, 3) rotation matrices.
        translation: (B, 3) translations [m].
    """

    rotation: Tensor
    translation: Tensor

    def detach(self) -> "Pose":
        """Poses without gradient."""
        return Pose(self.rotation.detach(), self.translation.detach())


@dataclass(frozen=True)
class Lens:
    """Cameras of B images.

    Attributes:
        focal: (B, 2) focal lengths [px].
        center: (B, 2) principal points [px].
        radial: (B,) radial distortions k1 of the map's intrinsics correction.
    """

    focal: Tensor
    center: Tensor
    radial: Tensor

    def project(self, pose: Pose, points: Tensor) -> tuple[Tensor, Tensor]:
        """Project (B, N, 3) points [m, map] to (B, N, 2) pixels; also return the points in the camera's frame."""
        in_camera = points @ pose.rotation.transpose(1, 2) + pose.translation[:, None]
        depth = in_camera[..., 2:].clamp(min=MIN_DEPTH)
        ray = in_camera[..., :2] / depth
        distorted = ray * (1 + self.radial[:, None, None] * (ray * ray).sum(dim=-1, keepdim=True))
        return distorted * self.focal[:, None] + self.center[:, None], in_camera

    def jacobian(self, in_camera: Tensor) -> Tensor:
        """(B, N, 2, 6) derivative of the pixels by d in exp(d) * pose, d = [rho, phi]; without the distortion."""
        z = in_camera[..., 2].clamp(min=MIN_DEPTH)
        x, y = in_camera[..., 0] / z, in_camera[..., 1] / z
        zero, one = torch.zeros_like(z), 1 / z
        rows = torch.stack(
            [
                torch.stack([one, zero, -x * one, -x * y, 1 + x * x, -y], dim=-1),
                torch.stack([zero, one, -y * one, -1 - y * y, x * y, x], dim=-1),
            ],
            dim=-2,
        )
        return rows * self.focal[:, None, :, None]


@dataclass(frozen=True)
class Level:
    """One level of B images and of their reference features.

    Attributes:
        features: (B, C, H, W) unit features of the queries.
        confidences: (B, 1, H, W) confidences of the queries.
        references: (B, N, C) unit features of the landmarks.
        reference_confidences: (B, N) confidences of the landmarks, zero for padding.
        damping: (6,) factors of the Hessian's diagonal.
    """

    features: Tensor
    confidences: Tensor
    references: Tensor
    reference_confidences: Tensor
    damping: Tensor


def align_level(
    level: Level,
    points: Tensor,
    lens: Lens,
    image_size: tuple[int, int],
    initial_poses: Pose,
    loss: BarronLoss,
    iterations: int,
) -> Pose:
    """Poses after Levenberg-Marquardt steps on one level, from ``initial_poses`` (PixLoc, Eq. 2 to 5).

    A step that the landmarks do not determine is zero.
    """
    pose = initial_poses
    for _ in range(iterations):
        pose = _step(level, points, lens, image_size, pose, loss)
    return pose


def positions_on(pixels: Tensor, shape: tuple[int, int], image_size: tuple[int, int]) -> Tensor:
    """(B, N, 2) positions on a level of (rows, columns), from pixels of images of (width, height)."""
    scale = pixels.new_tensor([shape[1] / image_size[0], shape[0] / image_size[1]])
    return (pixels + 0.5) * scale - 0.5


def sample_with_derivatives(maps: Tensor, positions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Bilinear samples of (B, C, H, W) maps at (B, N, 2) positions inside, and their derivatives by x and y.

    All three are (B, N, C).
    """
    height, width = maps.shape[2:]
    corner = torch.minimum(positions.detach().floor(), positions.new_tensor([width - 2, height - 2])).clamp(min=0)
    x, y = (positions - corner).unsqueeze(-1).unbind(dim=2)
    cells = (corner[..., 1] * width + corner[..., 0]).long()
    flat = maps.flatten(2).transpose(1, 2)

    def at(offset: int) -> Tensor:
        index = (cells + offset).unsqueeze(-1).expand(-1, -1, flat.shape[2])
        return flat.gather(1, index)

    top_left, top_right, bottom_left, bottom_right = at(0), at(1), at(width), at(width + 1)
    top, bottom = top_right - top_left, bottom_right - bottom_left
    left, twist = bottom_left - top_left, bottom - top
    value = top_left + x * top + y * left + x * y * twist
    return value, top + y * twist, left + x * twist


def inside(positions: Tensor, shape: tuple[int, int], depth: Tensor) -> Tensor:
    """(B, N) mask of the positions that lie on a level, of landmarks in front of the camera."""
    x, y = positions.unbind(dim=-1)
    return (x >= 0) & (y >= 0) & (x <= shape[1] - 1) & (y <= shape[0] - 1) & (depth > MIN_DEPTH)


def _step(level: Level, points: Tensor, lens: Lens, image_size: tuple[int, int], pose: Pose, loss: BarronLoss) -> Pose:
    shape = (level.features.shape[2], level.features.shape[3])
    pixels, in_camera = lens.project(pose, points)
    positions = positions_on(pixels, shape, image_size)
    valid = inside(positions, shape, in_camera[..., 2])
    positions = torch.where(valid[..., None], positions, torch.ones_like(positions))
    value, by_x, by_y = sample_with_derivatives(level.features, positions)
    confidence, _, _ = sample_with_derivatives(level.confidences, positions)
    residual = value - level.references
    squared = (residual * residual).sum(dim=-1)
    weight = loss.weight(squared) * confidence[..., 0] * level.reference_confidences * valid
    scale = positions.new_tensor([shape[1] / image_size[0], shape[0] / image_size[1]])
    jacobian = lens.jacobian(in_camera) * scale[:, None] * valid[..., None, None]
    xx, xy, yy = (by_x * by_x).sum(-1), (by_x * by_y).sum(-1), (by_y * by_y).sum(-1)
    slopes = torch.stack([(by_x * residual).sum(-1), (by_y * residual).sum(-1)], dim=-1)
    products = torch.stack([torch.stack([xx, xy], dim=-1), torch.stack([xy, yy], dim=-1)], dim=-2)
    weighted = (weight[..., None, None] * products) @ jacobian
    rows = jacobian.flatten(1, 2).transpose(1, 2)
    hessian = rows @ weighted.flatten(1, 2)
    gradient = rows @ (weight[..., None] * slopes).flatten(1, 2)[..., None]
    step = _solve(hessian, gradient, level.damping)
    return apply_left_update(pose, step)


def _solve(hessian: Tensor, gradient: Tensor, damping: Tensor) -> Tensor:
    """(B, 6) steps (PixLoc, Eq. 4), zero for singular equations."""
    diagonal = hessian.diagonal(dim1=1, dim2=2)
    damped = hessian + (diagonal * damping).clamp(min=_MIN_DIAGONAL).diag_embed()
    scale = damped.diagonal(dim1=1, dim2=2).detach().clamp(min=_MIN_DIAGONAL).rsqrt()
    conditioned = damped * scale[:, :, None] * scale[:, None, :]
    factor, info = torch.linalg.cholesky_ex(conditioned.detach())
    solvable = (info == 0) & torch.isfinite(factor).all(dim=2).all(dim=1)
    unit = torch.eye(6, dtype=hessian.dtype, device=hessian.device)
    safe = torch.where(solvable[:, None, None], conditioned, unit)
    step = -scale[:, :, None] * torch.cholesky_solve(scale[:, :, None] * gradient, torch.linalg.cholesky(safe))
    return torch.where(solvable[:, None], step[..., 0], torch.zeros_like(step[..., 0]))


def apply_left_update(pose: Pose, step: Tensor) -> Pose:
    """exp(step) * pose for (B, 6) steps (PixLoc, Eq. 5), as ``geometry/se3.py``, with gradients."""
    rho, phi = step[:, :3], step[:, 3:]
    square = (phi * phi).sum(dim=1)[:, None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    theta = safe.sqrt()
    cross = _cross_matrix(phi)
    twice = cross @ cross
    a = torch.where(small, 1 - square / 6, torch.sin(theta) / theta)
    b = torch.where(small, 0.5 - square / 24, (1 - torch.cos(theta)) / safe)
    c = torch.where(small, 1 / 6 - square / 120, (theta - torch.sin(theta)) / (safe * theta))
    unit = torch.eye(3, dtype=step.dtype, device=step.device)
    rotation, jacobian = unit + a * cross + b * twice, unit + b * cross + c * twice
    translation = (rotation @ pose.translation[..., None] + jacobian @ rho[..., None])[..., 0]
    return Pose(rotation @ pose.rotation, translation)


def _cross_matrix(v: Tensor) -> Tensor:
    x, y, z = v.unbind(dim=1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)


def reference_features(maps: Tensor, positions: Tensor) -> Tensor:
    """(B, N, C) unit features of references, sampled in (B, C, H, W) maps at (B, N, 2) positions."""
    return F.normalize(sample_with_derivatives(maps, positions)[0], dim=-1)
