"""Reader of a slice of Extended CMU Seasons: ``cmu:.../slice22?camera=c0``.

The folder of a slice, as distributed by visuallocalization.net, holds the images of the left and the right camera of a
car:

* ``database/``: images of the sunny reference drive (the split "map");
* ``query/``: images of all other drives (the split "query");
* ``ground-truth-database-images-slice22.txt``: poses of the reference drive;
* ``camera-poses/*.txt``: in training slices, poses of many other images (the split "posed").

``intrinsics.txt``, beside the slices, holds both cameras. Images are distorted; they are rectified when they are read.

Each line of a file of poses is ``name qw qx qy qz cx cy cz``: the rotation cam_from_world, and the position of the
camera in the world (README of the dataset: C = -R^T t).
"""

import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple
from urllib.parse import parse_qsl

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.camera_lists import read_camera_list
from vizloc_ros.datasets.lenses import read_rectified
from vizloc_ros.datasets.parsing import numbered_rows, parse_number, parse_unit_quaternion
from vizloc_ros.datasets.record import Record, unknown_split
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.geometry.rectification import DistortedCamera, rectified_camera

IMAGE_NAME = re.compile(r"img_\d+_(c\d+)_(\d+)us\.jpg")
IMAGE_NAME_TEXT = "img_NUMBER_CAMERA_TIMEus.jpg"
QUATERNION = ("qw", "qx", "qy", "qz")
CENTER = ("cx", "cy", "cz")
POSE_LINE = " ".join(("name", *QUATERNION, *CENTER))

Listed = tuple[str, Rigid3d | None]  # file and line of an entry, and world_from_cam


class CmuImage(NamedTuple):
    """Image of a slice.

    Attributes:
        path: path of the file.
        camera: name of the camera, from the file's name.
        timestamp_ns: time of exposure [ns], from the file's name.
        world_from_cam: pose of the camera's optical frame; None if there is none.
        where: file and line that list the image, for error messages.
    """

    path: Path
    camera: str
    timestamp_ns: int
    world_from_cam: Rigid3d | None
    where: str


@dataclass(frozen=True)
class CmuDataset:
    """One slice; ``open_cmu`` opens it.

    Attributes:
        spec: text after ``cmu:`` that the dataset was opened with.
        cameras: cameras with their distortion, by name.
        parts: images of each split, in order of time.
    """

    spec: str
    cameras: dict[str, DistortedCamera]
    parts: dict[str, list[CmuImage]]

    @property
    def name(self) -> str:
        """``cmu:PATH?...`` that the dataset was opened with."""
        return f"cmu:{self.spec}"

    @property
    def splits(self) -> tuple[str, ...]:
        """Splits: "map" is the reference drive, "query" all others, and "posed" those of them that have poses."""
        return tuple(self.parts)

    def records(self, split: str) -> list[Record]:
        """Return the records of a split in order of time.

        Raises:
            DatasetError: there is no such split, or an image of it is missing.
        """
        if split not in self.parts:
            raise unknown_split(self.name, split, self.parts)
        for image in self.parts[split]:
            if not image.path.is_file():
                raise DatasetError(f"{image.where}: there is no image {image.path}: unpack the slice again")
        return [self._record(image, split) for image in self.parts[split]]

    def _record(self, image: CmuImage, split: str) -> Record:
        lens = self.cameras[image.camera]
        return Record(
            name=f"{image.path.parent.name}/{image.path.name}",
            timestamp_ns=image.timestamp_ns,
            camera=rectified_camera(lens),
            split=split,
            world_from_cam=image.world_from_cam,
            read_image=partial(read_rectified, image.path, lens),
            file=image.path,
            # The file's name, without the slice (README of the dataset).
            submitted_name=None if split == "map" else image.path.name,
        )


