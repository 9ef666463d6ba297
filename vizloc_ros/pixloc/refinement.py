"""Refines a pose of the localizer by alignment (PixLoc, section 5.3); one that gets worse stays as it was."""

from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.features.extractor import DenseExtractor
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.options import TrackingOptions
from vizloc_ros.pixloc.submap import SubmapSelector
from vizloc_ros.pixloc.verification import judge
from vizloc_ros.pixloc.view import in_view

_FARTHEST = 1.0  # m; a refinement that goes farther has found something else


@dataclass(frozen=True)
class Refinement:
    """What became of a pose.

    Attributes:
        map_from_cam: the refined pose; the given one where ``reason`` says why.
        covariance: (6, 6) of the refined pose, None where it is the given one.
        reason: why it was not refined.
    """

    map_from_cam: Rigid3d
    covariance: Float64 | None
    reason: str


class Refiner:
    """Refines poses in a map with references."""

    def __init__(
        self, visual_map: VisualMap, extractor: DenseExtractor, options: TrackingOptions | None = None
    ) -> None:
        """Raises ``FeatureError`` if the map has no references of this extractor."""
        visual_map.require_references(extractor.model_id)
        self._map, self._extractor, self._options = visual_map, extractor, options or TrackingOptions()
        self._selector = SubmapSelector(visual_map, self._options.submap, unit_features=extractor.unit_features)

    def refine(self, image: UInt8, camera: PinholeCamera, map_from_cam: Rigid3d) -> Refinement:
        """Aligns an image from a pose of the localizer. Raises ``ImageError`` for an image of impossible size."""
        keyframes = self._selector.keyframes_around(map_from_cam)
        if not len(keyframes):
            return Refinement(map_from_cam, None, "the map has nothing around the pose")
        tracker, correction = self._options.tracker, self._map.info.correction_of(camera)
        start = map_from_cam.inverse()
        nearby = self._selector.stored_of(keyframes, map_from_cam).restored(unit_features=self._extractor.unit_features)
        chosen = in_view(nearby, start, camera, correction, tracker.max_landmarks)
        pyramid = self._extractor.extract(image)
        (found,) = align(pyramid, chosen, camera, [start], self._extractor.learned, tracker.alignment, correction)
        verdict = judge(found, None, tracker.verification)
        if verdict.reason:
            return Refinement(map_from_cam, None, verdict.reason)
        refined = found.cam_from_map.inverse()
        distance, _ = pose_error(refined, map_from_cam)
        if distance > _FARTHEST:
            return Refinement(map_from_cam, None, f"the alignment ended {distance:.2g} m away")
        return Refinement(refined, found.covariance, "")
