"""A spot in a raw image, and where it is seen in the rectified one."""

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.datasets.record import Record

SPOT_SIGMA = 1.5  # px


def spot(size: tuple[int, int], column: float, row: float) -> UInt8:
    """Gray image (H, W) that is black but for a smooth spot at a position [px]."""
    x, y = np.meshgrid(np.arange(size[0]), np.arange(size[1]))
    return np.round(250 * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * SPOT_SIGMA**2))).astype(np.uint8)


def spot_position(image: UInt8) -> tuple[float, float]:
    """Column and row [px] of the spot: the center of the brightness."""
    gray = (image if image.ndim == 2 else image.mean(axis=2)).astype(float)
    y, x = np.indices(gray.shape)
    return float((x * gray).sum() / gray.sum()), float((y * gray).sum() / gray.sum())


def assert_seen_at_spot(record: Record, point: tuple[float, float, float], tolerance: float = 0.15) -> None:
    """Assert that a point of the world [m] projects to the spot in the record's image, within a tolerance [px]."""
    assert record.world_from_cam is not None
    in_camera = record.world_from_cam.inverse() * np.array(point)
    pixels, visible = record.camera.project(in_camera[None])
    assert visible[0]
    np.testing.assert_allclose(pixels[0], spot_position(record.read_image()), atol=tolerance)
