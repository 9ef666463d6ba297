"""Reader of the Oxford RobotCar Dataset as recorded: ``robotcar:PATH?camera=mono_rear``.

PATH is a drive, as unpacked, or the folder of several, which then are named: ``map=2014-11-28-12-07-13&query=...``. A
drive holds the raw images ``stereo/centre/TIME.png`` or ``mono_rear/TIME.png``, the lists ``stereo.timestamps`` and
``mono_rear.timestamps``, and the poses ``gps/ins.csv`` or ``rtk.csv``. The folders ``models`` and ``extrinsics`` are
those of robotcar-dataset-sdk.

``extrinsics/ins.txt`` is the pose of the inertial sensor in the vehicle. The files of cameras are the inverse, the
vehicle in the frame of the camera, as the SDK uses them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.kitti import image_size
from vizloc_ros.datasets.parsing import numbered_rows, parse_number
from vizloc_ros.datasets.record import GnssFix, Mounting, Record, unknown_split
from vizloc_ros.datasets.robotcar_camera import (
    CAMERAS,
    RobotcarCamera,
    extrinsics_name,
    image_folder,
    read_robotcar_camera,
)
from vizloc_ros.datasets.robotcar_poses import ORIGIN, read_drive_poses, read_extrinsics, read_fixes
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.trajectory import Trajectory

DEFAULT_CAMERA = "stereo_centre"
SDK = "robotcar-dataset-sdk"
_POSES = {"rtk": ("gps/rtk.csv", "rtk.csv"), "ins": ("gps/ins.csv", "ins.csv")}  # below the drive
_FIXES = ("gps/gps.csv", "gps.csv")
# The vehicle of the extrinsics has x forward, y right, z down; ROS has x forward, y left, z up.
_BASE_FROM_VEHICLE = Rigid3d(Rotation3d(np.diag([1.0, -1, -1])), np.zeros(3))


class RobotcarImage(NamedTuple):
    """Image of a drive.

    Attributes:
        path: path of the file.
        name: path below the folder of the dataset.
        stamp: time of exposure [us].
        camera: its camera.
        mounting: place of the camera on the vehicle.
        world_from_cam: pose of the optical frame in the local world; None where the drive has none.
    """

    path: Path
    name: str
    stamp: int
    camera: RobotcarCamera
    mounting: Mounting
    world_from_cam: Rigid3d | None


@dataclass(frozen=True)
class RobotcarDataset:
    """Drives of the RobotCar; ``open_robotcar`` opens them.

    Attributes:
        spec: text after ``robotcar:`` that the dataset was opened with.
        parts: images of each split, in order of time.
        drives: folder of the drive of each split.
        origin: easting, northing and altitude [m] in UTM that were subtracted from all positions.
    """

    spec: str
    parts: dict[str, list[RobotcarImage]]
    drives: dict[str, Path]
    origin: tuple[float, float, float]

    @property
    def name(self) -> str:
        """``robotcar:PATH?...`` that the dataset was opened with."""
        return f"robotcar:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "all" of one drive, or those of the named drives; "posed" are images of "all" with a pose."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time. Raises ``DatasetError`` if there is no such split."""
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        return [
            Record(
                name=image.name,
                timestamp_ns=image.stamp * 1000,
                camera=image.camera.pinhole,
                split=split,
                world_from_cam=image.world_from_cam,
                read_image=partial(image.camera.read, image.path),
                file=image.path,
                mounting=image.mounting,
            )
            for image in self.parts[split]
        ]

    def fixes(self, split: str) -> list[GnssFix]:
        """Return the fixes of the drive's ``gps.csv`` while the images of a split were taken; none without the file.

        Raises:
            DatasetError: there is no such split, or the file is malformed.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        path = next((file for name in _FIXES if (file := self.drives[split] / name).is_file()), None)
        first, last = (1000 * self.parts[split][index].stamp for index in (0, -1))
        return [] if path is None else [fix for fix in read_fixes(path) if first <= fix.timestamp_ns <= last]


def open_robotcar(spec: str) -> RobotcarDataset:
    """Open ``PATH[?camera=stereo_centre&poses=rtk&sdk=PATH&origin=E,N,U&NAME=DRIVE]``.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    root_text, _, query = spec.partition("?")
    root = Path(root_text)
    if not root.is_dir():
        raise DatasetError(
            f"{root}: no such folder; expected a drive of the Oxford RobotCar, such as 2014-11-28-12-07-13"
        )
    options = dict(parse_qsl(query, keep_blank_values=True))
    cameras = options.pop("camera", DEFAULT_CAMERA).split(",")
    if not set(cameras) <= set(CAMERAS):
        raise DatasetError(f"robotcar:{spec}: camera={','.join(cameras)}; the cameras are {', '.join(CAMERAS)}")
    origin = _origin(options.pop("origin", None), spec)
    poses = options.pop("poses", None)
    named_sdk = options.pop("sdk", None)
    drives = {split: root / folder for split, folder in options.items()} or {"all": root}
    for split, drive in drives.items():
        _require_drive(root, split, drive, cameras)
    sdk = _sdk_folder(root, named_sdk)
    parts: dict[str, list[RobotcarImage]] = {}
    for split, drive in drives.items():
        file = _poses_file(drive, poses)
        drive_poses = None if file is None else read_drive_poses(file, origin)
        images = [image for camera in cameras for image in _read_drive(root, drive, camera, sdk, drive_poses)]
        images.sort(key=lambda image: (image.stamp, image.name))
        posed = [image for image in images if image.world_from_cam is not None]
        if split == "map" and not posed:
            raise DatasetError(f"{drive}: no image of the map has a pose: {_missing_poses(drive, file)}")
        parts[split] = posed if split == "map" else images
        if split == "all" and 0 < len(posed) < len(images):
            parts["posed"] = posed
    return RobotcarDataset(spec, parts, {split: drives.get(split, root) for split in parts}, origin)


