"""Reader of 4Seasons: ``4seasons:.../recording_2020-10-08_09-57-28?camera=cam0&map=0-9999``.

The folder of a recording holds:

* ``times.txt``: lines ``frame_id timestamp exposure``; the id is the time in nanoseconds;
* ``undistorted_images/cam0/ID.png`` of the left camera, ``cam1`` of the right;
* ``GNSSPoses.txt``: lines ``frame_id, tx, ty, tz, qx, qy, qz, qw, scale, ...``: the pose of cam0 at keyframes, in the
  world of the visual odometry, and the scale of its position;
* ``Transformations.txt``: poses between this world, the local world of the GNSS (east, north, up) and the earth.

``calibration``, in it or beside it, has ``undistorted_calib_0.txt`` and ``undistorted_calib_stereo.txt``: the cameras,
and cam1_from_cam0. World_from_cam is gpsw_from_w * S_AS * pose, with the pose's position scaled before.
"""

from itertools import pairwise
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.listed import ListedDataset, ListedImage, sequence_parts
from vizloc_ros.datasets.matrices import nearest_pose, parse_matrix
from vizloc_ros.datasets.parsing import QUATERNION, TRANSLATION, numbered_rows, parse_number, parse_pose, read_text
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.specification import chosen_names, parse_specification
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.geometry.trajectory import Trajectory

CAMERAS = ("cam0", "cam1")
TRANSFORMATIONS = "Transformations.txt"
_POSE = (*TRANSLATION, *QUATERNION)
_POSE_LINE = f"frame_id, {', '.join(_POSE)}, scale, ..."
_CAMERA_LINES = "'Pinhole fx fy cx cy ...' and 'width height'"


def open_four_seasons(spec: str) -> ListedDataset:
    """Open ``PATH[?camera=cam0,cam1&world=PATH&calibration=PATH&NAME=FIRST-LAST]``, the folder of a recording.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    where = f"4seasons:{spec}"
    folder, options = parse_specification(
        spec, "a recording of 4Seasons with times.txt and undistorted_images", "times.txt"
    )
    cameras = chosen_names(options.pop("camera", CAMERAS[0]), CAMERAS, "camera", where)
    calibration = _calibration_folder(folder, options.pop("calibration", None))
    trajectory = _read_trajectory(folder, Path(options.pop("world", folder)))
    stamps = _read_stamps(folder / "times.txt")
    images: list[ListedImage] = []
    for camera in cameras:
        lens = _read_camera(calibration / f"undistorted_calib_{CAMERAS.index(camera)}.txt")
        cam0_from_cam = (
            Rigid3d() if camera == CAMERAS[0] else _read_stereo(calibration / "undistorted_calib_stereo.txt")
        )
        mounting = Mounting(camera, BODY_FROM_OPTICAL * cam0_from_cam)
        for stamp, at in stamps:
            name = f"undistorted_images/{camera}/{stamp}.png"
            world_from_cam0 = trajectory.at(stamp)
            pose = None if world_from_cam0 is None else world_from_cam0 * cam0_from_cam
            images.append(ListedImage(folder / name, name, stamp, lens, pose, at, mounting))
    return ListedDataset(where, sequence_parts(images, options, where), "unpack its stereo images again")


def _calibration_folder(folder: Path, named: str | None) -> Path:
    places = (folder, folder.resolve().parent)
    candidates = [place / name for place in places for name in ("calibration", "Calibration")]
    if named is not None:
        candidates = [Path(named)]
    for candidate in candidates:
        if (candidate / "undistorted_calib_0.txt").is_file():
            return candidate
    raise DatasetError(
        f"{candidates[0]}: there is no undistorted_calib_0.txt; unpack calibration.zip beside the recording, or name "
        f"its folder: 4seasons:{folder}?calibration=PATH"
    )


def _read_stamps(path: Path) -> list[tuple[int, str]]:
    """Read the time [ns] of each image, and file and line."""
    stamps = [(_stamp(fields[0], f"{path}:{line}"), f"{path}:{line}") for line, fields in numbered_rows(path)]
    if not stamps:
        raise DatasetError(f"{path}: there is no image in it; expected lines 'frame_id timestamp exposure'")
    return stamps


def _stamp(text: str, where: str) -> int:
    if not text.isdecimal():
        raise DatasetError(f"{where}: the frame_id is {text!r}, not a whole number of nanoseconds")
    return int(text)


def _read_trajectory(folder: Path, world: Path) -> Trajectory:
    """Read world_from_cam0 by time; the world is the local world of the GNSS of the recording ``world``."""
    path = folder / "GNSSPoses.txt"
    if not path.is_file():
        return Trajectory([], [])
    transforms = _read_transformations(folder / TRANSFORMATIONS)
    world_from_slam = transforms["transform_w_gpsw"].inverse() * transforms["transform_S_AS"]
    if world.resolve() != folder.resolve():
        earth_from_world = _read_transformations(world / TRANSFORMATIONS)["transform_e_gpsw"]
        world_from_slam = earth_from_world.inverse() * transforms["transform_e_gpsw"] * world_from_slam
    poses: dict[int, Rigid3d] = {}
    for line, (stamp, *fields) in numbered_rows(path, ","):
        where = f"{path}:{line}"
        if len(fields) < len(_POSE) + 1:
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected '{_POSE_LINE}'")
        pose = parse_pose(dict(zip(_POSE, fields, strict=False)), where)
        scale = parse_number(fields[len(_POSE)], "scale", where)
        poses[_stamp(stamp, where)] = world_from_slam * Rigid3d(pose.rotation, scale * pose.translation)
    return Trajectory.of(poses)


def _read_transformations(path: Path) -> dict[str, Rigid3d]:
    """Read the poses by name; each is in the line behind ``# name: ...``."""
    names = ("transform_S_AS", "transform_w_gpsw", "transform_e_gpsw")
    poses: dict[str, Rigid3d] = {}
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip()]
    for comment, values in pairwise(lines):
        name = comment.removeprefix("#").split(":")[0].strip()
        if comment.startswith("#") and name in names:
            fields = values.split(",")
            if len(fields) != len(_POSE):
                raise DatasetError(f"{path}: {name} has {len(fields)} values; expected '{','.join(_POSE)}'")
            poses[name] = parse_pose(dict(zip(_POSE, fields, strict=True)), f"{path}: {name}")
    missing = [name for name in names if name not in poses]
    if missing:
        raise DatasetError(
            f"{path}: there is no {', '.join(missing)}; expected '# {names[0]}: ...' and a line below it"
        )
    return poses


def _read_camera(path: Path) -> DistortedCamera:
    rows = numbered_rows(path)
    if len(rows) < 2 or len(rows[0][1]) < 5 or rows[0][1][0] != "Pinhole" or len(rows[1][1]) != 2:
        raise DatasetError(f"{path}: no camera of undistorted images; expected the lines {_CAMERA_LINES}")
    fx, fy, cx, cy = (parse_number(field, "a value", f"{path}:{rows[0][0]}") for field in rows[0][1][1:5])
    width, height = (parse_number(field, "a value", f"{path}:{rows[1][0]}") for field in rows[1][1])
    try:
        return DistortedCamera(PinholeCamera(int(width), int(height), fx, fy, cx, cy))
    except CameraError as error:
        raise DatasetError(f"{path}: {error}") from error


def _read_stereo(path: Path) -> Rigid3d:
    """Read cam0_from_cam1, the inverse of the file's matrix."""
    return nearest_pose(parse_matrix(read_text(path).split(), str(path), rows=4), str(path)).inverse()
