"""Images of an instant on their way to the tracker: decoded, and with features, while those before are aligned."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from vizloc_ros.errors import VizlocError
from vizloc_ros.nodes.tracker_input import MountedImage, TrackerInput
from vizloc_ros.pixloc.frame_views import UprightFeatures
from vizloc_ros.pixloc.tracker import Tracker
from vizloc_ros.ros.rig_join import Instant
from vizloc_ros.timing import Stopwatch

_AT_ONCE = 2  # instants: one is aligned, and one gets its features; others wait, and may be dropped, before that
_PATIENCE = 1.0  # s; whoever aligns them may have been stopped


@dataclass(frozen=True)
class PreparedImages:
    """Images of an instant on their way to the tracker.

    Attributes:
        instant: their messages.
        timings_ms: durations by stage.
        images: the images; or the error for which there is none.
        problems: the reason for each camera that has no image.
        tracker: tracker that the features are for.
        features: by camera, features of its image, if the tracker will need them.
        at_once: what they hold a place of; None if they waited in vain.
        patches_first: True if there are no features because images come fast, and some of the last ones have some, or
            will have.
    """

    instant: Instant
    timings_ms: dict[str, float]
    images: Sequence[MountedImage] | VizlocError
    problems: Mapping[str, str] = field(default_factory=dict)
    tracker: Tracker | None = None
    features: Mapping[str, UprightFeatures] = field(default_factory=dict)
    at_once: threading.Semaphore | None = None
    patches_first: bool = False

    def release(self) -> None:
        """Make their place free for other images."""
        if self.at_once is not None:
            self.at_once.release()


class ImagePreparation:
    """Preparation of images in one thread, while another one aligns them. The threads share nothing else."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget images that were dropped without a word, as when the node was deactivated."""
        self._at_once = threading.Semaphore(_AT_ONCE)
        self._without: int | None = None  # number of images since the last ones with features

    def prepare(
        self, instant: Instant, source: TrackerInput, tracker: Tracker | None, *, stride: int = 1
    ) -> PreparedImages:
        """Wait for a place, decode the images of an instant, and extract their features if the tracker tracks.

        Only each ``stride``-th image gets features, others are for patches alone. Whoever has done with them must
        release them.
        """
        at_once, stopwatch = self._at_once, Stopwatch()
        place = at_once if at_once.acquire(timeout=_PATIENCE) else None
        try:
            images, problems = source.images(instant, stopwatch)
            features: dict[str, UprightFeatures] = {}
            patches_first = self._without is not None and self._without < stride - 1
            if patches_first:
                self._without = (self._without or 0) + 1
            elif tracker is None or not tracker.is_tracking:
                self._without = None
                patches_first = tracker is not None and stride > 1  # it may track by the time of this image
            else:
                self._without = 0
                with stopwatch("features"):
                    features = {each.name: tracker.aligner.views.extract(each.name, each.image) for each in images}
        except VizlocError as error:
            return PreparedImages(instant, stopwatch.milliseconds, error, at_once=place)
        except BaseException:
            if place is not None:
                place.release()
            raise
        durations = stopwatch.milliseconds
        return PreparedImages(instant, durations, images, problems, tracker, features, place, patches_first)
