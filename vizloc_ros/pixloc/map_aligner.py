"""Aligns single images with a map at hand, from any pose: with the landmarks that the tracker would take."""

from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.features.extractor import DenseExtractor
from vizloc_ros.pixloc.optimizer.alignment import Alignment, align
from vizloc_ros.pixloc.options import TrackingOptions
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.view import in_view


@dataclass(frozen=True)
class MapAlignment:
    """An alignment with what went into it."""

    alignment: Alignment
    references: References
    pyramid: FeaturePyramid


class MapAligner:
    """A map with references of an extractor. Calls may come from several threads."""

    def __init__(
        self, visual_map: VisualMap, extractor: DenseExtractor, options: TrackingOptions | None = None
    ) -> None:
        """Raises ``FeatureError`` if the map has no references."""
        self.options = options or TrackingOptions()
        self._map, self._extractor = visual_map, extractor
        self._selector = SubmapSelector(visual_map, self.options.submap, unit_features=extractor.unit_features)

    def align(self, image: UInt8, camera: PinholeCamera, prior: Rigid3d, *, trace: bool = False) -> MapAlignment | None:
        """Aligns an image from a prior map_from_cam; None where the map has nothing around it.

        Raises ``ImageError`` for an image of impossible size.
        """
        keyframes = self._selector.keyframes_around(prior)
        if not len(keyframes):
            return None
        tracker, correction, start = self.options.tracker, self._map.info.correction_of(camera), prior.inverse()
        nearby = self._selector.stored_of(keyframes, prior).restored(unit_features=self._extractor.unit_features)
        references = in_view(nearby, start, camera, correction, tracker.max_landmarks)
        pyramid, learned = self._extractor.extract(image), self._extractor.learned
        (alignment,) = align(pyramid, references, camera, [start], learned, tracker.alignment, correction, trace=trace)
        return MapAlignment(alignment, references, pyramid)
