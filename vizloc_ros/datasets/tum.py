"""Reader of the TUM RGB-D benchmark: ``tum:.../rgbd_dataset_freiburg1_desk?map=0-299&query=300-599``.

The folder of a sequence holds ``rgb.txt`` (lines ``timestamp filename``), the images in ``rgb``, and
``groundtruth.txt`` (lines ``timestamp tx ty tz qx qy qz qw``): the pose of the color camera's optical frame in the
world of the motion capture, at other times than the images. It is interpolated. Depth images are not read.
"""

from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.listed import ListedDataset, ListedImage, sequence_parts
from vizloc_ros.datasets.parsing import QUATERNION, TRANSLATION, numbered_rows, parse_pose, parse_timestamp
from vizloc_ros.datasets.specification import parse_specification
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.geometry.trajectory import Trajectory

_SIZE = (640, 480)
# "Calibration of the color camera" on the benchmark's page of file formats: fx fy cx cy, then k1 k2 p1 p2 k3. The
# images of freiburg3 are published rectified; "ros" is the default calibration of a Kinect there.
CAMERAS = {
    "freiburg1": DistortedCamera(
        PinholeCamera(*_SIZE, 517.3, 516.5, 318.6, 255.3), (0.2624, -0.9531, -0.0054, 0.0026, 1.1633)
    ),
    "freiburg2": DistortedCamera(
        PinholeCamera(*_SIZE, 520.9, 521.0, 325.1, 249.7), (0.2312, -0.7849, -0.0033, -0.0001, 0.9172)
    ),
    "freiburg3": DistortedCamera(PinholeCamera(*_SIZE, 535.4, 539.2, 320.1, 247.6)),
    "ros": DistortedCamera(PinholeCamera(*_SIZE, 525.0, 525.0, 319.5, 239.5)),
}
POSE = (*TRANSLATION, *QUATERNION)


def open_tum(spec: str) -> ListedDataset:
    """Open ``PATH[?camera=freiburg1&NAME=FIRST-LAST]``; the camera is that of the folder's name.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    folder, options = parse_specification(spec, "a sequence of TUM RGB-D with rgb.txt and rgb", "rgb.txt")
    lens = _camera(folder, options.pop("camera", None), f"tum:{spec}")
    truth = folder / "groundtruth.txt"
    trajectory = _read_trajectory(truth) if truth.is_file() else Trajectory([], [])
    parts = sequence_parts(_read_images(folder, lens, trajectory), options, f"tum:{spec}")
    return ListedDataset(f"tum:{spec}", parts)


def _camera(folder: Path, named: str | None, where: str) -> DistortedCamera:
    if named is None:
        of_folder = [lens for name, lens in CAMERAS.items() if name in folder.resolve().name]
        if not of_folder:
            raise DatasetError(
                f"{folder}: its name tells no camera; write tum:{folder}?camera=NAME, of {', '.join(CAMERAS)}"
            )
        return of_folder[0]
    if named not in CAMERAS:
        raise DatasetError(f"{where}: camera={named}; the benchmark has the cameras {', '.join(CAMERAS)}")
    return CAMERAS[named]


def _read_images(folder: Path, lens: DistortedCamera, trajectory: Trajectory) -> list[ListedImage]:
    path = folder / "rgb.txt"
    images: list[ListedImage] = []
    for line, fields in numbered_rows(path):
        where = f"{path}:{line}"
        if len(fields) != 2:
            raise DatasetError(f"{where}: {len(fields)} values; expected 'timestamp filename'")
        stamp = parse_timestamp(fields[0], "the timestamp", where)
        images.append(ListedImage(folder / fields[1], fields[1], stamp, lens, trajectory.at(stamp), where))
    if not images:
        raise DatasetError(f"{path}: there is no image in it; expected lines 'timestamp filename'")
    return images


def _read_trajectory(path: Path) -> Trajectory:
    """Read world_from_cam by time."""
    poses: dict[int, Rigid3d] = {}
    for line, (stamp, *fields) in numbered_rows(path):
        where = f"{path}:{line}"
        if len(fields) != len(POSE):
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected 'timestamp {' '.join(POSE)}'")
        poses[parse_timestamp(stamp, "the timestamp", where)] = parse_pose(dict(zip(POSE, fields, strict=True)), where)
    return Trajectory.of(poses)
