"""Images on their way to the tracker: decoded, and with features, while the image before is aligned."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from vizloc_ros.arrays import UInt8
from vizloc_ros.errors import VizlocError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.pixloc.image_aligner import UprightFeatures
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.image_input import ImageInput
from vizloc_ros.timing import Stopwatch

_AT_ONCE = 2  # images: one is aligned, and one gets its features; others wait, and may be dropped, before that
_PATIENCE = 1.0  # s; whoever aligns them may have been stopped


@dataclass(frozen=True)
class PreparedImage:
    """An image on its way to the tracker.

    Attributes:
        msg: its message.
        timings_ms: durations by stage.
        image: (H, W) gray image without distortion, with its camera; or the error for which it cannot be used.
        tracker: tracker that the features are for.
        features: its features, if the tracker will need them.
        at_once: what it holds a place of; None if it waited in vain.
    """

    msg: Any
    timings_ms: dict[str, float]
    image: tuple[UInt8, PinholeCamera] | VizlocError
    tracker: Tracker | None = None
    features: UprightFeatures | None = None
    at_once: threading.Semaphore | None = None

    def release(self) -> None:
        """Make its place free for another image."""
        if self.at_once is not None:
            self.at_once.release()


class ImagePreparation:
    """Preparation of images in one thread, while another one aligns them. The threads share nothing else."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget images that were dropped without a word, as when the node was deactivated."""
        self._at_once = threading.Semaphore(_AT_ONCE)

    def prepare(self, msg: Any, source: ImageInput, tracker: Tracker | None) -> PreparedImage:
        """Wait for a place, decode an image, and extract its features if the tracker tracks.

        Whoever has done with it must release it.
        """
        at_once, stopwatch = self._at_once, Stopwatch()
        place = at_once if at_once.acquire(timeout=_PATIENCE) else None
        try:
            image, camera = source.decode_and_rectify(msg, stopwatch, "tracker")
            features = None
            if tracker is not None and tracker.is_tracking:
                with stopwatch("features"):
                    features = tracker.aligner.extract(image)
        except VizlocError as error:
            return PreparedImage(msg, stopwatch.milliseconds, error, at_once=place)
        except BaseException:
            if place is not None:
                place.release()
            raise
        return PreparedImage(msg, stopwatch.milliseconds, (image, camera), tracker, features, place)
