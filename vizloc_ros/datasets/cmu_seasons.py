"""Reader of a slice of CMU Seasons, the first version: ``cmu-seasons:PATH?slice=2&camera=c0``.

The folder, as distributed by visuallocalization.net, holds rectified images of the two cameras of a car:

* ``images/slice2/database`` and ``images/slice2/query``: the reference drive and all others;
* ``3D-models/slice2.nvm``: poses of the reference drive (the split "map");
* ``query_lists``: a list for each slice, such as ``slice2.txt``: lines ``query/NAME PINHOLE width height fx fy cx cy``
  (the split "query", and one split for each day, such as "2010-09-15").

Poses of queries are private. The cameras of the reference drive are taken from the list, which has both.
"""

import re
from collections.abc import Mapping
from pathlib import Path

from pycolmap import Rigid3d

from vizloc_ros.datasets.camera_lists import read_camera_list
from vizloc_ros.datasets.cmu import day_of
from vizloc_ros.datasets.listed import ListedDataset, ListedImage, in_order
from vizloc_ros.datasets.nvm import read_nvm
from vizloc_ros.datasets.record import Mounting
from vizloc_ros.datasets.specification import chosen_names, parse_specification, require_no_options
from vizloc_ros.errors import DatasetError
from vizloc_ros.geometry.rectification import DistortedCamera

IMAGE_NAME = re.compile(r"img_\d+_(c[01])_(\d+)us(_rect)?\.jpg")
IMAGE_NAME_TEXT = "img_NUMBER_CAMERA_TIMEus_rect.jpg"
_CAMERAS = ("c0", "c1")
_MODELS = ("3D-models/{0}.nvm", "3D-models/{0}/{0}.nvm")
_IMAGES = ("images/{0}", "{0}", "images")
_LIST = re.compile(r"slice_?0*(\d+)(?!\d)")


def open_cmu_seasons(spec: str) -> ListedDataset:
    """Open ``PATH?slice=2[&camera=c0]``; without a camera, the images of both.

    Raises:
        DatasetError: an option is invalid, or a file is missing or malformed; the text names the file and the line.
    """
    where = f"cmu-seasons:{spec}"
    folder, options = parse_specification(spec, "CMU Seasons with images, 3D-models and query_lists")
    lists = {match[1]: path for path in folder.glob("query_lists/*.txt") if (match := _LIST.search(path.stem))}
    if not lists:
        raise DatasetError(f"{folder / 'query_lists'}: there is no list of a slice in it, such as slice2.txt")
    known = sorted(lists, key=int)
    number = chosen_names(options.pop("slice", ""), known, "slice", where)[0]
    cameras = chosen_names(options.pop("camera", ",".join(_CAMERAS)), _CAMERAS, "camera", where)
    require_no_options(options, ["slice", "camera"], where)
    images = _first(folder, _IMAGES, number, "unpack images.zip")
    queries = read_camera_list(lists[number], "image")
    lenses = {_parse_name(name, str(lists[number]))[0]: lens for name, lens in queries.items()}
    listed = {
        "map": [
            _image(images / "database", image.name, lenses, image.world_from_cam, image.where)
            for image in read_nvm(_first(folder, _MODELS, number, "download the 3D models"))
        ],
        "query": [_image(images / "query", name, lenses, None, str(lists[number])) for name in queries],
    }
    parts = {split: in_order(i for i in listed[split] if i.mounting.camera in cameras) for split in listed}
    for image in parts["query"]:
        parts.setdefault(day_of(image), []).append(image)
    return ListedDataset(where, {split: kept for split, kept in parts.items() if kept}, "unpack images.zip again")


def _first(folder: Path, names: tuple[str, ...], number: str, advice: str) -> Path:
    """First of the paths that exists."""
    paths = [folder / name.format(f"slice{number}") for name in names]
    found = next((path for path in paths if path.exists()), None)
    if found is None:
        raise DatasetError(f"{paths[0]}: there is no such file or folder: {advice}")
    return found


def _parse_name(name: str, where: str) -> tuple[str, int]:
    """Camera and time [us] of an image."""
    match = IMAGE_NAME.fullmatch(Path(name).name)
    if match is None:
        raise DatasetError(f"{where}: {name!r} is no image of CMU Seasons; expected {IMAGE_NAME_TEXT}")
    return match[1], int(match[2])


def _image(
    folder: Path, name: str, lenses: Mapping[str, DistortedCamera], pose: Rigid3d | None, where: str
) -> ListedImage:
    camera, stamp = _parse_name(name, where)
    if camera not in lenses:
        raise DatasetError(f"{where}: {name} is of camera {camera}, of which the list of queries has no image")
    path = folder / Path(name).name
    name, stamp = f"{folder.name}/{path.name}", stamp * 1000
    submitted_name = path.name if folder.name == "query" else None  # without the slice (README of the dataset)
    return ListedImage(path, name, stamp, lenses[camera], pose, where, Mounting(camera), submitted_name)
