"""Reader of RobotCar Seasons, versions 1 and 2: ``robotcar-seasons:PATH?location=25&camera=rear``.

The folder, as distributed by visuallocalization.net, holds the rectified images of three cameras of a car:

* ``images/overcast-reference/{left,rear,right}/TIME.jpg``: the reference drive (the split "map");
* ``images/CONDITION/...``: the queries, such as ``night`` (a split each; "query" is all of them);
* ``3D-models/all-merged/all.nvm``: poses of the reference drive;
* ``3D-models/individual/colmap_reconstructions/025_aligned``: the same, of one of 49 locations;
* ``3D-models/individual/queries_per_location/queries_location_025.txt``: queries of a location;
* ``intrinsics/rear_intrinsics.txt`` and ``extrinsics/rear_extrinsics.txt``, for each camera;
* ``robotcar_v2_train.txt`` and ``robotcar_v2_test.txt`` of version 2: rear images with a pose (the split "train"), and
  those that are to be localized ("test"), named without their condition.

TIME is in microseconds. Lists and models call the images ``.png``; the files are ``.jpg``.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d, Rotation3d

from vizloc_ros.datasets.colmap import read_model
from vizloc_ros.datasets.listed import ListedDataset, ListedImage, in_order
from vizloc_ros.datasets.nvm import read_nvm
from vizloc_ros.datasets.parsing import numbered_rows
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.robotcar_seasons_calibration import (
    CAMERAS,
    mean_rig,
    published_rig,
    read_camera,
    read_train_poses,
)
from vizloc_ros.datasets.specification import chosen_names, parse_specification, require_no_options
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import BODY_FROM_OPTICAL
from vizloc_ros.geometry.rectification import DistortedCamera

REFERENCE = "overcast-reference"
LOCATIONS = 49
RIGS = ("map", "published")
_MERGED = Path("3D-models/all-merged/all.nvm")
_INDIVIDUAL = Path("3D-models/individual/colmap_reconstructions")
_QUERIES = Path("3D-models/individual/queries_per_location")
_TRAIN, _TEST = "robotcar_v2_train.txt", "robotcar_v2_test.txt"
_NAME = re.compile(r"([\w-]+)/(left|rear|right)/(\d+)\.jpg")
_LISTED_NAME = re.compile(r"(?:[\w-]+/)?(left|rear|right)/(\d+)\.(?:jpg|png)")
_NAME_TEXT = "CONDITION/CAMERA/TIME.jpg"
# The vehicle has its origin at the rear camera, which looks back.
_BASE_FROM_REAR = Rigid3d(Rotation3d(np.diag([-1.0, -1, 1])), np.zeros(3)) * BODY_FROM_OPTICAL


class SeasonsImage(NamedTuple):
    """Image of RobotCar Seasons.

    Attributes:
        name: path below ``images``.
        condition: condition of its drive, such as ``night``.
        camera: ``left``, ``rear`` or ``right``.
        stamp: time of exposure [us].
    """

    name: str
    condition: str
    camera: str
    stamp: int


def open_robotcar_seasons(spec: str) -> ListedDataset:
    """Open ``PATH[?location=1&camera=rear&model=PATH&rig=map]``; without a camera, the images of all three.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    name = f"robotcar-seasons:{spec}"
    folder, options = parse_specification(spec, f"RobotCar Seasons with images/{REFERENCE}")
    if not (folder / "images").is_dir():
        raise DatasetError(f"{folder / 'images'}: no such folder; expected RobotCar Seasons with images/{REFERENCE}")
    location = _location(options.pop("location", None), name)
    model, rig = options.pop("model", None), options.pop("rig", None)
    chosen = chosen_names(options.pop("camera", ",".join(CAMERAS)), CAMERAS, "camera", name)
    require_no_options(options, ["location", "camera", "model", "rig"], name)
    reference = _reference(folder, location, model)
    train = _by_name(read_train_poses(folder / _TRAIN)) if (folder / _TRAIN).is_file() else {}
    mountings = {camera: Mounting(camera, _BASE_FROM_REAR if camera == "rear" else None) for camera in CAMERAS}
    if rig is not None:
        chosen_names(rig, RIGS, "rig", name)
        at = {(image.stamp, image.camera): pose for image, pose in reference.items()}
        rear_from_cam = published_rig(folder) if rig == "published" else mean_rig(at, folder)
        mountings |= {camera: Mounting(camera, _BASE_FROM_REAR * pose) for camera, pose in rear_from_cam.items()}
        train |= _of_rig(train, rear_from_cam)
    present = _present(folder, location)
    parts = {"map": list(reference), "query": present}
    parts |= {condition: [i for i in present if i.condition == condition] for condition in _conditions(present)}
    found = set(present)
    parts["train"] = [image for image in train if image in found]
    if (folder / _TEST).is_file():
        parts["test"] = _listed(folder / _TEST, found)
    lenses = {c: DistortedCamera(read_camera(folder / "intrinsics" / f"{c}_intrinsics.txt")) for c in chosen}
    poses = {image.name: pose for image, pose in (reference | train).items()}

    def listed(image: SeasonsImage, split: str) -> ListedImage:
        return ListedImage(
            path=folder / "images" / image.name,
            name=image.name,
            timestamp_ns=image.stamp * 1000,
            lens=lenses[image.camera],
            world_from_cam=poses.get(image.name),
            where=str(folder),
            mounting=mountings[image.camera],
            # Camera and file, without the condition (README of the dataset).
            submitted_name=None if split == "map" else f"{image.camera}/{image.stamp}.jpg",
        )

    ordered = {
        s: in_order(listed(image, s) for image in images if image.camera in chosen) for s, images in parts.items()
    }
    return ListedDataset(name, {s: images for s, images in ordered.items() if images}, "unpack its condition again")


