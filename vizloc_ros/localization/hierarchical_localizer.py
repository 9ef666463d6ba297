"""Hierarchical localization in one process: from features to a verified pose (HF-Net, section 3)."""

from vizloc_ros.features.types import Features, corrected
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.localization_options import PoseOptions, RetrievalOptions
from vizloc_ros.localization.outcome import Localization
from vizloc_ros.localization.places import PlaceFinder, RetrievedPlaces
from vizloc_ros.localization.pose_solver import PoseSolver
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


class HierarchicalLocalizer:
    """Localizer of single images in a map: retrieval, covisibility clustering, matching, pose."""

    def __init__(
        self,
        visual_map: VisualMap,
        retrieval: RetrievalOptions | None = None,
        pose: PoseOptions | None = None,
    ) -> None:
        self._info = visual_map.info
        self.finder = PlaceFinder(visual_map, retrieval)
        self.solver = PoseSolver(pose)

    def corrected(self, features: Features, camera: PinholeCamera) -> Features:
        """Features with the keypoints where the calibration of ``camera`` says, as far as the map knows its error."""
        return corrected(features, self._info.intrinsics_correction(camera), camera)

    def localize(self, features: Features, camera: PinholeCamera) -> Localization:
        """Localize an image by its features. Raises ``FeatureError`` if they are of another kind than the map's."""
        return self.localize_with_candidates(features, camera, Stopwatch())[0]

    def localize_with_candidates(
        self, features: Features, camera: PinholeCamera, stopwatch: Stopwatch, stamp_ns: int | None = None
    ) -> tuple[Localization, RetrievedPlaces]:
        """Localize as ``localize`` does, and also return the retrieved places; ``stamp_ns`` as ``PlaceFinder.find``."""
        features = self.corrected(features, camera)
        candidates = self.finder.find(features.global_descriptor, stopwatch, stamp_ns)
        return self.solver.solve(features, candidates.places, camera, stopwatch), candidates
