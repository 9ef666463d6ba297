"""Refinement of poses by aligning the image with the map around them (PixLoc, section 5.3)."""

from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import pose_error
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.alignment import Alignment, align
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import SubmapSelector, in_view
from vizloc_ros.pixloc.tracking_options import TrackingOptions
from vizloc_ros.pixloc.verification import verify


@dataclass(frozen=True)
class MapAlignment:
    """An alignment with what went into it."""

    alignment: Alignment
    references: References
    pyramid: FeaturePyramid


class MapAligner:
    """A map with references of an extractor. Calls may come from several threads."""

    def __init__(
        self, visual_map: VisualMap, extractor: PyramidExtractor, options: TrackingOptions | None = None
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
        tracker, correction, start = self.options.tracker, self._map.info.intrinsics_correction(camera), prior.inverse()
        nearby = self._selector.references_of(keyframes, prior).dequantized(unit_features=self._extractor.unit_features)
        references = in_view(nearby, start, camera, correction, tracker.max_landmarks)
        pyramid, learned = self._extractor.extract(image), self._extractor.learned
        (alignment,) = align(pyramid, references, camera, [start], learned, tracker.alignment, correction, trace=trace)
        return MapAlignment(alignment, references, pyramid)


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


class PoseRefiner:
    """Refines poses in a map with references."""

    def __init__(
        self, visual_map: VisualMap, extractor: PyramidExtractor, options: TrackingOptions | None = None
    ) -> None:
        """Raises ``FeatureError`` if the map has no references of this extractor."""
        visual_map.require_references(extractor.model_id)
        self._aligner = MapAligner(visual_map, extractor, options)

    def refine(self, image: UInt8, camera: PinholeCamera, map_from_cam: Rigid3d) -> Refinement:
        """Aligns an image from a pose of the localizer. Raises ``ImageError`` for an image of impossible size."""
        aligned = self._aligner.align(image, camera, map_from_cam)
        if aligned is None:
            return Refinement(map_from_cam, None, "the map has nothing around the pose")
        verification = verify(aligned.alignment, None, self._aligner.options.tracker.verification)
        if verification.reason:
            return Refinement(map_from_cam, None, verification.reason)
        refined = aligned.alignment.cam_from_map.inverse()
        distance, _ = pose_error(refined, map_from_cam)
        if distance > _FARTHEST:
            return Refinement(map_from_cam, None, f"the alignment ended {distance:.2g} m away")
        return Refinement(refined, aligned.alignment.covariance, "")
