"""Batches of pairs as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from pycolmap import Rigid3d
from torch import Tensor

from vizloc_ros.arrays import UInt8
from vizloc_ros.training.pixloc.differentiable_alignment import Lens, Pose
from vizloc_ros.training.pixloc.training_pairs import Pair, View


@dataclass(frozen=True)
class Batch:
    """B pairs whose images have one size, and whose cameras have one size.

    Attributes:
        images: (2 B, 1, H, W) gray values, all queries before all keyframes.
        image_size: (width, height) of the cameras [px].
        query_lens: cameras of the queries.
        keyframe_lens: cameras of the keyframes.
        keyframe_pose: poses of the keyframes.
        truth: ground-truth poses of the queries.
        initial_poses: initial poses of the alignments.
        points: (B, N, 3) landmarks [m], relative to each pair's origin.
        real: (B, N) 1 for landmarks, 0 for padding.
    """

    images: Tensor
    image_size: tuple[int, int]
    query_lens: Lens
    keyframe_lens: Lens
    keyframe_pose: Pose
    truth: Pose
    initial_poses: Pose
    points: Tensor
    real: Tensor


def collate(pairs: Sequence[Pair], queries: Sequence[UInt8], keyframes: Sequence[UInt8], device: torch.device) -> Batch:
    """Batch of pairs. Positions are relative to the query's camera, because of single precision.

    Args:
        pairs: pairs whose images have one size.
        queries: images of the queries, changed or not.
        keyframes: images of the keyframes, changed or not.
        device: device of the tensors.
    """
    count = max(len(pair.points) for pair in pairs)
    points = np.zeros((len(pairs), count, 3), np.float32)
    real = np.zeros((len(pairs), count), np.float32)
    origins = [pair.query.cam_from_map.inverse().translation for pair in pairs]
    for i, (pair, origin) in enumerate(zip(pairs, origins, strict=True)):
        points[i, : len(pair.points)] = pair.points - origin
        points[i, len(pair.points) :] = points[i, 0]
        real[i, : len(pair.points)] = 1

    def poses(cam_from_map: Sequence[Rigid3d]) -> Pose:
        matrices = [pose.matrix() for pose in cam_from_map]
        rotation = np.array([matrix[:, :3] for matrix in matrices])
        translation = [m[:, 3] + m[:, :3] @ origin for m, origin in zip(matrices, origins, strict=True)]
        return Pose(_tensor(rotation, device), _tensor(np.array(translation), device))

    images = np.stack([*queries, *keyframes])[:, None].astype(np.float32)
    return Batch(
        _tensor(images, device),
        pairs[0].query.camera.size,
        _lens([pair.query for pair in pairs], device),
        _lens([pair.keyframe for pair in pairs], device),
        poses([pair.keyframe.cam_from_map for pair in pairs]),
        poses([pair.query.cam_from_map for pair in pairs]),
        poses([pair.initial_pose for pair in pairs]),
        _tensor(points, device),
        _tensor(real, device),
    )


def _lens(views: Sequence[View], device: torch.device) -> Lens:
    cameras = [(view.camera, view.correction) for view in views]
    focal = [[c.fx * (1 + off.focal), c.fy * (1 + off.focal)] for c, off in cameras]
    center = [[c.cx + off.cx, c.cy + off.cy] for c, off in cameras]
    radial = [off.radial / (1 + off.focal) for _, off in cameras]
    return Lens(*(_tensor(np.array(values), device) for values in (focal, center, radial)))


def _tensor(values: np.ndarray, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(values, dtype=np.float32)).to(device)
