"""Image of one camera to be aligned, with its landmarks and its pose on the rig; one camera is a rig of one."""

from dataclasses import dataclass, field

from pycolmap import Rigid3d

from vizloc_ros.geometry.camera import IntrinsicsCorrection, PinholeCamera
from vizloc_ros.pixloc.patches import Patches, SmoothedImage
from vizloc_ros.pixloc.pyramid import FeaturePyramid
from vizloc_ros.pixloc.references import References


@dataclass(frozen=True)
class View:
    """Image of one camera with what its alignment needs.

    Attributes:
        pyramid: features of the image, F_q of the paper.
        references: landmarks with reference features F_k, of as many levels.
        camera: camera of the image.
        correction: error of the calibration of ``camera``, as the map estimated it.
        cam_from_rig: pose of the rig in the camera's optical frame; None for the only camera, which is the rig.
    """

    pyramid: FeaturePyramid
    references: References
    camera: PinholeCamera
    correction: IntrinsicsCorrection = field(default_factory=IntrinsicsCorrection)
    cam_from_rig: Rigid3d | None = None

    def cam_from_map(self, rig_from_map: Rigid3d) -> Rigid3d:
        """Pose of the camera, by that of the rig."""
        return rig_from_map if self.cam_from_rig is None else self.cam_from_rig * rig_from_map

    @property
    def patches(self) -> tuple[SmoothedImage, Patches] | None:
        """Image and reference patches of the fine level; None without this level."""
        image, patches = self.pyramid.smoothed, self.references.patches
        return None if image is None or patches is None else (image, patches)
