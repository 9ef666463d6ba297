"""Raw images of a lens: a spot, and where it is seen in the rectified image; and views that the lens distorts."""

import cv2
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


def raw_image(record: Record, distortion: np.ndarray) -> np.ndarray:
    """Image of a record as a lens with OpenCV's coefficients distorts it."""
    camera = record.camera
    columns, rows = np.meshgrid(np.arange(camera.width, dtype=float), np.arange(camera.height, dtype=float))
    raw = np.stack([columns.ravel(), rows.ravel()], axis=1)[:, None]
    rectified = cv2.undistortPoints(raw, camera.matrix, distortion, P=camera.matrix).reshape(
        camera.height, camera.width, 2
    )
    return cv2.remap(record.read_image(), rectified.astype(np.float32), None, cv2.INTER_CUBIC)
