"""Frozen camera: the same image again with a new stamp, as a driver that hangs or a stalled stream sends it.

The noise of a sensor makes two images of a running camera differ, even of a scene at rest. Measured on a street with
a noise of only 0.3 gray levels, coded as JPEG of quality 20 to 95: their mean absolute difference is 0.17 or more.
Renderers and simulators without noise send equal images while the robot stands.
"""

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import FrozenCameraError
from vizloc_ros.timing import NANOSECONDS

_MIN_DIFFERENCE = 0.02  # gray levels, mean over the sampled pixels: far below the noise of any sensor
_STEP = 4  # every such row and column is compared


class FrozenImages:
    """Comparison of each image of one camera with the one before. For one thread."""

    def __init__(self) -> None:
        self._before: UInt8 | None = None
        self._since_ns = 0

    def check(self, gray: UInt8, stamp_ns: int) -> None:
        """Compare the next (H, W) gray image. Raises ``FrozenCameraError`` if it is the one before again."""
        sample = gray[::_STEP, ::_STEP].copy()
        before, self._before = self._before, sample
        # A stamp that goes back is that of a recording that starts over.
        if before is None or stamp_ns < self._since_ns or not _are_equal(before, sample):
            self._since_ns = stamp_ns
            return
        self._before = before  # slow changes add up
        seconds = (stamp_ns - self._since_ns) / NANOSECONDS
        raise FrozenCameraError(
            f"camera frozen: the image has not changed for {seconds:.1f} s, not even by the noise of a sensor. Does "
            "the driver hang? For a simulator without noise set withhold_frozen to false"
        )


def _are_equal(before: UInt8, after: UInt8) -> bool:
    if before.shape != after.shape:
        return False
    return float(np.abs(before.astype(np.int16) - after).mean()) < _MIN_DIFFERENCE
