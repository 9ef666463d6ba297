"""Refinement of a localizer's poses by alignment with the map (PixLoc, section 5.3)."""

from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import Float64, UInt8
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.covariance import map_covariance, position_and_rotation_std
from vizloc_ros.geometry.poses import pose_error, transform_points
from vizloc_ros.geometry.quarter_turns import Roll
from vizloc_ros.mapping.keyframe_rolls import KeyframeRolls
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.pixloc.correction import PoseEstimate, fused
from vizloc_ros.pixloc.extractors.pyramid_extractor import PyramidExtractor
from vizloc_ros.pixloc.optimizer.aligned_view import View
from vizloc_ros.pixloc.optimizer.alignment import align
from vizloc_ros.pixloc.optimizer.levels import FeaturesOnLevel, Level, PatchesOnLevel
from vizloc_ros.pixloc.optimizer.pose_optimizer import Alignment
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References
from vizloc_ros.pixloc.submap import SubmapSelector, in_view
from vizloc_ros.pixloc.tracking import CameraImage
from vizloc_ros.pixloc.tracking_options import TrackingOptions
from vizloc_ros.pixloc.verification import verify


@dataclass(frozen=True)
class MapAlignment:
    """An alignment with its input.

    Attributes:
        alignment: outcome of the alignment.
        references: landmarks in view, with reference features.
        pyramid: features of the upright image.
        roll: roll of the camera against the map, for which the image was turned upright.
    """

    alignment: Alignment
    references: References
    pyramid: FeaturePyramid
    roll: Roll


@dataclass(frozen=True)
class UprightView:
    """An image ready to be aligned, turned upright if its camera is rolled against the map.

    Attributes:
        view: features of the upright image, with the landmarks in view.
        initial: prior of the upright camera, cam_from_map.
        roll: roll of the camera against the map.
    """

    view: View
    initial: Rigid3d
    roll: Roll


class MapAligner:
    """Aligns images with a map that has reference features. Calls may come from several threads."""

    def __init__(
        self, visual_map: VisualMap, extractor: PyramidExtractor, options: TrackingOptions | None = None
    ) -> None:
        """Open a map. Raises ``FeatureError`` if it has no reference features."""
        self.options = options or TrackingOptions()
        self._map, self._extractor = visual_map, extractor
        self._selector = SubmapSelector(visual_map, self.options.submap, unit_features=extractor.unit_features)
        self._rolls = KeyframeRolls(visual_map.keyframe_poses)

    def view(self, image: UInt8, camera: PinholeCamera, prior: Rigid3d) -> UprightView | None:
        """Prepare an image for alignments near a pose prior map_from_cam; None if the map has no keyframes around it.

        Raises:
            ImageError: the image is too small or too long.
        """
        keyframes = self._selector.keyframes_around(prior)
        if not len(keyframes):
            return None
        roll = self._rolls.roll_of(prior)
        upright = CameraImage(image, camera, self._map.info.intrinsics_correction(camera)).upright(roll, roll)
        initial = roll.upright_from_cam * prior.inverse() if roll is not Roll.NONE else prior.inverse()
        nearby = self._selector.references_of(keyframes, prior).dequantized(unit_features=self._extractor.unit_features)
        references = in_view(nearby, initial, upright.camera, upright.correction, self.options.tracker.max_landmarks)
        pyramid = self._extractor.extract(upright.image)
        return UprightView(View(pyramid, references, upright.camera, upright.correction), initial, roll)

    def align(self, image: UInt8, camera: PinholeCamera, prior: Rigid3d, *, trace: bool = False) -> MapAlignment | None:
        """Align an image from a pose prior map_from_cam; as ``view``."""
        upright = self.view(image, camera, prior)
        if upright is None:
            return None
        view, learned = upright.view, self._extractor.learned
        (alignment,) = align([view], [upright.initial], learned, self.options.tracker.alignment, trace=trace)
        return MapAlignment(alignment.turned_back(upright.roll), view.references, view.pyramid, upright.roll)

    def levels(self, upright: UprightView) -> dict[str, Level]:
        """Return the levels on which an image is aligned near its initial pose, by name: coarse to fine."""
        view, learned, options = upright.view, self._extractor.learned, self.options.tracker.alignment
        levels: dict[str, Level] = {
            f"level {k}": FeaturesOnLevel(k, view, 1, learned, options) for k in reversed(range(len(view.pyramid)))
        }
        if options.fine.enabled and (patches := view.patches) is not None:
            levels["fine level"] = PatchesOnLevel(view, *patches, upright.initial, options)
        return levels


