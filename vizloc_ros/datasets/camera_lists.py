"""Reader of lists of cameras, as visuallocalization.net distributes them: ``name model width height parameters...``.

Models and parameters are COLMAP's. Names are those of cameras, or of images.
"""

from pathlib import Path

from vizloc_ros.datasets.lenses import distorted_camera, parse_camera
from vizloc_ros.datasets.parsing import numbered_rows
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera


def read_camera_list(path: Path, named: str = "camera") -> dict[str, DistortedCamera]:
    """Read the camera of each name. Raises ``DatasetError`` that names the file and the line.

    Args:
        path: path of the list.
        named: kind of thing that has the names, for errors: "camera" or "image".
    """
    expected = f"{named} model width height parameters..."
    cameras: dict[str, DistortedCamera] = {}
    for line, fields in numbered_rows(path):
        where = f"{path}:{line}"
        camera, name = parse_camera(fields, expected, where), fields[0]
        try:
            cameras[name] = distorted_camera(camera)
            rectified_camera(cameras[name])
        except CameraError as error:
            raise DatasetError(f"{where}: {error}") from error
    if not cameras:
        raise DatasetError(f"{path}: there is no camera in it; expected lines '{expected}'")
    return cameras
