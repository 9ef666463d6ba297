"""Frozen camera: the same image again with a new stamp, as a driver that hangs or a stalled stream sends it.

The noise of a sensor makes two images of a running camera differ, even of a scene at rest. Measured on a street with
a noise of only 0.3 gray levels, coded as JPEG of quality 20 to 95: their mean absolute difference is 0.17 or more.
Renderers and simulators without noise send equal images while the robot stands.
"""

from __future__ import annotations

import array
import zlib
from collections import deque

import numpy as np

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import FrozenCameraError
from vizloc_ros.timing import NANOSECONDS

_MIN_DIFFERENCE = 0.02  # gray levels, mean over the sampled pixels: far below the noise of any sensor
_STEP = 4  # every such row and column is compared
_SAMPLES = 1 << 16  # bytes of a message that are compared
_REMEMBERED = 64  # repeated messages that may wait to be used


class FrozenImages:
    """Comparison of each image of one camera with the one before. For one thread, and another that receives messages.

    If only some of the images are used, ``receive`` is told of all: the one before may have been left out.
    """

    def __init__(self) -> None:
        self._before: UInt8 | None = None
        self._since_ns = 0
        self._digest = self._digest_ns = -1
        self._repeated: deque[tuple[int, int]] = deque(maxlen=_REMEMBERED)  # stamp, and that of the first one [ns]

    def receive(self, data: bytes | array.array[int], stamp_ns: int) -> None:
        """Compare the bytes of the next message, raw or compressed, with those of the one before."""
        if not data:
            return
        received = np.frombuffer(data, np.uint8)
        digest = zlib.crc32(received[:: 1 + len(received) // _SAMPLES].tobytes())
        if digest == self._digest and stamp_ns > self._digest_ns:
            self._repeated.append((stamp_ns, self._digest_ns))
        else:
            self._digest, self._digest_ns = digest, stamp_ns

    def check(self, gray: UInt8, stamp_ns: int) -> None:
        """Compare the next (H, W) gray image. Raises ``FrozenCameraError`` if it is the one before again."""
        since_ns = next((first for stamp, first in list(self._repeated) if stamp == stamp_ns), None)
        if since_ns is not None:
            raise _frozen(stamp_ns - since_ns)
        sample = gray[::_STEP, ::_STEP].copy()
        before, self._before = self._before, sample
        # A stamp that goes back is that of a recording that starts over.
        if before is None or stamp_ns < self._since_ns or not _are_equal(before, sample):
            self._since_ns = stamp_ns
            return
        self._before = before  # slow changes add up
        raise _frozen(stamp_ns - self._since_ns)


def _frozen(duration_ns: int) -> FrozenCameraError:
    return FrozenCameraError(
        f"camera frozen: the image has not changed for {duration_ns / NANOSECONDS:.1f} s, not even by the noise of a "
        "sensor. Does the driver hang? For a simulator without noise set withhold_frozen to false"
    )


def _are_equal(before: UInt8, after: UInt8) -> bool:
    if before.shape != after.shape:
        return False
    return float(np.abs(before.astype(np.int16) - after).mean()) < _MIN_DIFFERENCE