def open_cmu(spec: str) -> CmuDataset:
    """Open ``PATH[?camera=c0]``; without a camera, the images of both.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    folder_text, _, query = spec.partition("?")
    folder = Path(folder_text)
    if not folder.is_dir():
        raise DatasetError(f"{folder}: no such folder; it should be a slice of Extended CMU Seasons, such as slice22")
    options = dict(parse_qsl(query, keep_blank_values=True))
    chosen = options.pop("camera", None)
    if options:
        raise DatasetError(f"cmu:{spec}: there is no option {', '.join(options)}; the only one is camera")
    intrinsics = _intrinsics_file(folder)
    cameras = read_camera_list(intrinsics)
    if chosen is not None and chosen not in cameras:
        raise DatasetError(f"cmu:{spec}: camera={chosen}; {intrinsics} has the cameras {', '.join(cameras)}")
    query_poses: dict[str, Listed] = {}
    for poses in (folder / "camera-poses", folder.parent / "camera-poses"):
        for file in sorted(poses.glob("*.txt")):
            query_poses |= _read_poses(file)
    queries = {path.name: query_poses.get(path.name, (str(path), None)) for path in (folder / "query").glob("*.jpg")}
    listed = {
        "map": (folder / "database", _read_poses(_ground_truth_file(folder))),
        "query": (folder / "query", queries),
        "posed": (folder / "query", {name: query for name, query in queries.items() if query[1] is not None}),
    }
    parts: dict[str, list[CmuImage]] = {}
    for split, (images_folder, poses_of) in listed.items():
        images = [_image(images_folder / name, *at, cameras, intrinsics) for name, at in poses_of.items()]
        kept = [image for image in images if chosen in (None, image.camera)]
        if kept:
            parts[split] = sorted(kept, key=lambda image: (image.timestamp_ns, image.path))
    return CmuDataset(spec, cameras, parts)


def _image(
    path: Path, where: str, pose: Rigid3d | None, cameras: dict[str, DistortedCamera], intrinsics: Path
) -> CmuImage:
    match = IMAGE_NAME.fullmatch(path.name)
    if match is None:
        raise DatasetError(f"{where}: {path.name!r} is no image of Extended CMU Seasons; expected {IMAGE_NAME_TEXT}")
    camera, microseconds = match.groups()
    if camera not in cameras:
        raise DatasetError(f"{where}: {path.name} is of camera {camera}; {intrinsics} has {', '.join(cameras)}")
    return CmuImage(path, camera, int(microseconds) * 1000, pose, where)


def _intrinsics_file(folder: Path) -> Path:
    candidates = (folder / "intrinsics.txt", folder.resolve().parent / "intrinsics.txt")
    for path in candidates:
        if path.is_file():
            return path
    raise DatasetError(
        f"{' or '.join(map(str, candidates))}: no such file; it is where the slices are downloaded from, and "
        "belongs beside their folders"
    )


def _ground_truth_file(folder: Path) -> Path:
    found = sorted(folder.glob("ground-truth-database-images-*.txt"))
    if len(found) != 1:
        raise DatasetError(
            f"{folder}: {len(found)} files ground-truth-database-images-sliceN.txt; a slice of Extended CMU Seasons "
            "has one: unpack it again"
        )
    return found[0]


def _read_poses(path: Path) -> dict[str, Listed]:
    """Read the file and line, and the pose, of each image by its name."""
    poses: dict[str, Listed] = {}
    for line, (name, *fields) in numbered_rows(path):
        where = f"{path}:{line}"
        if len(fields) != len(QUATERNION) + len(CENTER):
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected '{POSE_LINE}'")
        if name in poses:
            raise DatasetError(f"{where}: image {name!r} is already in {poses[name][0]}")
        w, x, y, z = parse_unit_quaternion(fields[:4], QUATERNION, where)
        center = np.array([parse_number(f, what, where) for f, what in zip(fields[4:], CENTER, strict=True)])
        poses[name] = where, pose_from_quaternion(center, np.array([-x, -y, -z, w]))  # inverted: world from camera
    return poses