MAX_REFINEMENT = 1.0  # m; a refinement that moves a localizer's pose farther has converged to another minimum
_MAX_CONTRADICTION = 6.0  # mean of chi-squared with six degrees of freedom


@dataclass(frozen=True)
class Support:
    """Support of a pose of the localizer.

    Attributes:
        covariance: (6, 6) covariance of the pose, without the map's own [m^2, m rad, rad^2].
        pixels: (n, 2) keypoints that are inliers, corrected for the calibration's error [px].
        positions: (n, 3) positions of their landmarks in the map [m].
        variance: variance of a coordinate of a keypoint, as in the covariance [px^2].
    """

    covariance: Float64
    pixels: Float64
    positions: Float64
    variance: float

    def is_better_known_than(self, of_map: Float64) -> bool:
        """True if position and rotation are known better than the map's own, of a (6, 6) covariance."""
        own, maps = position_and_rotation_std(self.covariance), position_and_rotation_std(of_map)
        return own[0] < maps[0] and own[1] < maps[1]

    def contradiction(self, pose: Rigid3d, other: Rigid3d, camera: PinholeCamera) -> float:
        """Growth of the inliers' squared errors from their own pose map_from_cam to another one, by their variance.

        It has a chi-squared distribution with six degrees of freedom if the other pose is right.
        """
        return (self._squared_error(other, camera) - self._squared_error(pose, camera)) / self.variance

    def _squared_error(self, map_from_cam: Rigid3d, camera: PinholeCamera) -> float:
        projected, _ = camera.project(transform_points(map_from_cam.inverse(), self.positions))
        return float(((projected - self.pixels) ** 2).sum())


@dataclass(frozen=True)
class Refinement:
    """Result of the refinement of a pose.

    Attributes:
        map_from_cam: refined pose of the camera in the map; the given one if it was not refined.
        covariance: (6, 6) covariance of the refined pose; None if it was not refined.
        reason: reason why it was not refined; empty if it was.
    """

    map_from_cam: Rigid3d
    covariance: Float64 | None
    reason: str


class PoseRefiner:
    """Refines poses in a map with reference features."""

    def __init__(
        self,
        visual_map: VisualMap,
        extractor: PyramidExtractor,
        options: TrackingOptions | None = None,
        *,
        max_distance: float = MAX_REFINEMENT,
    ) -> None:
        """Open a map. Raises ``FeatureError`` if it has no reference features of this extractor.

        Args:
            visual_map: map with reference features.
            extractor: extractor of these features.
            options: options of the alignment.
            max_distance: maximum distance of a refined pose from the given one [m].
        """
        visual_map.require_references(extractor.model_id)
        self._aligner = MapAligner(visual_map, extractor, options)
        self._max_distance = max_distance

    def refine(
        self, image: UInt8, camera: PinholeCamera, map_from_cam: Rigid3d, support: Support | None = None
    ) -> Refinement:
        """Refine a pose map_from_cam: align from there, and fuse both poses if the first one is the localizer's.

        One that is known better than the map itself stays: no alignment with that map improves it.

        Args:
            image: (H, W) gray image, rectified.
            camera: its camera.
            map_from_cam: pose to start from.
            support: what supports the pose, if it is the localizer's; it must not contradict the refined one.

        Raises:
            ImageError: the image is too small or too long.
        """
        options = self._aligner.options.tracker
        of_map = map_covariance(options.map_position_std, options.map_rotation_std)
        if support is not None and support.is_better_known_than(of_map):
            return Refinement(map_from_cam, None, "the pose is better known than the map")
        aligned = self._aligner.align(image, camera, map_from_cam)
        if aligned is None:
            return Refinement(map_from_cam, None, "the map has nothing around the pose")
        verification = verify(aligned.alignment, None, options.verification)
        if verification.reason:
            return Refinement(map_from_cam, None, verification.reason)
        refined = PoseEstimate(
            aligned.alignment.cam_from_map.inverse(), options.covariance_scale * aligned.alignment.covariance
        )
        distance, _ = pose_error(refined.map_from_cam, map_from_cam)
        if distance > self._max_distance:
            return Refinement(map_from_cam, None, f"the alignment ended {distance:.2g} m away")
        if support is not None:
            refined = fused(refined, PoseEstimate(map_from_cam, support.covariance))
            if support.contradiction(map_from_cam, refined.map_from_cam, camera) > _MAX_CONTRADICTION:
                return Refinement(map_from_cam, None, "the localizer's inliers contradict the alignment")
        return Refinement(refined.map_from_cam, refined.covariance + of_map, "")
