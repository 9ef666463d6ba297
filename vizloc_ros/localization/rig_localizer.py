"""Localization of a rig of cameras in one process: from the images of an instant to one verified pose."""

from collections.abc import Sequence
from dataclasses import dataclass

from pycolmap import Rigid3d

from vizloc_ros.arrays import UInt8
from vizloc_ros.features.types import corrected
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.localization.localization_options import LocalizationOptions
from vizloc_ros.localization.places import PlaceFinder
from vizloc_ros.localization.rig_solver import RigSolver
from vizloc_ros.localization.rig_view import RigLocalization, RigView
from vizloc_ros.mapping.visual_map import VisualMap
from vizloc_ros.timing import Stopwatch


@dataclass(frozen=True)
class RigImage:
    """Image of one camera of a rig.

    Attributes:
        name: name of the camera.
        image: (H, W) gray or (H, W, 3) BGR image.
        camera: the camera.
        rig_from_cam: pose of its optical frame on the rig.
    """

    name: str
    image: UInt8
    camera: PinholeCamera
    rig_from_cam: Rigid3d


class RigLocalizer:
    """Localizer of the images of a rig in a map. For one thread."""

    def __init__(self, visual_map: VisualMap, options: LocalizationOptions | None = None) -> None:
        chosen = options or LocalizationOptions()
        self._map = visual_map
        self._finder = PlaceFinder(visual_map, chosen.retrieval)
        self._solver = RigSolver(chosen.pose)

    def localize(self, images: Sequence[RigImage], stopwatch: Stopwatch | None = None) -> RigLocalization:
        """Localize the images of one instant, each for itself in the retrieval, all together in the pose."""
        watch = stopwatch or Stopwatch()
        return self._solver.solve([self._view(image, watch) for image in images], watch)

    def _view(self, image: RigImage, stopwatch: Stopwatch) -> RigView:
        with stopwatch("extract"):
            features = self._map.extractor.extract(image.image)
        features = corrected(features, self._map.info.intrinsics_correction(image.camera), image.camera)
        places = self._finder.find(features.global_descriptor, stopwatch).places
        return RigView(image.name, features, places, image.camera, image.rig_from_cam)
