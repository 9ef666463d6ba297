"""Reader of a slice of Extended CMU Seasons: ``cmu:.../slice22?camera=c0``.

The folder of a slice, as distributed by visuallocalization.net, holds the images of the left and the right camera of a
car:

* ``database/``: images of the sunny reference drive (the split "map");
* ``query/``: images of all other drives (the split "query", and one split for each day, such as "2010-09-15");
* ``ground-truth-database-images-slice22.txt``: poses of the reference drive;
* ``camera-poses/*.txt``: in training slices, poses of many other images (the split "posed").

``intrinsics.txt``, beside the slices, holds both cameras. Images are distorted; they are rectified when they are read.

Each line of a file of poses is ``name qw qx qy qz cx cy cz``: the rotation cam_from_world, and the position of the
camera in the world (README of the dataset: C = -R^T t).
"""

import logging
import re
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.camera_lists import read_camera_list
from vizloc_ros.datasets.listed import ListedDataset, ListedImage, in_order
from vizloc_ros.datasets.parsing import numbered_rows, parse_number, parse_unit_quaternion
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.specification import chosen_names, parse_specification, require_no_options
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.poses import pose_from_quaternion
from vizloc_ros.geometry.rectification import DistortedCamera
from vizloc_ros.timing import NANOSECONDS

IMAGE_NAME = re.compile(r"img_\d+_(c\d+)_(\d+)us\.jpg")
IMAGE_NAME_TEXT = "img_NUMBER_CAMERA_TIMEus.jpg"
QUATERNION = ("qw", "qx", "qy", "qz")
CENTER = ("cx", "cy", "cz")
POSE_LINE = " ".join(("name", *QUATERNION, *CENTER))

_LOG = logging.getLogger(__name__)
Listed = tuple[str, Rigid3d | None]  # file and line of an entry, and world_from_cam


def open_cmu(spec: str) -> ListedDataset:
    """Open ``PATH[?camera=c0]``; without a camera, the images of both.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    folder, options = parse_specification(spec, "a slice of Extended CMU Seasons, such as slice22")
    chosen = options.pop("camera", None)
    require_no_options(options, ["camera"], f"cmu:{spec}")
    intrinsics = _intrinsics_file(folder)
    cameras = read_camera_list(intrinsics)
    names = list(cameras) if chosen is None else chosen_names(chosen, list(cameras), "camera", f"cmu:{spec}")
    query_poses: dict[str, Listed] = {}
    for poses in (folder / "camera-poses", folder.parent / "camera-poses"):
        for file in sorted(poses.glob("*.txt")):
            query_poses |= _read_poses(file)
    queries = {path.name: query_poses.get(path.name, (str(path), None)) for path in (folder / "query").glob("*.jpg")}
    if not query_poses:
        _LOG.warning(
            "%s: no camera-poses/*.txt: no query has a pose, so there is no split 'posed' and no recall; only the "
            "training slices have poses of queries (visuallocalization.net), and they belong into the slice's folder",
            folder,
        )
    listed = {
        "map": (folder / "database", _read_poses(_ground_truth_file(folder))),
        "query": (folder / "query", queries),
        "posed": (folder / "query", {name: query for name, query in queries.items() if query[1] is not None}),
    }
    parts: dict[str, list[ListedImage]] = {}
    for split, (images_folder, poses_of) in listed.items():
        images = [_image(images_folder / name, *at, cameras, intrinsics) for name, at in poses_of.items()]
        if kept := in_order(image for image in images if image.mounting.camera in names):
            parts[split] = kept
    for image in parts.get("query", []):
        parts.setdefault(day_of(image), []).append(image)
    return ListedDataset(f"cmu:{spec}", parts, "unpack the slice again")


def _image(
    path: Path, where: str, pose: Rigid3d | None, cameras: dict[str, DistortedCamera], intrinsics: Path
) -> ListedImage:
    match = IMAGE_NAME.fullmatch(path.name)
    if match is None:
        raise DatasetError(f"{where}: {path.name!r} is no image of Extended CMU Seasons; expected {IMAGE_NAME_TEXT}")
    camera, microseconds = match.groups()
    if camera not in cameras:
        raise DatasetError(f"{where}: {path.name} is of camera {camera}; {intrinsics} has {', '.join(cameras)}")
    name, stamp = f"{path.parent.name}/{path.name}", int(microseconds) * 1000
    # A submission has the file's name, without the slice (README of the dataset).
    submitted_name = path.name if path.parent.name == "query" else None
    return ListedImage(path, name, stamp, cameras[camera], pose, where, Mounting(camera), submitted_name)


def day_of(image: ListedImage) -> str:
    """Day of an image, which is that of its drive: no two drives were on the same day."""
    return datetime.fromtimestamp(image.timestamp_ns // NANOSECONDS, timezone.utc).strftime("%Y-%m-%d")


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
