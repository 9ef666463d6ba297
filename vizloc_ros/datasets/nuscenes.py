"""Reader of nuScenes: ``nuscenes:PATH?version=v1.0-mini&camera=CAM_FRONT&map=scene-0061&query=scene-0103``.

The folder holds ``samples`` and ``sweeps`` with the images, and the tables of a version, ``v1.0-mini/sample_data.json``
and so on. Rows refer to others by their ``token``. Images are rectified by the dataset.

The pose of a camera is that of the vehicle in the map's world (``ego_pose``), times that of the camera in the vehicle
(``calibrated_sensor``); quaternions have w first. Every location, such as ``boston-seaport``, is a world of its own.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from pycolmap import Rigid3d

from vizloc_ros.datasets.listed import ListedDataset, ListedImage, in_order
from vizloc_ros.datasets.parsing import parse_pose, read_text
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.specification import chosen_names, parse_specification
from vizloc_ros.errors import CameraError, DatasetError
from vizloc_ros.geometry.camera import PinholeCamera
from vizloc_ros.geometry.rectification import DistortedCamera

CAMERAS = ("CAM_FRONT", "CAM_FRONT_LEFT", "CAM_FRONT_RIGHT", "CAM_BACK", "CAM_BACK_LEFT", "CAM_BACK_RIGHT")
FRAMES = ("all", "keyframes")
_POSE = ("tx", "ty", "tz", "qw", "qx", "qy", "qz")
_Row = Mapping[str, Any]


class _Table(NamedTuple):
    """Rows of a table by token, and its file."""

    path: Path
    rows: dict[str, _Row]

    def row(self, token: str) -> _Row:
        """Row of a token. Raises ``DatasetError`` that names the file."""
        if token not in self.rows:
            raise DatasetError(f"{self.path}: there is no token {token!r}, which another table has: unpack it again")
        return self.rows[token]


def open_nuscenes(spec: str) -> ListedDataset:
    """Open ``PATH[?version=v1.0-mini&camera=CAM_FRONT,CAM_BACK&frames=keyframes&NAME=SCENE,SCENE]``.

    Raises:
        DatasetError: an option is invalid, or a table is missing or malformed; the text names the file.
    """
    where = f"nuscenes:{spec}"
    root, options = parse_specification(spec, "nuScenes with samples, sweeps and v1.0-mini", "*/sample_data.json")
    tables = _tables(root, options.pop("version", None))
    cameras = chosen_names(options.pop("camera", CAMERAS[0]), CAMERAS, "camera", where)
    frames = chosen_names(options.pop("frames", FRAMES[0]), FRAMES, "frames", where)[0]
    scenes = _read_images(root, tables, cameras, keyframes_only=frames == "keyframes")
    locations = _locations(tables)
    parts = dict(sorted(scenes.items()))
    for split, text in options.items():
        names = chosen_names(text, list(scenes), split, where)
        worlds = sorted({locations[name] for name in names})
        if len(worlds) > 1:
            raise DatasetError(f"{where}: {split}={text}: the scenes are in {', '.join(worlds)}, which share no world")
        parts[split] = in_order(image for name in names for image in scenes[name])
    return ListedDataset(where, parts, "unpack its blobs, or read frames=keyframes if you have only these")


def _tables(root: Path, version: str | None) -> Path:
    """Folder of the tables."""
    found = sorted(path.parent.name for path in root.glob("*/sample_data.json"))
    if version is None and len(found) == 1:
        return root / found[0]
    if version in found:
        return root / version
    named = (
        f"name one of them: nuscenes:{root}?version={found[0]}"
        if version is None
        else f"version={version} is none of them"
    )
    raise DatasetError(f"{root}: {len(found)} versions with sample_data.json ({', '.join(found)}); {named}")


def _read_images(
    root: Path, folder: Path, cameras: Sequence[str], keyframes_only: bool
) -> dict[str, list[ListedImage]]:
    """Read the images of every scene, in order of time."""
    channels = _read_table(folder, "sensor", ("channel",))
    sensors = _read_table(folder, "calibrated_sensor", ("sensor_token", "translation", "rotation", "camera_intrinsic"))
    samples = _read_table(folder, "sample", ("scene_token",))
    scenes = _read_table(folder, "scene", ("name", "log_token"))
    poses = _read_table(folder, "ego_pose", ("translation", "rotation"))
    references = ("sample_token", "ego_pose_token", "calibrated_sensor_token")
    values = ("filename", "width", "height", "timestamp", "is_key_frame")
    images = _read_table(folder, "sample_data", (*references, *values))
    mountings: dict[tuple[str, int, int], tuple[DistortedCamera, Rigid3d]] = {}
    parts: dict[str, list[ListedImage]] = {scene["name"]: [] for scene in scenes.rows.values()}
    for token, image in images.rows.items():
        where = f"{images.path}: {token}"
        sensor_token = image["calibrated_sensor_token"]
        sensor = sensors.row(sensor_token)
        channel = channels.row(sensor["sensor_token"])["channel"]
        if channel not in cameras or (keyframes_only and not image["is_key_frame"]):
            continue
        key = (sensor_token, image["width"], image["height"])
        if key not in mountings:
            at = f"{sensors.path}: {sensor_token}"
            lens = _camera(sensor, image["width"], image["height"], at)
            mountings[key] = lens, _pose(sensor, at)
        lens, base_from_cam = mountings[key]
        ego_token = image["ego_pose_token"]
        world_from_cam = _pose(poses.row(ego_token), f"{poses.path}: {ego_token}") * base_from_cam
        scene = scenes.row(samples.row(image["sample_token"])["scene_token"])["name"]
        stamp = image["timestamp"] * 1000
        parts[scene].append(
            ListedImage(
                root / image["filename"],
                image["filename"],
                stamp,
                lens,
                world_from_cam,
                where,
                Mounting(channel, base_from_cam),
            )
        )
    return {scene: in_order(listed) for scene, listed in parts.items() if listed}


def _locations(folder: Path) -> dict[str, str]:
    """Location of each scene by its name."""
    logs = _read_table(folder, "log", ("location",))
    scenes = _read_table(folder, "scene", ("name", "log_token"))
    return {scene["name"]: logs.row(scene["log_token"])["location"] for scene in scenes.rows.values()}


def _read_table(folder: Path, name: str, fields: Sequence[str]) -> _Table:
    """Read a table of rows that have a token and the fields."""
    path = folder / f"{name}.json"
    try:
        rows = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise DatasetError(f"{path}:{error.lineno}: not JSON: {error.msg}: unpack it again") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DatasetError(f"{path}: no table of nuScenes; expected a list of rows with token, {', '.join(fields)}")
    for index, row in enumerate(rows):
        missing = [field for field in ("token", *fields) if field not in row]
        if missing:
            raise DatasetError(f"{path}: row {index} lacks {', '.join(missing)}; it is no table of nuScenes")
    return _Table(path, {row["token"]: row for row in rows})


def _pose(row: _Row, where: str) -> Rigid3d:
    """Pose of a row's translation [m] and rotation, w first."""
    translation, rotation = row["translation"], row["rotation"]
    values = [*translation, *rotation] if isinstance(translation, list) and isinstance(rotation, list) else []
    if len(values) != len(_POSE):
        raise DatasetError(f"{where}: expected a translation of 3 numbers and a rotation of 4, w first")
    return parse_pose({name: str(value) for name, value in zip(_POSE, values, strict=True)}, where)


def _camera(row: _Row, width: int, height: int, where: str) -> DistortedCamera:
    try:
        (fx, _, cx), (_, fy, cy), _ = row["camera_intrinsic"]
        return DistortedCamera(PinholeCamera(width, height, float(fx), float(fy), float(cx), float(cy)))
    except (CameraError, TypeError, ValueError) as error:
        raise DatasetError(f"{where}: camera_intrinsic is no 3x3 matrix of a camera: {error}") from error
