"""Localization of images: features, then places and pose; where the camera may be rolled, turn by turn."""

from collections.abc import Sequence
from dataclasses import dataclass

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.extractor import FeatureExtractor
from vizloc_ros.features.types import Features, turned_back
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.localization.hierarchical_localizer import HierarchicalLocalizer
from vizloc_ros.localization.outcome import Localization
from vizloc_ros.localization.places import RetrievedPlaces
from vizloc_ros.localization.pose_solver import closeness
from vizloc_ros.timing import Stopwatch


@dataclass(frozen=True)
class LocalizedImage:
    """Outcome for one image.

    Attributes:
        features: features with the keypoints in the image as it was given.
        outcome: verified pose of the image's camera, or the reason why there is none.
        retrieved: places that were retrieved.
        roll: roll of the camera with which the features were extracted.
    """

    features: Features
    outcome: Localization
    retrieved: RetrievedPlaces
    roll: Roll


class ImageLocalizer:
    """Localizer of the images of one camera, which may be rolled against the map. For one thread."""

    def __init__(
        self, extractor: FeatureExtractor, localizer: HierarchicalLocalizer, rolls: Sequence[Roll] = (Roll.NONE,)
    ) -> None:
        """Combine an extractor and a localizer of the same map.

        Args:
            extractor: extractor of the map's features.
            localizer: localizer in the map.
            rolls: rolls of the camera to try, one or more, the first ones first.
        """
        self._extractor, self._localizer, self._rolls = extractor, localizer, list(rolls)

    def localize(
        self, image: UInt8, camera: PinholeCamera, stopwatch: Stopwatch | None = None, stamp_ns: int | None = None
    ) -> LocalizedImage:
        """Localize an image with one roll after another; the one that succeeds is the first for the next image.

        Without a pose, the outcome is that of the roll that came closest to one. An image of a sequence has a time,
        see ``PlaceFinder.find``.
        """
        tried = []
        for roll in self._rolls:
            localized = self._localize_rolled(image, camera, roll, stopwatch or Stopwatch(), stamp_ns)
            if localized.outcome.pose is not None:
                self._rolls.remove(roll)
                self._rolls.insert(0, roll)
                return localized
            tried.append(localized)
        return max(tried, key=lambda localized: closeness(localized.outcome))

    def _localize_rolled(
        self, image: UInt8, camera: PinholeCamera, roll: Roll, stopwatch: Stopwatch, stamp_ns: int | None
    ) -> LocalizedImage:
        with stopwatch("extract"):
            features = turned_back(self._extractor.extract(roll.turn_image(image)), roll)
        outcome, retrieved = self._localizer.localize_with_candidates(features, camera, stopwatch, stamp_ns)
        return LocalizedImage(features, outcome, retrieved, roll)
