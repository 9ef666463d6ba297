"""Similarity transforms: rotation, translation and scale between two frames."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64

_COLLINEAR = 0.02  # ratio of the second extent of positions to the first, below which they do not tell the rotation


@dataclass(frozen=True)
class Similarity:
    """Transform ``point_a = scale (rotation point_b) + translation``.

    Attributes:
        scale: length in frame a of one unit of frame b.
        a_from_b: rotation, and translation in units of frame a.
    """

    scale: float
    a_from_b: Rigid3d

    def pose(self, b_from_c: Rigid3d) -> Rigid3d:
        """Pose a_from_c of a camera, whose own units become those of frame a."""
        return self.a_from_b * Rigid3d(b_from_c.rotation, self.scale * b_from_c.translation)


def align_positions(targets: Float64, sources: Float64) -> Similarity | None:
    """Similarity a_from_b with the least squared distances of (N, 3) positions b from those in a (Umeyama, 1991).

    Returns:
        The similarity; None if the positions b are all the same. Along a straight line its rotation is one of many.
    """
    target_mean, source_mean = targets.mean(axis=0), sources.mean(axis=0)
    variance = float(((sources - source_mean) ** 2).sum() / len(sources))
    if variance <= 0:
        return None
    u, singular, vt = np.linalg.svd((targets - target_mean).T @ (sources - source_mean) / len(sources))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    rotation = u @ np.diag(signs) @ vt
    scale = float((singular * signs).sum() / variance)
    return Similarity(scale, Rigid3d(Rotation3d(rotation), target_mean - scale * rotation @ source_mean))


def align_poses(targets: Sequence[Rigid3d], sources: Sequence[Rigid3d]) -> Similarity | None:
    """Similarity a_from_b of the poses of the same cameras in a and in b; None if they are all at one place in b.

    The rotation is that of the positions. If these lie along a straight line, it is the mean of the cameras' rotations.
    """
    target_centers, source_centers = (np.array([p.translation for p in poses]) for poses in (targets, sources))
    aligned = align_positions(target_centers, source_centers)
    extents = np.linalg.svd(source_centers - source_centers.mean(axis=0), compute_uv=False)
    if aligned is None or (len(extents) > 1 and extents[1] > _COLLINEAR * extents[0]):
        return aligned
    total = sum(t.rotation.matrix() @ s.rotation.matrix().T for t, s in zip(targets, sources, strict=True))
    u, _, vt = np.linalg.svd(total)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    rotated = source_centers @ rotation.T
    moved, wanted = rotated - rotated.mean(axis=0), target_centers - target_centers.mean(axis=0)
    scale = float((moved * wanted).sum() / (moved**2).sum())
    return Similarity(scale, Rigid3d(Rotation3d(rotation), target_centers.mean(axis=0) - scale * rotated.mean(axis=0)))
