"""Which landmarks an image is aligned with: those that the camera is predicted to see."""

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.camera_correction import CameraCorrection
from vizloc_ros.pixloc.optimizer.projection import project
from vizloc_ros.pixloc.references import References

_MARGIN = 0.1  # of the image's sides: the prediction may be off


def in_view(
    references: References, cam_from_map: Rigid3d, camera: PinholeCamera, correction: CameraCorrection, most: int
) -> References:
    """The landmarks in the image, or just beside it, as seen from a pose; evenly thinned to at most ``most``."""
    rotation, translation = cam_from_map.rotation.matrix(), cam_from_map.translation
    seen = project(rotation[None], translation[None], references.points, camera, correction)
    size = np.array(camera.size)
    low, high = -_MARGIN * size, (1 + _MARGIN) * size
    inside = ((seen.pixels[0] > low) & (seen.pixels[0] < high)).all(axis=1) & seen.in_front[0]
    rows = np.flatnonzero(inside)
    if len(rows) > most:
        rows = rows[np.linspace(0, len(rows) - 1, most).round().astype(int)]
    return references.take(rows)
