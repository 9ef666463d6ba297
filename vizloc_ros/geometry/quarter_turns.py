"""Rolls of a camera by quarter turns: upright images of sideways or upside-down cameras, and the way back.

Networks know upright images. A pinhole camera that is rolled about its optical axis by a multiple of 90 degrees sees
the same pixels as an upright one, in another order, so its image can be turned without any loss.
"""

from dataclasses import replace
from enum import Enum

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.errors import ConfigError
from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera

AUTO = "auto"  # word for trying all rolls
_MIN_ACROSS = 0.5  # of the down axis; a camera that looks steeper than 60 degrees up or down has no roll


class Roll(Enum):
    """Roll of a camera about its optical axis, seen from behind the camera.

    A clockwise camera has its right side at the bottom. Its image is upright after one turn clockwise.
    """

    NONE = "none"
    CLOCKWISE = "clockwise"
    UPSIDE_DOWN = "upside_down"
    COUNTERCLOCKWISE = "counterclockwise"

    @property
    def quarters(self) -> int:
        """Number of turns by 90 degrees clockwise, 0 to 3."""
        return list(Roll).index(self)

    @property
    def inverse(self) -> "Roll":
        """Roll that undoes this one."""
        return _of_quarters(-self.quarters)

    @property
    def upright_from_cam(self) -> Rigid3d:
        """Pose of the camera's optical frame in that of the upright camera at its place."""
        cos, sin = ((1, 0), (0, 1), (-1, 0), (0, -1))[self.quarters]
        return Rigid3d(Rotation3d(np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], np.float64)), np.zeros(3))

    def turn_image(self, image: UInt8) -> UInt8:
        """Upright image of an (H, W) or (H, W, 3) image."""
        return np.ascontiguousarray(np.rot90(image, -self.quarters)) if self.quarters else image

    def turn_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Size (width, height) of the upright image of an image of that size [px]."""
        return (size[1], size[0]) if self.quarters % 2 else size

    def turn_pixels(self, pixels: Float64, size: tuple[int, int]) -> Float64:
        """Pixels (N, 2) in the upright image of those in an image of (width, height)."""
        x, y, (width, height) = pixels[:, 0], pixels[:, 1], size
        turned = ((x, y), (height - 1 - y, x), (width - 1 - x, height - 1 - y), (y, width - 1 - x))[self.quarters]
        return np.stack(turned, axis=1)

    def turn_camera(self, camera: PinholeCamera) -> PinholeCamera:
        """Camera of the upright image."""
        if not self.quarters:
            return camera
        ((cx, cy),) = self.turn_pixels(np.array([[camera.cx, camera.cy]]), camera.size).tolist()
        fx, fy = (camera.fy, camera.fx) if self.quarters % 2 else (camera.fx, camera.fy)
        return PinholeCamera(*self.turn_size(camera.size), fx, fy, cx, cy)

    def turn_correction(self, correction: IntrinsicsCorrection) -> IntrinsicsCorrection:
        """Errors of the calibration of the upright image's camera."""
        cx, cy = correction.cx, correction.cy
        cx, cy = ((cx, cy), (-cy, cx), (-cx, -cy), (cy, -cx))[self.quarters]
        return replace(correction, cx=cx, cy=cy)

    @staticmethod
    def of_down_axis(down: Float64) -> "Roll":
        """Nearest roll of a camera by the direction "down" (3,) in its optical frame, of any length.

        ``Roll.NONE`` if the camera looks almost straight up or down, or if the direction is zero.
        """
        x, y, _ = down
        if np.hypot(x, y) <= _MIN_ACROSS * np.linalg.norm(down):
            return Roll.NONE
        return _of_quarters(int(np.round(np.arctan2(x, y) / (np.pi / 2))))

    @staticmethod
    def of_mounting(base_from_cam: Rigid3d) -> "Roll":
        """Nearest roll of a camera by its pose on a vehicle whose z axis points up (REP 103)."""
        return Roll.of_down_axis(-base_from_cam.rotation.matrix()[2])


def rolls_to_try(name: str) -> tuple[Roll, ...]:
    """Rolls that an option names: one by its value, or all of them. Raises ``ConfigError`` for any other word."""
    if name == AUTO:
        return tuple(Roll)
    try:
        return (Roll(name),)
    except ValueError as error:
        known = ", ".join([AUTO, *(roll.value for roll in Roll)])
        raise ConfigError(f"roll {name}: there is no such roll; there is {known}") from error


def _of_quarters(quarters: int) -> Roll:
    return list(Roll)[quarters % 4]
