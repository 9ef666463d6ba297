"""Reader of Cambridge Landmarks: ``cambridge:.../KingsCollege``.

The folder of a scene holds ``dataset_train.txt`` (the split "map") and ``dataset_test.txt`` ("query"): three lines of
header, then ``image X Y Z W P Q R``: the position of the camera in the world [m], and the quaternion cam_from_world
with w first. The camera's axes are x right, y down, z forward.

Focal length and radial distortion of each image are in ``reconstruction.nvm``, VisualSFM's model. It calls the images
``.jpg``; the files are ``.png``.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np
from pycolmap import Rigid3d

from vizloc_ros.datasets.image_files import image_size
from vizloc_ros.datasets.listed import ListedDataset, ListedImage
from vizloc_ros.datasets.nvm import nvm_camera, read_nvm
from vizloc_ros.datasets.parsing import numbered_rows, parse_pose
from vizloc_ros.datasets.specification import parse_specification, require_no_options
from vizloc_ros.errors import CameraError, DatasetError, ImageError
from vizloc_ros.timing import NANOSECONDS

SPLITS = {"map": "dataset_train.txt", "query": "dataset_test.txt"}
MODEL = "reconstruction.nvm"
HEADER = "Visual Landmark Dataset"
IMAGE_LINE = "image X Y Z W P Q R"
_HEADER_LINES = 3
_POSE = ("tx", "ty", "tz", "qw", "qx", "qy", "qz")
_MAX_POSITION = 10_000.0  # m; some published poses are far away, outliers of the reconstruction


class _Listed(NamedTuple):
    """Entry of a list: the image's path below the folder, world_from_cam, and file and line."""

    name: str
    world_from_cam: Rigid3d
    where: str


def open_cambridge(spec: str) -> ListedDataset:
    """Open ``PATH``, the folder of a scene.

    Raises:
        DatasetError: a file is missing or malformed; the text names the file and the line.
    """
    where = f"cambridge:{spec}"
    folder, options = parse_specification(spec, "a scene of Cambridge Landmarks with dataset_train.txt and seq1")
    require_no_options(options, (), where)
    listed = {split: _read_list(folder / file) for split, file in SPLITS.items()}
    lenses = {_key(image.name): (image.focal, image.radial) for image in read_nvm(folder / MODEL)}
    typical = np.median(list(lenses.values()), axis=0)  # for images that are not in the model: the phone is the same
    names = sorted({entry.name for entries in listed.values() for entry in entries})
    stamps = {name: index * NANOSECONDS for index, name in enumerate(names)}
    parts: Mapping[str, list[ListedImage]] = {split: [] for split in listed}
    for split, entries in listed.items():
        for entry in sorted(entries, key=lambda entry: entry.name):
            focal, radial = lenses.get(_key(entry.name), typical)
            path = folder / entry.name
            try:
                lens = nvm_camera(float(focal), float(radial), image_size(path))
            except (CameraError, ImageError) as error:
                raise DatasetError(f"{entry.where}: image {entry.name}: {error}") from error
            parts[split].append(
                ListedImage(path, entry.name, stamps[entry.name], lens, entry.world_from_cam, entry.where)
            )
    return ListedDataset(where, parts)


def _key(name: str) -> PurePosixPath:
    """Name without its ending, which differs between lists and model."""
    return PurePosixPath(name).with_suffix("")


def _read_list(path: Path) -> list[_Listed]:
    """Read the images of a list, without those that are too far away."""
    rows = numbered_rows(path)
    if not rows or not " ".join(rows[0][1]).startswith(HEADER):
        raise DatasetError(f"{path}:1: no list of Cambridge Landmarks; expected the header {HEADER!r}")
    entries: list[_Listed] = []
    for line, (name, *fields) in rows:
        where = f"{path}:{line}"
        if line <= _HEADER_LINES:
            continue
        if len(fields) != len(_POSE):
            raise DatasetError(f"{where}: {len(fields) + 1} values; expected '{IMAGE_LINE}'")
        pose = parse_pose(dict(zip(_POSE, fields, strict=True)), where)
        if np.abs(pose.translation).max() <= _MAX_POSITION:
            entries.append(_Listed(name, Rigid3d(pose.rotation.inverse(), pose.translation), where))
    if not entries:
        raise DatasetError(f"{path}: there is no image in it; expected {_HEADER_LINES} lines, then '{IMAGE_LINE}'")
    return entries
