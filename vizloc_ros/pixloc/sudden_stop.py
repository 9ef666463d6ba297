"""Sudden stop: an image like the one before, but for noise, while the vehicle was driving.

A driver that sends the last image again gives it new noise if it is coded again, or if a filter runs behind it. The
track then says that the vehicle stands. It may: but nothing that drives stops from one image to the next.
"""

import cv2
import numpy as np

from vizloc_ros.arrays import Float32, UInt8
from vizloc_ros.features.gray_image import gray_image
from vizloc_ros.pixloc.tracking import Frame
from vizloc_ros.timing import NANOSECONDS

_CELL = 8  # px; the mean over a cell has an eighth of a sensor's noise
_STILL = 0.7  # gray levels, mean difference of the cells; a driving camera's images differ by 3 to 20
_MOVING = 3.0  # of the images before
_MAX_BRAKING = 15.0  # m/s^2; tires hold up to 10


class SuddenStop:
    """Comparison of each image of a track with the one before. For one thread."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._before: Float32 | None = None
        self._stamps = 0, 0  # of the image before, and of the one before that [ns]
        self._difference, self._frozen_ns = 0.0, 0

    def check(self, gray: UInt8, stamp_ns: int, speed: float) -> str:
        """Take the next (H, W) image; return the reason why it is not the vehicle that stands, empty if it may be.

        Args:
            gray: the image.
            stamp_ns: its time.
            speed: speed of the track up to the image before [m/s]; 0 if it is not known.
        """
        columns, rows = (max(1, side // _CELL) for side in gray.shape[::-1])
        cells = np.asarray(cv2.resize(gray.astype(np.float32), (columns, rows), interpolation=cv2.INTER_AREA))
        before, moved = self._before, self._difference
        is_known = before is not None and before.shape == cells.shape
        difference = float(np.abs(cells - before).mean()) if before is not None and is_known else 0.0
        if self._frozen_ns and is_known and difference < _STILL:
            return self._reason(stamp_ns)
        braking = speed / max((stamp_ns - self._stamps[1]) / 2 / NANOSECONDS, 1e-3)
        self._frozen_ns = 0
        if is_known and difference < _STILL and moved > _MOVING and braking > _MAX_BRAKING:
            self._frozen_ns = self._stamps[0]  # and the image before stays: slow changes add up
            return self._reason(stamp_ns)
        self._before, self._difference, self._stamps = cells, difference, (stamp_ns, self._stamps[0])
        return ""

    def _reason(self, stamp_ns: int) -> str:
        return (
            f"camera frozen: for {(stamp_ns - self._frozen_ns) / NANOSECONDS:.1f} s the images have differed by noise "
            "alone, and no vehicle stops at once. Does the driver hang?"
        )


class SuddenStops:
    """``SuddenStop`` of each camera of a track. For one thread."""

    def __init__(self, *, enabled: bool = True) -> None:
        """Begin without images; unless ``enabled``, no camera is ever frozen."""
        self._enabled = enabled
        self._stops: dict[str, SuddenStop] = {}

    def reset(self) -> None:
        """Forget all images."""
        self._stops.clear()

    def check(self, frame: Frame, speed: float) -> dict[str, str]:
        """Take the images of the next frame; return the reason for each camera that is frozen; as ``SuddenStop``."""
        if not self._enabled:
            return {}
        reasons = {
            image.name: self._stops.setdefault(image.name, SuddenStop()).check(
                gray_image(image.image), frame.stamp_ns, speed
            )
            for image in frame.images
        }
        return {name: reason for name, reason in reasons.items() if reason}
