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
        patches_first: True if there are no features because the last images have some, and images come fast.
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
        self._had_features = False  # the last images

    def prepare(
        self, instant: Instant, source: TrackerInput, tracker: Tracker | None, *, fast: bool = False
    ) -> PreparedImages:
        """Wait for a place, decode the images of an instant, and extract their features if the tracker tracks.

        Where images come ``fast``, every other one is left without. Whoever has done with them must release them.
        """
        at_once, stopwatch = self._at_once, Stopwatch()
        place = at_once if at_once.acquire(timeout=_PATIENCE) else None
        try:
            images, problems = source.images(instant, stopwatch)
            features: dict[str, UprightFeatures] = {}
            patches_first = fast and self._had_features
            self._had_features = tracker is not None and tracker.is_tracking and not patches_first
            if tracker is not None and self._had_features:
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