def _location(text: str | None, where: str) -> int | None:
    if text is None:
        return None
    if not text.isdecimal() or not 1 <= int(text) <= LOCATIONS:
        raise DatasetError(f"{where}: location={text}; locations have the numbers 1 to {LOCATIONS}")
    return int(text)


def parse_name(text: str, where: str) -> SeasonsImage:
    """Image of a name in a list or a model. Raises ``DatasetError`` if it is none of the dataset's."""
    name = text.removeprefix("./").replace(".png", ".jpg")
    match = _NAME.fullmatch(name)
    if match is None:
        raise DatasetError(f"{where}: {text!r} is no image of RobotCar Seasons; expected {_NAME_TEXT}")
    return SeasonsImage(name, match[1], match[2], int(match[3]))


def _by_name(poses: Mapping[str, tuple[str, Rigid3d]]) -> dict[SeasonsImage, Rigid3d]:
    """Pose of each image; the argument has file and line, and pose, by name."""
    return {parse_name(name, where): pose for name, (where, pose) in poses.items()}


def _reference(folder: Path, location: int | None, model: str | None) -> dict[SeasonsImage, Rigid3d]:
    """Poses of the reference drive: of the named model, of the location, or of all."""
    individual = folder / _INDIVIDUAL
    if model is not None:
        paths = [folder / model]
    elif location is not None:
        paths = [individual / f"{location:03d}_aligned"]
    elif (folder / _MERGED).is_file():
        paths = [folder / _MERGED]
    else:
        paths = sorted(path for path in individual.glob("*_aligned") if path.is_dir())
    missing = [path for path in paths if not path.exists()]
    if missing or not paths:
        raise DatasetError(
            f"{missing[0] if missing else folder / _MERGED}: there is no 3D model; download {_MERGED}, or unpack "
            f"{_INDIVIDUAL / 'NNN_aligned.zip'}, or name another model: robotcar-seasons:{folder}?model=PATH"
        )
    poses: dict[SeasonsImage, Rigid3d] = {}
    for path in paths:
        if path.suffix == ".nvm":
            poses |= {parse_name(image.name, image.where): image.world_from_cam for image in read_nvm(path)}
        else:
            poses |= {parse_name(i.name, str(path)): i.world_from_cam for i in read_model(path, scale=1.0)}
    return poses


def _present(folder: Path, location: int | None) -> list[SeasonsImage]:
    """Queries: all image files of other conditions, or those of a location, of conditions that are unpacked."""
    conditions = {path.name for path in (folder / "images").iterdir() if path.is_dir()} - {REFERENCE}
    if location is not None:
        path = folder / _QUERIES / f"queries_location_{location:03d}.txt"
        if not path.is_file():
            raise DatasetError(f"{path}: no such file; it comes with the individual 3D models: unpack them again")
        images = [parse_name(fields[0], f"{path}:{line}") for line, fields in numbered_rows(path)]
        return [image for image in images if image.condition in conditions]
    files = (path for condition in conditions for path in (folder / "images" / condition).glob("*/*.jpg"))
    return [parse_name(path.relative_to(folder / "images").as_posix(), str(path)) for path in files]


def _conditions(images: Iterable[SeasonsImage]) -> list[str]:
    return sorted({image.condition for image in images})


def _listed(path: Path, present: set[SeasonsImage]) -> list[SeasonsImage]:
    """Images that the list of version 2 names, of those that are present.

    The published list leaves the condition away, since no two drives have a time in common.
    """
    images = {(image.camera, image.stamp): image for image in present}
    listed = [_camera_and_stamp(fields[0], f"{path}:{line}") for line, fields in numbered_rows(path)]
    if not listed:
        raise DatasetError(f"{path}: there is no image in it; expected one name a line")
    return [images[key] for key in listed if key in images]


def _camera_and_stamp(text: str, where: str) -> tuple[str, int]:
    match = _LISTED_NAME.fullmatch(text)
    if match is None:
        raise DatasetError(f"{where}: {text!r} is no image of RobotCar Seasons; expected CAMERA/TIME.png")
    return match[1], int(match[2])


def _of_rig(train: Mapping[SeasonsImage, Rigid3d], rear_from_cam: Mapping[str, Rigid3d]) -> dict[SeasonsImage, Rigid3d]:
    """Poses of the left and right images that were taken with the rear images of version 2's training."""
    return {
        parse_name(f"{rear.condition}/{camera}/{rear.stamp}.jpg", _TRAIN): world_from_rear * mounting
        for rear, world_from_rear in train.items()
        if rear.camera == "rear"
        for camera, mounting in rear_from_cam.items()
    }
