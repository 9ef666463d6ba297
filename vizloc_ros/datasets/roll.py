"""Roll of the camera about its optical axis: the image and the pose turn together.

Like the degradations, the same level and direction give the same bytes on every machine: coordinates are sums and
products of IEEE doubles, and the interpolation is in integers.
"""

from dataclasses import replace
from functools import partial

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.datasets.record import Record
from vizloc_ros.errors import ImageError
from vizloc_ros.geometry.camera import PinholeCamera

ROLL = "roll"
ROLL_DEG = (5, 10, 20, 30, 45)
_COS_SIN = (  # of ROLL_DEG; written out, because the functions of math libraries differ in the last bit
    (0.9961946980917455, 0.08715574274765818),
    (0.984807753012208, 0.17364817766693036),
    (0.9396926207859084, 0.3420201433256687),
    (0.8660254037844387, 0.5),
    (0.7071067811865476, 0.7071067811865476),
)
_STEPS = 256  # of the interpolation between two pixels


def rolled(record: Record, level: int, clockwise: bool) -> Record:
    """Return a record of a camera that is rolled about its optical axis; what was outside of the image is black.

    Args:
        record: record of a pinhole camera.
        level: 1 to 5, for the angles in ``ROLL_DEG``.
        clockwise: True if the content of the image turns clockwise.
    """
    cos, sin = _COS_SIN[level - 1]
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]])  # rolled_from_cam
    if not clockwise:
        rotation = rotation.T
    pose = record.world_from_cam
    if pose is not None:
        pose = pose * Rigid3d(Rotation3d(rotation.T), np.zeros(3))
    return replace(record, world_from_cam=pose, read_image=partial(_read_rolled, record, rotation), raw=None)


def _read_rolled(record: Record, rotation: Float64) -> UInt8:
    image = record.read_image()
    if image.shape[:2] != (record.camera.height, record.camera.width):
        raise ImageError(f"{record.name}: the image is not of the size of its camera, so it cannot be rolled")
    return roll_image(image, record.camera, rotation)


def roll_image(image: UInt8, camera: PinholeCamera, rotation: Float64) -> UInt8:
    """Image (H, W) or (H, W, 3) of a camera rotated by a (3, 3) rotation about z; black outside of the given one."""
    height, width = image.shape[:2]
    x = (np.arange(width) - camera.cx) / camera.fx
    y = (np.arange(height)[:, None] - camera.cy) / camera.fy
    column = camera.fx * (rotation[0, 0] * x + rotation[1, 0] * y) + camera.cx
    row = camera.fy * (rotation[0, 1] * x + rotation[1, 1] * y) + camera.cy
    column, row = (np.floor(values * _STEPS + 0.5).astype(np.int64) for values in (column, row))
    left, top = column // _STEPS, row // _STEPS
    right, lower = column - left * _STEPS, row - top * _STEPS
    inside = (left >= 0) & (top >= 0) & (left < width - 1) & (top < height - 1)
    left, top = np.where(inside, left, 0), np.where(inside, top, 0)
    weights = ((_STEPS - lower) * (_STEPS - right), (_STEPS - lower) * right, lower * (_STEPS - right), lower * right)
    total = np.zeros(image.shape, np.int64)
    for (dy, dx), weight in zip(((0, 0), (0, 1), (1, 0), (1, 1)), weights, strict=True):
        weight = np.where(inside, weight, 0)
        total += image[top + dy, left + dx] * (weight if image.ndim == 2 else weight[..., None])
    return ((total + _STEPS * _STEPS // 2) // (_STEPS * _STEPS)).astype(np.uint8)