def _origin(text: str | None, spec: str) -> tuple[float, float, float]:
    if text is None:
        return ORIGIN
    fields = text.split(",")
    if len(fields) != 3:
        raise DatasetError(f"robotcar:{spec}: origin={text}; expected EASTING,NORTHING,ALTITUDE in meters")
    east, north, up = (parse_number(field, "origin", f"robotcar:{spec}") for field in fields)
    return east, north, up


def _sdk_folder(root: Path, named: str | None) -> Path:
    above = root.resolve().parent
    candidates = (root / named,) if named is not None else (root, root / SDK, above, above / SDK)
    for folder in candidates:
        if (folder / "models").is_dir() and (folder / "extrinsics").is_dir():
            return folder
    raise DatasetError(
        f"{', '.join(map(str, candidates))}: no folders models and extrinsics; clone ori-mrg/{SDK} beside the drive, "
        f"or give its path, absolute or relative to {root}: robotcar:{root}?sdk=PATH"
    )


def _list_of(drive: Path, camera: str) -> Path:
    return drive / f"{extrinsics_name(camera)}.timestamps"


def _require_drive(root: Path, split: str, drive: Path, cameras: Sequence[str]) -> None:
    """Raise ``DatasetError`` if a folder is no drive with images of these cameras."""
    if not drive.is_dir():
        raise DatasetError(
            f"{drive}: no such folder; {split}=FOLDER gives the split {split!r} its drive. The other options are "
            "camera, poses, sdk, origin"
        )
    for camera in cameras:
        if not _list_of(drive, camera).is_file():
            raise DatasetError(
                f"{_list_of(drive, camera)}: no such file; expected a drive of the Oxford RobotCar with images of "
                f"{camera}{_other_cameras(drive)}, or several drives below {root}: "
                f"robotcar:{root}?map=DRIVE&query=DRIVE"
            )


def _other_cameras(drive: Path) -> str:
    """Text that names the cameras of a drive, for errors."""
    there = [name for name in CAMERAS if _list_of(drive, name).is_file() and any(image_folder(drive, name).glob("*"))]
    return f" (there are images of camera={' and camera='.join(there)})" if there else ""


def _read_drive(root: Path, drive: Path, name: str, sdk: Path, poses: Trajectory | None) -> list[RobotcarImage]:
    """Images of a camera on a drive: those of the list whose files are there, for few download all parts."""
    sensor, folder = extrinsics_name(name), image_folder(drive, name)
    listed = _list_of(drive, name)
    stamps = _read_stamps(listed)
    stamps = [stamp for stamp in stamps if (folder / f"{stamp}.png").is_file()]
    if not stamps:
        raise DatasetError(
            f"{folder}: no image of {listed} is there, such as TIME.png; unpack a part of {drive.name}"
            f"{_other_cameras(drive)}"
        )
    camera = read_robotcar_camera(sdk / "models", name, image_size(folder))
    vehicle_from_ins = read_extrinsics(sdk / "extrinsics" / "ins.txt")
    body_from_vehicle = read_extrinsics(sdk / "extrinsics" / f"{sensor}.txt")
    vehicle_from_cam = body_from_vehicle.inverse() * camera.body_from_optical
    mounting = Mounting(name, _BASE_FROM_VEHICLE * vehicle_from_cam)
    ins_from_cam = vehicle_from_ins.inverse() * vehicle_from_cam
    world_from_ins = [None if poses is None else poses.at(1000 * stamp) for stamp in stamps]
    return [
        RobotcarImage(
            path=folder / f"{stamp}.png",
            name=(folder / f"{stamp}.png").relative_to(root).as_posix(),
            stamp=stamp,
            camera=camera,
            mounting=mounting,
            world_from_cam=None if pose is None else pose * ins_from_cam,
        )
        for stamp, pose in zip(stamps, world_from_ins, strict=True)
    ]


def _missing_poses(drive: Path, file: Path | None) -> str:
    """Text that says why no image has a pose."""
    if file is not None:
        return f"the poses of {file} are of other times"
    names = [str(path) for paths in _pose_paths(drive).values() for path in paths]
    return f"there is none of {', '.join(names)}; download gps or the RTK ground truth, or add poses=PATH"


def _pose_paths(drive: Path) -> dict[str, list[Path]]:
    """Places of the files of poses, by kind."""
    above = drive.resolve().parent / "rtk" / drive.resolve().name / "rtk.csv"  # as the ground truth is distributed
    paths = {kind: [drive / name for name in names] for kind, names in _POSES.items()}
    paths["rtk"].append(above)
    return paths


def _poses_file(drive: Path, chosen: str | None) -> Path | None:
    """File of the poses: the chosen one, or else the ground truth rather than the car's own. None if there is none."""
    paths = _pose_paths(drive)
    if chosen is not None and chosen not in paths:
        candidates = [drive / chosen]
    else:
        candidates = [path for kind in ((chosen,) if chosen else paths) for path in paths[kind]]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None and chosen is not None:
        raise DatasetError(f"{', '.join(map(str, candidates))}: no such file; poses={chosen} needs it")
    return found


def _read_stamps(path: Path) -> list[int]:
    """Read the times [us] of a list; its lines are a time and the number of a part."""
    stamps: list[int] = []
    for line, fields in numbered_rows(path):
        if not fields[0].isdecimal():
            raise DatasetError(f"{path}:{line}: the time is {fields[0]!r}; expected 'MICROSECONDS PART'")
        stamps.append(int(fields[0]))
    if not stamps:
        raise DatasetError(f"{path}: there is no time in it; expected lines 'MICROSECONDS PART'")
    return stamps
