"""Upward direction of a map, by the images of its keyframes, and the level frame in which z points there.

A map has the axes of its dataset's world: a camera's, for KITTI. RViz's arrow and ``two_d_mode`` need z up (REP 103).
"""

import numpy as np
from pycolmap import Rotation3d
from scipy.spatial.transform import Rotation

from vizloc_ros.arrays import Float64

_AXES = ("x", "y", "z")
_NEAR = np.cos(np.radians(20))  # cameras that look down a little mean the axis beside
_AGREEMENT = 0.7  # of the up directions; cameras that look down, or have any roll, do not tell


def up_axis(keyframe_poses: Float64) -> int:
    """Axis of the map that is nearest to up in the images of the keyframes: 1, 2, 3 for x, y, z; negative if down.

    Args:
        keyframe_poses: (K, 7) poses map_from_cam, see ``VisualMap``.
    """
    up = _mean_up(keyframe_poses)
    axis = int(np.abs(up).argmax())
    return axis + 1 if up[axis] > 0 else -(axis + 1)


def level_note(keyframe_poses: Float64) -> str:
    """Note for the user of a map whose z axis does not point up; empty if it does, or if the images do not tell."""
    up = _mean_up(keyframe_poses)
    length = float(np.linalg.norm(up))
    if length < _AGREEMENT or up[2] >= _NEAR * length:
        return ""
    axis = up_axis(keyframe_poses)
    return (
        f"by its images, {'-' if axis < 0 else ''}{_AXES[abs(axis) - 1]} points up in this map and not z, which "
        "initialpose and two_d_mode need: build it with --level"
    )


def world_from_level(world_poses: Float64) -> Rotation3d:
    """Rotation of the frame with z up in the world of the (K, 7) poses world_from_cam; the identity if z is up there.

    Up is the axis of the world that is nearest to the images' up, or their mean if none is within 20 degrees. Of a
    world with a camera's axes (y down, z forward), x points forward and y to the left.
    """
    mean = _mean_up(world_poses)
    axis = up_axis(world_poses)
    up = np.zeros(3)
    up[abs(axis) - 1] = np.sign(axis)
    if up @ mean < _NEAR * np.linalg.norm(mean):
        up = mean / np.linalg.norm(mean)
    elif axis == 3:
        return Rotation3d()
    forward = np.array([1.0, 0, 0]) if abs(axis) == 3 else np.array([0, 0, 1.0])
    x = forward - (forward @ up) * up
    x /= np.linalg.norm(x)
    return Rotation3d(np.column_stack([x, np.cross(up, x), up]))


def _mean_up(keyframe_poses: Float64) -> Float64:
    return np.asarray(-Rotation.from_quat(keyframe_poses[:, 3:]).as_matrix()[:, :, 1].mean(axis=0))
