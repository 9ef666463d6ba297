"""Guard of a running camera's calibration: a change pauses the images until it is stable.

A calibration that changes by itself is mostly a fault: two drivers on one topic, a wrong file loaded at a restart, a
zoom. Poses with the old one would be wrong for the new images, and the other way round.
"""

import numpy as np

from vizloc_ros.errors import CameraError
from vizloc_ros.geometry.rectification import DistortedCamera

_DRIFT = 0.002  # of focal length and image width; cameras that focus by themselves send slightly different values
_COEFFICIENT_DRIFT = 0.002
_SHOWN = ("fx", "fy", "cx", "cy")
_MAX_DEPARTURES = 3  # from a calibration, after which it must be stable when it comes back


class CalibrationGuard:
    """Decision about each calibration of one camera, whether images may be used with it. For one thread.

    The first valid one is used at once. Another one pauses the images until ``stable`` messages in a row have it. A
    driver that latches sends it once; then as many images without another message count alike. The one before is used
    at once when it comes back, but not again and again: then two drivers are on the topic.

    Attributes:
        camera: calibration that images may be used with; None while there is none.
        problem: reason why there is none; empty if there is one.
        changes: number of calibrations that have replaced another.
    """

    def __init__(self, stable: int, missing: str) -> None:
        """Begin without a calibration.

        Args:
            stable: messages in a row after which a changed calibration is used.
            missing: reason before the first message.
        """
        self.camera: DistortedCamera | None = None
        self.problem = missing
        self.changes = 0
        self._stable = stable
        self._used: DistortedCamera | None = None  # last
        self._pending: DistortedCamera | None = None
        self._messages = self._images = 0  # since the change
        self._calm = self._departures = 0  # messages since the last change; changes since it was calm

    def offer(self, camera: DistortedCamera) -> str:
        """Take the valid calibration of a message. Return a text for the user if it begins or ends a change."""
        is_as_before = self._used is None or is_drift(self._used, camera)
        if self._pending is None and is_as_before:
            self._use(camera)
            self._calm += 1
            if self._calm >= self._stable:
                self._departures = 0
            return ""
        if self._pending is not None and is_drift(self._pending, camera):
            self._messages += 1
            return self._end_if_stable()
        self._departures += not is_as_before
        self._calm = 0
        if is_as_before and self._departures < _MAX_DEPARTURES:
            self._pending = None
            self._use(camera)
            return "camera_info is again as before: images are used again"
        self._pending, self._messages, self._images = camera, 1, 0
        self._pause()
        return self._end_if_stable() or self.problem

    def refuse(self, error: CameraError) -> None:
        """Take note of a message whose calibration cannot be used: no image is used until a valid one comes."""
        self._pending, self.camera, self.problem = None, None, str(error)

    def saw_image(self) -> str:
        """Take note of an image; return a text for the user if that ends a change."""
        if self._pending is None:
            return ""
        self._images += 1
        return self._end_if_stable()

    def _end_if_stable(self) -> str:
        pending, before = self._pending, self._used
        if pending is None or before is None:
            return ""
        if max(self._messages, self._images) < self._stable:
            self._pause()
            return ""
        self._pending, self._departures = None, 0
        self._use(pending)
        if is_drift(before, pending):
            return "camera_info is again as before: images are used again"
        self.changes += 1
        return f"camera_info has changed, {difference(before, pending)}, and is stable: images are used again"

    def _use(self, camera: DistortedCamera) -> None:
        self._used = self.camera = camera
        self.problem = ""

    def _pause(self) -> None:
        if self._used is None or self._pending is None:
            return
        seen = max(self._messages, self._images)
        changed = difference(self._used, self._pending) or "there and back again"
        self.camera = None
        self.problem = (
            f"camera_info has changed, {changed}: no image is used until {self._stable} messages in a row agree "
            f"({seen} so far); do two drivers publish it, was another calibration file loaded?"
        )


def is_drift(before: DistortedCamera, after: DistortedCamera) -> bool:
    """Return True for equal calibrations, or ones that differ as little as those of a camera that focuses."""
    a, b = before.pinhole, after.pinhole
    if (before.model, a.size, len(before.distortion)) != (after.model, b.size, len(after.distortion)):
        return False
    tolerance = _DRIFT * np.array([a.fx, a.fy, a.width, a.width])
    moved = np.abs(np.array([a.fx, a.fy, a.cx, a.cy]) - [b.fx, b.fy, b.cx, b.cy])
    bent = np.abs(np.array(before.distortion) - np.array(after.distortion))
    return bool((moved <= tolerance).all() and (bent <= _COEFFICIENT_DRIFT).all())


def difference(before: DistortedCamera, after: DistortedCamera) -> str:
    """Describe two calibrations by the values that differ, old and new; empty if none does."""
    parts = []
    if before.pinhole.size != after.pinhole.size:
        parts.append("size {}x{} -> {}x{}".format(*before.pinhole.size, *after.pinhole.size))
    parts += [
        f"{name} {getattr(before.pinhole, name):g} -> {getattr(after.pinhole, name):g}"
        for name in _SHOWN
        if getattr(before.pinhole, name) != getattr(after.pinhole, name)
    ]
    if before.model != after.model:
        parts.append(f"distortion_model {before.model} -> {after.model}")
    if before.distortion != after.distortion:
        parts.append(f"d {_short(before.distortion)} -> {_short(after.distortion)}")
    return ", ".join(parts)


def _short(coefficients: tuple[float, ...]) -> str:
    return "(" + " ".join(f"{value:.4g}" for value in coefficients) + ")"
